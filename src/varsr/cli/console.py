"""What a person sees on standard error: progress, notes and failures."""

from __future__ import annotations

import codecs
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from varsr.errors import OutputError, TooLittleMemoryError, VarsrError

if TYPE_CHECKING:
    from varsr.upscaling.progress import Progress as Step

SECONDS_BETWEEN_LINES = 10.0  # of progress in a log

OnStep = Callable[["Step"], None]


class Watch(Protocol):
    """Shows the progress of files and, within one, of its tiles."""

    def picture(self, name: str, /) -> OnStep:
        """Make ready for a picture; what is returned shows its steps."""

    def file_done(self) -> None:
        """Count a file."""


class Messages:
    """Standard error, as verbose as was asked for."""

    def __init__(self) -> None:
        self.quiet = False
        self.verbose = False
        self.debug = False

    def say(self, text: str) -> None:
        """A note, unless quiet."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def complain(self, text: str) -> None:
        """A failure that does not end the program."""
        print(f"varsr: {text}", file=sys.stderr, flush=True)

    def fail(self, error: BaseException) -> int:
        """Report an error in one line, under --debug with its traceback; return the exit code."""
        if self.debug:
            traceback.print_exception(error)
        if isinstance(error, MemoryError):
            error = TooLittleMemoryError("There is too little memory for this picture.", "Close other programs.")
        if isinstance(error, VarsrError):
            self.complain(f"{one_line(error)} {error.advice}")
            return error.exit_code
        if isinstance(error, BrokenPipeError):
            self.complain("Standard output was closed by the program that read it.")
            return OutputError.exit_code
        words = f"{type(error).__name__}: {one_line(error)}"
        self.complain(f"This should not have happened ({words}). Please report it with what --debug shows.")
        return 1

    def trace(self, error: BaseException | None) -> None:
        """The traceback of an error that costs one file alone, under --debug."""
        if self.debug and error is not None:
            traceback.print_exception(error)

    @contextmanager
    def watch(self, files: int) -> Iterator[Watch]:
        """Show the progress of so many files: bars on a terminal, now and then a line elsewhere, nothing when quiet."""
        if self.quiet:
            yield _Silence()
        elif sys.stderr.isatty():
            with _progress() as bars:
                yield _Bars(bars, files)
        else:
            yield _Lines(files)


class _Silence:
    def picture(self, _: str) -> OnStep:
        return lambda _: None

    def file_done(self) -> None:
        pass


class _Bars:
    """Bars on a terminal: one for the files, where there are several, and one for the picture."""

    def __init__(self, bars: Progress, files: int) -> None:
        self._bars = bars
        self._started = time.monotonic()
        self._done = 0
        self._files = bars.add_task("files", total=files, activity="") if files > 1 else None
        self._picture = bars.add_task("", visible=False, activity="")
        self._shown: OnStep | None = None

    def picture(self, name: str) -> OnStep:
        def show(step: Step) -> None:
            if self._shown is not show:
                self._shown = show
                self._bars.reset(self._picture, description=name, visible=True)
            self._bars.update(
                self._picture, completed=step.done, total=step.total, activity=f"{step.tiles} tiles, {step.activity}"
            )

        return show

    def file_done(self) -> None:
        self._done += 1
        if self._files is not None:
            rate = 60 * self._done / max(time.monotonic() - self._started, 1e-9)
            self._bars.update(self._files, advance=1, activity=f"{rate:.1f} a minute")


class _Lines:
    """Progress in a log: a line every few seconds."""

    def __init__(self, files: int) -> None:
        self._files = files
        self._done = 0
        self._last = time.monotonic()

    def picture(self, name: str) -> OnStep:
        return lambda step: self._now_and_then(
            f"{name}: {step.done / step.total:.0%}, {step.tiles} tiles, {step.activity}"
        )

    def file_done(self) -> None:
        self._done += 1
        if self._files > 1:
            self._now_and_then(f"{self._done} of {self._files} files")

    def _now_and_then(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        print(text, file=sys.stderr, flush=True)


def print_any_name() -> None:
    """Let standard output take every file name: what its encoding cannot hold comes as the file system has it."""
    codecs.register_error("file-name", _as_on_disk)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="file-name")


def _as_on_disk(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return os.fsencode(error.object[error.start : error.end]), error.end


def one_line(error: BaseException) -> str:
    """An error's words without line breaks."""
    return " ".join(str(error).split())


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[activity]}", markup=False),
        console=Console(stderr=True),
        # On one terminal with the bars results are printed above them; anywhere else they must arrive untouched.
        redirect_stdout=sys.stdout.isatty(),
    )


messages = Messages()
