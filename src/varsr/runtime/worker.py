"""A thread beside the program that computes on a GPU."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Does one thing at a time: batches in turn, and before the next one whatever is waited for."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "worker")
        self._lock = threading.Lock()
        self._batches: deque[Callable[[], None]] = deque()

    @property
    def unfinished(self) -> int:
        """How many batches are being computed or wait for their turn."""
        return len(self._batches)

    def at_once(self, work: Callable[[], T]) -> T:
        """What `work` gives, after what is being done."""
        return self._executor.submit(work).result()

    def in_turn(self, batch: Callable[[], T]) -> Future[T]:
        """What `batch` will give, after those before it."""
        result: Future[T] = Future()

        def compute() -> None:
            try:
                result.set_result(batch())
            except BaseException as error:
                result.set_exception(error)

        with self._lock:
            self._batches.append(compute)
            if len(self._batches) == 1:
                self._executor.submit(self._next)
        return result

    def _next(self) -> None:
        self._batches[0]()
        with self._lock:
            self._batches.popleft()
            if self._batches:  # behind what is waited for
                self._executor.submit(self._next)
