"""A thread that reads ahead, and that nobody waits for when the program is to end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")
PATIENCE = 0.3  # seconds; a thread that is not blocked has ended by then, which the interpreter's own end asks for


class ReaderThread(Generic[T]):
    """Runs functions one after the other.

    Reading may wait for a pipe that nothing comes out of. A thread of an executor would then keep the program from
    ending when it is interrupted; this one does not.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[tuple[Callable[[], T], Future[T]] | None] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._work, daemon=True, name="varsr-reader")
        self._thread.start()

    def submit(self, read: Callable[[], T]) -> Future[T]:
        """The result of `read`, when its turn has come."""
        future: Future[T] = Future()
        self._tasks.put((read, future))
        return future

    def close(self) -> None:
        """Begin nothing more. What is being read is waited for a moment only."""
        self._closed = True
        self._tasks.put(None)
        self._thread.join(PATIENCE)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None and not self._closed:
            read, future = task
            try:
                future.set_result(read())
            except BaseException as error:  # whoever asks for the result gets it
                future.set_exception(error)
