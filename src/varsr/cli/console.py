"""What a person sees on standard error: progress, notes and failures."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from varsr.errors import TooLittleMemoryError, VarsrError

if TYPE_CHECKING:
    from varsr.upscaler import Progress as Step

SECONDS_BETWEEN_LINES = 10.0  # of progress in a log


class Messages:
    """Standard error, as verbose as was asked for."""

    def __init__(self) -> None:
        self.quiet = False
        self.debug = False

    def say(self, text: str) -> None:
        """A note, unless quiet."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def fail(self, error: BaseException) -> int:
        """Report an error in one line, under --debug with its traceback; return the exit code."""
        if self.debug:
            traceback.print_exception(error)
        if isinstance(error, MemoryError):
            error = TooLittleMemoryError("There is too little memory for this picture.", "Close other programs.")
        if isinstance(error, VarsrError):
            print(f"varsr: {one_line(error)} {error.advice}", file=sys.stderr)
            return error.exit_code
        words = f"{type(error).__name__}: {one_line(error)}"
        print(
            f"varsr: this should not have happened ({words}). Please report it with what --debug shows.",
            file=sys.stderr,
        )
        return 1

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[Step], None]]:
        """Show a picture's progress: a bar on a terminal, now and then a line elsewhere, nothing when quiet."""
        if self.quiet:
            yield lambda _: None
        elif sys.stderr.isatty():
            with _bar() as bar:
                task = bar.add_task(label, activity="")
                yield lambda step: bar.update(
                    task, completed=step.done, total=step.total, activity=f"{step.tiles} tiles, {step.activity}"
                )
        else:
            yield _Lines(label).show


class _Lines:
    """Progress in a log: a line every few seconds."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._last = time.monotonic()

    def show(self, step: Step) -> None:
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        print(
            f"{self._label}: {step.done / step.total:.0%}, {step.tiles} tiles, {step.activity}",
            file=sys.stderr,
            flush=True,
        )


def one_line(error: BaseException) -> str:
    """An error's words without line breaks."""
    return " ".join(str(error).split())


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[activity]}"),
        console=Console(stderr=True),
    )


messages = Messages()
