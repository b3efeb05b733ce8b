"""A thread beside the program that computes on a GPU."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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

    def submit(self, batch: Callable[[], T]) -> Future[T]:
        """Queue a batch behind those before it."""
        result: Future[T] = Future()

        def compute() -> None:
            settle(result, batch)

        with self._lock:
            self._batches.append(compute)
            if len(self._batches) == 1:
                self._executor.submit(self._next)
        return result

    def _next(self) -> None:
        self._batches[0]()
        with self._lock:
            self._batches.popleft()
            if self._batches:  # behind the synchronous calls that came meanwhile
                self._executor.submit(self._next)


def settle(future: Future[T], task: Callable[[], T]) -> None:
    """Run a task and put its result, or what it raised, into a future."""
    try:
        future.set_result(task())
    except BaseException as error:
        future.set_exception(error)
