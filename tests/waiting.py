"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], seconds: float = 60, step: Callable[[], object] | None = None) -> None:
    """Wait until a condition holds; `step` is done in between, instead of sleeping."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        (step or _nap)()


def _nap() -> None:
    time.sleep(0.05)
