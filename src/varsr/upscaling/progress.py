"""The progress of an image, counted where it is computed and read by whoever shows it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Progress:
    """Steps done of an image: of a tile one for each scale and one for the corrector, of a decoded window one."""

    done: int
    total: int
    tiles: int
    activity: str


@dataclass(frozen=True)
class FrameProgress(Progress):
    """Progress of a video in frames, and how many are done a second, once that is known."""

    a_second: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds until the end at the speed so far; 0 while that is not known."""
        return (self.total - self.done) / self.a_second if self.a_second else 0.0


OnProgress = Callable[[Progress], None]
"""A listener of a Python caller. The command line reads `ProgressCounter.state` instead."""


class ProgressCounter:
    """Counts the steps of an image. Several threads may count.

    Tiles may be computed before their image's turn, so a listener hears nothing until `begin`.
    """

    def __init__(self, tiles: int, steps: int, listener: OnProgress | None = None) -> None:
        self._listener = listener
        self._begun = False
        self._lock = threading.Lock()
        self.state = Progress(0, steps, tiles, "prefix")

    def begin(self) -> None:
        """Tell the listener that it is this image's turn."""
        with self._lock:
            self._begun = True
            self._notify()

    def add(self, count: int, activity: str) -> None:
        """Count steps of an activity; a negative count takes back those of a batch that failed."""
        with self._lock:
            self.state = replace(self.state, done=self.state.done + count, activity=activity)
            if self._begun:
                self._notify()

    def _notify(self) -> None:
        if self._listener is not None:
            self._listener(self.state)
