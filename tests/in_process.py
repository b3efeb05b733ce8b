"""The command line run within the test's own process: many commands in the time that one start takes."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from varsr.cli import app, console


@dataclass(frozen=True)
class Result:
    """Exit code and output of a command."""

    code: int
    out: bytes
    err: str


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def run(*arguments: str | Path, stdin: bytes = b"", terminal: bool = False) -> Result:
    """Run `varsr` with these arguments."""
    out, err = io.BytesIO(), io.StringIO()
    kind = _Terminal if terminal else io.TextIOWrapper
    stdout = kind(out, encoding="utf-8", write_through=True)
    code = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))))
        stack.enter_context(mock.patch.object(sys, "stdout", stdout))
        stack.enter_context(mock.patch.object(sys, "stderr", err))
        stack.enter_context(mock.patch.object(sys, "unraisablehook", sys.unraisablehook))
        stack.enter_context(mock.patch.object(sys, "argv", ["varsr", *map(str, arguments)]))
        stack.enter_context(mock.patch.dict(os.environ))
        stack.enter_context(_fresh_messages())
        stack.enter_context(_signals_kept())
        try:
            app.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        stdout.flush()
        written = out.getvalue()
    return Result(code, written, err.getvalue())


@contextlib.contextmanager
def _fresh_messages() -> Iterator[None]:
    quiet, verbose, debug = console.messages.quiet, console.messages.verbose, console.messages.debug
    console.messages.quiet = console.messages.verbose = console.messages.debug = False
    try:
        yield
    finally:
        console.messages.quiet, console.messages.verbose, console.messages.debug = quiet, verbose, debug


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    kept = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, kept)


def lines(result: Result) -> Sequence[str]:
    """Standard output line by line."""
    return result.out.decode().splitlines()
