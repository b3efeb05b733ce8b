"""The progress of a run on standard error: bars on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from varsr.cli.console import messages
from varsr.cli.forecast import in_time
from varsr.jobs.crew import AnyRun
from varsr.upscaling.progress import FrameProgress
from varsr.upscaling.progress import Progress as ImageProgress

SECONDS_BETWEEN_LINES = 10.0  # of progress in a log
SECONDS_BETWEEN_LOOKS = 0.1


class _View(Protocol):
    def look(self) -> None:
        """Show the progress as it is now."""

    def file_done(self) -> None:
        """Count a file."""


@contextmanager
def progress_of(run: AnyRun, files: int | None) -> Iterator[_View]:
    """Show the progress of a run of so many files while the block lasts; nothing when quiet.

    None stands for many, whose number is not known.
    """
    if messages.quiet:
        yield _Silence()
    elif sys.stderr.isatty():
        with _bars() as bars, _looking(_Bars(bars, run, files)) as view:
            yield view
    else:
        with _looking(_Lines(run, files)) as view:
            yield view


@contextmanager
def _looking(view: _View) -> Iterator[_View]:
    """Have a thread look at the progress now and then."""
    ended = Event()

    def look() -> None:
        while not ended.wait(SECONDS_BETWEEN_LOOKS):
            view.look()

    thread = Thread(target=look, daemon=True, name="varsr-progress")
    thread.start()
    try:
        yield view
    finally:
        ended.set()
        thread.join()


class _Silence:
    def look(self) -> None:
        pass

    def file_done(self) -> None:
        pass


class _Bars:
    """Bars on a terminal: one for the files, where there are several, and one for the image at work."""

    def __init__(self, bars: Progress, run: AnyRun, files: int | None) -> None:
        self._bars = bars
        self._run = run
        self._started = time.monotonic()
        self._done = 0
        self._files = bars.add_task("files", total=files, activity="") if files != 1 else None
        self._image = bars.add_task("", visible=False, activity="")
        self._shown: object = None

    def look(self) -> None:
        at_work = self._run.progress
        if at_work is None:
            return
        job, progress = at_work
        if self._shown is not job:
            self._shown = job
            self._bars.reset(self._image, description=job.source.name, visible=True)
        activity = _in_words(progress)
        self._bars.update(self._image, completed=progress.done, total=progress.total, activity=activity)

    def file_done(self) -> None:
        self._done += 1
        self.look()
        if self._files is not None:
            rate = 60 * self._done / max(time.monotonic() - self._started, 1e-9)
            self._bars.update(self._files, advance=1, activity=f"{rate:.1f} a minute")


class _Lines:
    """A line in a log every few seconds."""

    def __init__(self, run: AnyRun, files: int | None) -> None:
        self._run = run
        self._files = files
        self._done = 0
        self._last = time.monotonic()

    def look(self) -> None:
        if time.monotonic() - self._last < SECONDS_BETWEEN_LINES or (at_work := self._run.progress) is None:
            return
        job, progress = at_work
        of_all = f" of {self._files}" if self._files else ""
        counted = f", {self._done}{of_all} files" if self._files != 1 else ""
        share = progress.done / progress.total
        self._print(f"{job.source.name}: {share:.0%}, {_in_words(progress, with_time=True)}{counted}")

    def file_done(self) -> None:
        self._done += 1

    def _print(self, text: str) -> None:
        self._last = time.monotonic()
        print(text, file=sys.stderr, flush=True)


def _in_words(progress: ImageProgress, with_time: bool = False) -> str:
    if not isinstance(progress, FrameProgress):
        return f"{progress.tiles} tiles, {progress.activity}"
    words = f"{progress.done} of {progress.total} frames"
    if not progress.a_second:
        return words
    left = f", {in_time(progress.seconds_left)} left" if with_time else ""
    return f"{words}, {progress.a_second:.2g} a second{left}"


def _bars() -> Progress:
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
