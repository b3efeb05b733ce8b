"""A pipeline of threads: items are made ahead of their use, and work is done behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_SECONDS_BETWEEN_LOOKS = 0.1


class ReadAhead(Iterator[T], Generic[T]):
    """The same items, up to `count` of them made ahead. Close it, so that no more are made."""

    def __init__(self, items: Iterable[T], count: int) -> None:
        self._items = iter(items)
        self._made: Queue[T | _End] = Queue(count)
        self._closed = Event()
        self._thread = Thread(target=self._make, daemon=True, name="varsr-ahead")
        self._thread.start()

    def __next__(self) -> T:
        item = self._made.get()
        if isinstance(item, _End):
            self._made.put(item)  # for whoever asks again
            raise item.error or StopIteration
        return item

    def close(self) -> None:
        """Make no more, and wait for the item that is being made."""
        self._closed.set()
        while self._thread.is_alive():
            with suppress(Empty):  # room for what the thread waits to hand over
                self._made.get(timeout=_SECONDS_BETWEEN_LOOKS)

    def _make(self) -> None:
        error: Exception | None = None
        try:
            for item in self._items:
                self._made.put(item)
                if self._closed.is_set():
                    return
        except Exception as raised:
            error = raised
        self._made.put(_End(error))


class _End:
    """The end of the items, and the error that is the reason."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class WriteBehind:
    """A thread that does what it is given, in order, so that the caller goes on; at most `count` things wait.

    What goes wrong is raised where the next thing is given, or at the end.
    """

    def __init__(self, count: int) -> None:
        self._waiting: deque[Future[None]] = deque()
        self._count = count
        self._pool = ThreadPoolExecutor(1, "varsr-behind")

    def __enter__(self) -> WriteBehind:
        return self

    def do(self, work: Callable[..., None], *arguments: Any) -> None:
        """Have something done."""
        self._waiting.append(self._pool.submit(work, *arguments))
        while len(self._waiting) > self._count:
            self._waiting.popleft().result()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for future in self._waiting:
                future.result()
