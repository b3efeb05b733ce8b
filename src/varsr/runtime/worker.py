"""A thread beside the program that computes on a GPU."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class DeviceThread:
    """Runs one task at a time on a background thread. Synchronous calls go ahead of queued batches."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "device")
        self._lock = threading.Lock()
        self._batches: deque[Callable[[], None]] = deque()

    @property
    def unfinished(self) -> int:
        """Batches that are being computed or wait for their turn."""
        return len(self._batches)

    def run_sync(self, task: Callable[[], T]) -> T:
        """Run a task after the one that is running, and return its result."""
        return self._executor.submit(task).result()

    def submit(self, batch: Callable[[], None]) -> None:
        """Queue a batch, which must not raise, behind those before it."""
        with self._lock:
            self._batches.append(batch)
            if len(self._batches) == 1:
                self._executor.submit(self._next)

    def _next(self) -> None:
        self._batches[0]()
        with self._lock:
            self._batches.popleft()
            if self._batches:  # behind the synchronous calls that came meanwhile
                self._executor.submit(self._next)
