"""How far a picture is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Progress:
    """Steps done of a picture: of a tile one for each scale and one for the corrector, of a decoded window one."""

    done: int
    total: int
    tiles: int
    activity: str


OnProgress = Callable[[Progress], None]


class Reporter:
    """Counts a picture's steps, and tells whoever watches from `begin` on: tiles may be computed before its turn.

    Several threads may count.
    """

    def __init__(self, on_progress: OnProgress, tiles: int, steps: int) -> None:
        self._on_progress = on_progress
        self._shown = False
        self._counting = threading.Lock()
        self.state = Progress(0, steps, tiles, "prefix")

    def begin(self) -> None:
        """It is this picture's turn."""
        with self._counting:
            self._shown = True
            self._on_progress(self.state)

    def step(self, count: int, activity: str) -> None:
        """Count so many steps; fewer than none are taken back."""
        with self._counting:
            self.state = replace(self.state, done=self.state.done + count, activity=activity)
            if self._shown:
                self._on_progress(self.state)
