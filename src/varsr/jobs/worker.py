"""A worker: a process that does the jobs that it asks its parent for, and reports each outcome.

It lives no longer than its parent: a thread sends a sign of life every second, and where nobody takes it the process
ends as if it were interrupted, so that nothing half-written stays.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, Literal

from varsr.errors import VarsrError
from varsr.jobs.interruption import accept_interruptions, raise_dropped_interruptions
from varsr.jobs.outcome import Outcome
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.jobs.run import Run
from varsr.upscaling.upscaler import ModelChoice

SECONDS_BETWEEN_SIGNS = 1.0
SECONDS_TO_END = 5.0


@dataclass(frozen=True)
class Task:
    """A job and its number, by which its outcome is known."""

    number: int
    job: Job


Kind = Literal["next", "outcome", "alive", "fatal"]
Message = tuple[Kind, Any]
"""A request for a task; the outcome of a task; a sign of life; an error that every job would meet."""


class _Parent:
    """The parent's end of the pipe, to which several threads write."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def tell(self, kind: Kind, value: Any = None) -> None:
        with self._lock:
            self._pipe.send((kind, value))

    def tasks(self, numbers: dict[Job, list[int]]) -> Iterator[Job]:
        """Jobs as they are asked for, until there are none; their numbers are noted."""
        while True:
            try:
                self.tell("next")
                task: Task | None = self._pipe.recv()
            except (EOFError, OSError):  # the parent is gone
                return
            if task is None:
                return
            numbers.setdefault(task.job, []).append(task.number)
            yield task.job

    def watch(self) -> None:
        """Give signs of life while the parent takes them."""
        while True:
            try:
                self.tell("alive")
            except OSError:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                time.sleep(SECONDS_TO_END)
                os._exit(1)
            time.sleep(SECONDS_BETWEEN_SIGNS)


def work(pipe: Connection, choice: ModelChoice, settings: JobSettings, threads: int | None) -> None:
    """Do the jobs that come through a pipe: the body of a worker process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_dropped_interruptions()
    parent = _Parent(pipe)
    threading.Thread(target=parent.watch, daemon=True, name="varsr-alive").start()
    numbers: dict[Job, list[int]] = {}
    with suppress(KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        accept_interruptions()
        if threads is not None:
            _use_threads(threads)
        try:
            for outcome in Run(choice, parent.tasks(numbers), settings):
                parent.tell("outcome", (numbers[outcome.job].pop(0), portable(outcome)))
        except VarsrError as error:  # whatever leaves a run has ended it
            parent.tell("fatal", error)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends by itself now


def _use_threads(count: int) -> None:
    import torch

    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)


def portable(outcome: Outcome) -> Outcome:
    """An outcome that can be sent: of an error the sentence and the advice."""
    if outcome.error is None:
        return outcome
    return replace(outcome, error=sendable(outcome.error))


def sendable(error: VarsrError) -> VarsrError:
    """An error without what led to it, which may not travel."""
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
