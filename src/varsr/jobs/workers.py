"""Several workers: one process for each, all fed from one plan, their outcomes in the order in which they come.

A worker that dies, or gives no sign of life, costs the images that it held: each is tried once more by another one, and
fails when it meets a death again. A device on which 2 workers have ended is left out.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from varsr.errors import DeviceError, VarsrError
from varsr.jobs.interruption import interruptions_postponed
from varsr.jobs.outcome import Outcome
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.jobs.preflight import is_about_video
from varsr.jobs.worker import Message, Task, work
from varsr.storage.address import Place, Remote
from varsr.storage.local import exists, forget_unfinished, is_special
from varsr.upscaling.progress import Progress
from varsr.upscaling.upscaler import ModelChoice

_log = logging.getLogger(__name__)
MOST_DEATHS = 2
BATCHES_HELD = 4
SECONDS_UNTIL_STALLED = 1.0
SECONDS_TO_END = 10.0


class WorkerDiedError(VarsrError):
    """The process that computed an image ended, twice."""

    def __init__(self) -> None:
        super().__init__(
            "The worker process ended while it held this image, and so did a second one.",
            "Try the image alone; there may be too little memory, see `workers` and `batch_size`.",
        )


@dataclass(frozen=True)
class _Held:
    """A task that a worker holds, and whether its target was there before."""

    task: Task
    existed: bool

    def undo(self, process: int | None) -> None:
        """Delete what a process that has died made for it, so that it can be done again."""
        target = self.task.job.target
        if isinstance(target, Remote):  # an object appears whole or not at all
            return
        forget_unfinished(target.parent, process)
        if not self.existed and self.task.job.problem is None and not is_special(target):
            with suppress(OSError):
                target.unlink()


@dataclass
class _Worker:
    """A process, its pipe, and the tasks that it holds. It `asks` for another, until it is told that there is none."""

    seat: int
    """Its place in the list of devices."""
    process: BaseProcess
    pipe: Connection
    held: dict[int, _Held] = field(default_factory=dict)
    seen: float = field(default_factory=time.monotonic)
    most_held: int = 0
    """Tasks beyond which another is not handed to it at once, so that the workers share them evenly."""
    last_fed: float = 0.0
    asks: bool = False
    dismissed: bool = False

    @property
    def holds_video(self) -> bool:
        """True with a video or a segment at work, beside which nothing waits that another worker could do."""
        return any(is_about_video(held.task.job) for held in self.held.values())


class WorkerRun:
    """Jobs done by several workers: iterate over it for their outcomes, as over `Run`."""

    progress: tuple[Job, Progress] | None = None
    """Of no single image: several are at work."""
    computing_share: float | None = None

    def __init__(
        self,
        choices: Sequence[ModelChoice],
        jobs: Iterable[Job],
        settings: JobSettings,
        threads: int | None,
        patience: float,
    ) -> None:
        """Begin nothing yet. There is a worker for each choice; `threads` are those of each on a CPU.

        `patience` is in seconds without a sign of life, after which a worker is taken for dead.
        """
        self._choices, self._settings, self._threads, self._patience = choices, settings, threads, patience
        self._tasks = (Task(number, job) for number, job in enumerate(jobs))
        self._again: deque[Task] = deque()
        self._tried: set[int] = set()
        """Numbers of tasks that have met the death of a worker."""
        self._deaths = [0] * len(choices)
        self._workers: list[_Worker] = []
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return max(time.monotonic() - self._started, 1e-9)

    def __iter__(self) -> Iterator[Outcome]:
        try:
            for seat in range(len(self._choices)):
                self._start(seat)
            while self._workers:
                for outcome in self._turn():
                    yield outcome
                    if outcome.status == "failed" and self._settings.policy.fail_fast:
                        return
            if (task := self._next_task()) is not None:
                raise DeviceError(
                    f"No worker is left for {task.job.source} and those after it.",
                    "Look at the devices that were left out.",
                )
        finally:
            self._end()

    def _turn(self) -> Iterator[Outcome]:
        """The outcomes that come within a second, and those of workers found dead."""
        by_pipe = {worker.pipe: worker for worker in self._workers}
        for pipe in wait(list(by_pipe), timeout=1.0):
            worker = by_pipe[pipe]  # type: ignore[index]
            try:
                yield from self._heard(worker, worker.pipe.recv())
            except (EOFError, OSError):
                yield from self._lost(worker)
        self._feed_the_stalled()
        now = time.monotonic()
        for worker in [w for w in self._workers if now - w.seen > self._patience]:
            yield from self._lost(worker)

    def _heard(self, worker: _Worker, message: Message) -> Iterator[Outcome]:
        kind, value = message
        worker.seen = time.monotonic()
        if kind == "fatal":
            raise value
        if kind == "next":
            worker.asks = True
        if kind == "outcome":
            number, outcome = value
            del worker.held[number]
            yield outcome
        self._feed(worker)

    def _feed(self, worker: _Worker) -> None:
        """Hand the next task to a worker that asks and does not hold too many; tell it where there is none."""
        if not worker.asks or len(worker.held) >= worker.most_held or worker.holds_video:
            return
        worker.last_fed = time.monotonic()
        task = self._next_task()
        worker.asks, worker.dismissed = False, task is None
        if task is not None:
            worker.held[task.number] = _Held(task, _exists(task.job.target))
        with suppress(OSError):  # it is gone, which its pipe tells too
            worker.pipe.send(task)

    def _feed_the_stalled(self) -> None:
        """Let a worker hold more that waits for another image to fill a batch, which not all may share."""
        now = time.monotonic()
        for worker in self._workers:
            if worker.asks and now - worker.last_fed > SECONDS_UNTIL_STALLED:
                worker.most_held *= 2
                self._feed(worker)

    def _next_task(self) -> Task | None:
        return self._again.popleft() if self._again else next(self._tasks, None)

    def _lost(self, worker: _Worker) -> Iterator[Outcome]:
        """Take in that a worker is gone: it has done all that there was, or its tasks are to be done again."""
        self._workers.remove(worker)
        self._stop(worker, SECONDS_TO_END if worker.dismissed and not worker.held else 0.5)
        if worker.dismissed and not worker.held:
            return
        for held in worker.held.values():
            held.undo(worker.process.pid)
            task = held.task
            if task.number in self._tried:
                yield Outcome(task.job, "failed", error=WorkerDiedError())
            else:
                self._tried.add(task.number)
                self._again.append(task)
        self._deaths[worker.seat] += 1
        if self._deaths[worker.seat] == MOST_DEATHS:
            _log.warning("%s is left out: 2 workers have ended there.", self._choices[worker.seat].device)
        self._replace(worker.seat)

    def _replace(self, seat: int) -> None:
        """Start another worker where one has ended; on another device where none is left that would do its tasks."""
        if self._deaths[seat] < MOST_DEATHS:
            self._start(seat)
        elif all(worker.dismissed for worker in self._workers):
            usable = [seat for seat, deaths in enumerate(self._deaths) if deaths < MOST_DEATHS]
            if usable and self._again:
                self._start(usable[0])

    def _start(self, seat: int) -> None:
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe()
        arguments = theirs, self._choices[seat], self._settings, self._threads
        process = context.Process(target=work, args=arguments, name=f"varsr-worker-{seat}", daemon=True)
        with interruptions_postponed():
            process.start()
        theirs.close()
        batch = self._settings.options.batch_size or (8 if self._choices[seat].device == "cpu" else 32)
        self._workers.append(_Worker(seat, process, mine, most_held=BATCHES_HELD * batch))

    def _end(self) -> None:
        """Have all workers end, as if interrupted, and those that do not killed."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            self._stop(worker, SECONDS_TO_END)
            for held in worker.held.values():
                target = held.task.job.target
                if not isinstance(target, Remote):
                    forget_unfinished(target.parent, worker.process.pid)
        self._workers.clear()

    @staticmethod
    def _stop(worker: _Worker, seconds: float) -> None:
        worker.process.join(seconds)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()


def _exists(place: Place) -> bool:
    return not isinstance(place, Remote) and exists(place)
