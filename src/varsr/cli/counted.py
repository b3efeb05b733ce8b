"""Progress through a known number of things: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from varsr.cli.console import messages

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def counted(total: int, title: str, activity: Callable[[], str] = lambda: "") -> Iterator[Callable[[], None]]:
    """A function to call for each thing that is done, while the block lasts; `activity` is shown beside the bar."""
    if messages.quiet:
        yield lambda: None
    elif sys.stderr.isatty():
        columns = *Progress.get_default_columns(), _Activity(activity)
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(title, total=total)
            yield lambda: progress.advance(task)
    else:
        yield _Lines(total, title).count


class _Activity(ProgressColumn):
    """A text that is looked up at each refresh."""

    def __init__(self, activity: Callable[[], str]) -> None:
        super().__init__()
        self._activity = activity

    def render(self, _: Task) -> Text:
        return Text(self._activity())


class _Lines:
    def __init__(self, total: int, title: str) -> None:
        self.total, self.title = total, title
        self.done = 0
        self.last = time.monotonic()

    def count(self) -> None:
        self.done += 1
        if time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            messages.say(f"{self.title}: {self.done} of {self.total}")
