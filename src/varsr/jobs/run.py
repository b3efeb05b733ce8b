"""Doing it: files are read ahead and written behind in threads while the model computes."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, Protocol

import numpy as np

from varsr.errors import DeviceError, OutputError, WeightsError, describe
from varsr.images.photo import Photo
from varsr.images.size import Size, TargetSize
from varsr.images.write import Encoding, check_fits, encode, losses, write_bands, write_photo
from varsr.jobs.outcome import Outcome, Policy, Skipped, failed
from varsr.jobs.plan import STREAM, Job
from varsr.jobs.prepare import prepare
from varsr.jobs.reader import ReaderThread
from varsr.tiling.array import FloatImage

READ_AHEAD = 2
SMALL_AHEAD = 16
"""Pictures read ahead while they are small: many of them fill one batch of tiles."""
SMALL = 500_000
"""Pixels of an input up to which it is small."""
WRITERS = 2

RUN_ERRORS = (WeightsError, DeviceError)
"""Errors that every image would meet, which end the run. Any other costs the image at work alone."""

LARGE = 40_000_000
"""Pixels of a result from which it is written, or at least rounded to bytes, row by row."""


class Begun(Protocol):
    """A photo that is ready to be restored, in so many tiles."""

    tiles: int

    def bands(self, following: Callable[[], Iterable[Any]], /) -> Iterator[FloatImage]:
        """Its colour in bands of rows; batches with room are filled from those begun after it."""


Begin = Callable[[Job, Photo, Size], Begun]
"""Makes a photo ready to be restored at a size."""


@dataclass
class Clock:
    """How long the model computed, of how long in all."""

    started: float = field(default_factory=time.monotonic)
    computed: float = 0.0

    def timed(self, bands: Iterator[FloatImage]) -> Iterator[FloatImage]:
        """The same bands, the time that each takes noted."""
        while True:
            began = time.monotonic()
            band = next(bands, None)
            self.computed += time.monotonic() - began
            if band is None:
                return
            yield band

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time within that of a band in which the model waited for a file."""
        began = time.monotonic()
        yield
        self.computed -= time.monotonic() - began

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def share(self) -> float:
        """The part of the time in which the model computed."""
        return self.computed / self.elapsed


class Ahead:
    """A job whose picture is being read, and then is begun."""

    def __init__(self, job: Job, future: Future[Photo | Skipped], begin: Callable[[Photo], list[Begun]]) -> None:
        self.job = job
        self._future = future
        self._begin = begin
        self._begun: list[Begun] | None = None

    @property
    def small(self) -> bool:
        """Whether its picture is read and takes little memory, or could not be read."""
        if not self._future.done():
            return False
        if self._future.exception():
            return True
        photo = self._future.result()
        return isinstance(photo, Skipped) or math.prod(photo.size) * (1 + len(photo.following)) <= SMALL

    def wait(self) -> None:
        """Until its picture is read, or could not be."""
        wait([self._future])

    def photo(self) -> Photo | Skipped:
        """The picture, waited for. Raises what went wrong."""
        return self._future.result()

    def begun(self) -> list[Begun]:
        """What is to be restored of it: its frames. Raises what went wrong."""
        if self._begun is None:
            photo = self.photo()
            self._begun = [] if isinstance(photo, Skipped) else self._begin(photo)
        return self._begun

    def begun_if_sound(self) -> list[Begun]:
        """What is to be restored of it, nothing where something went wrong: its own turn will tell."""
        try:
            return self.begun()
        except Exception:  # whatever it is
            return []


@dataclass(frozen=True)
class Run:
    """How each job is done: as `begin` tells, to `size`, encoded and guarded as told. `clock` notes the time."""

    begin: Begin
    size: TargetSize
    encoding: Encoding
    policy: Policy
    clock: Clock

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Do the jobs and yield the outcome of each, in order.

        A picture that cannot be read, computed or written is an outcome, whatever went wrong; `RUN_ERRORS` alone end
        the run. What is being written is finished whole even then.
        """
        ahead: deque[Ahead] = deque()
        writing: deque[Future[Outcome]] = deque()
        rest = iter(jobs)
        with closing(ReaderThread[Photo | Skipped]()) as reader, _pool(WRITERS) as writers:

            def read_ahead() -> None:
                while _room(ahead) and (job := next(rest, None)):
                    future = reader.submit(partial(prepare, job, self.policy, self.encoding))
                    ahead.append(Ahead(job, future, partial(self._begin, job)))

            def following() -> Iterator[Begun]:
                """What comes after the picture at work. To wait for a file costs less than a batch with room."""
                for place in count():
                    read_ahead()
                    if place == len(ahead):
                        return
                    with self.clock.waiting():
                        ahead[place].wait()
                    yield from ahead[place].begun_if_sound()

            while True:
                read_ahead()
                if not ahead:
                    break
                latest = self._advance(ahead.popleft(), following, writers)
                writing.append(latest)
                if self.policy.fail_fast and latest.done() and latest.result().status == "failed":
                    break  # though earlier ones are still being written
                while writing and (writing[0].done() or len(writing) > WRITERS):
                    outcome = writing.popleft().result()
                    yield outcome
                    if outcome.status == "failed" and self.policy.fail_fast:
                        return
            for last in writing:
                yield last.result()

    def _begin(self, job: Job, photo: Photo) -> list[Begun]:
        """All frames of a picture ready to be restored. Raises where the result cannot be written."""
        check_fits(job.target, self.size.of(photo.size), photo, self.encoding)
        return [self.begin(job, frame, self.size.of(frame.size)) for frame in photo.frames]

    def _advance(
        self, ahead: Ahead, following: Callable[[], Iterator[Begun]], writers: ThreadPoolExecutor
    ) -> Future[Outcome]:
        """Compute a job and have it written; the future holds its outcome."""
        job = ahead.job
        outcome = Outcome(job, "skipped")
        started = time.monotonic()
        try:
            photo = ahead.photo()
            if isinstance(photo, Skipped):
                return _settled(replace(outcome, notes=photo.notes))
            outcome = replace(outcome, size=photo.size)
            wanted = self.size.of(photo.size)
            outcome = replace(outcome, target_size=wanted)
            begun = ahead.begun()
            notes = () if job.target == STREAM else losses(photo, job.target, self.encoding)
            outcome = replace(outcome, tiles=sum(work.tiles for work in begun), notes=notes)
            if not photo.following and job.target != STREAM and math.prod(wanted) >= LARGE:
                bands = self.clock.timed(begun[0].bands(following))
                write_bands(photo, wanted, bands, job.target, self.encoding)
                return _settled(self._done(outcome, started))
            result = self._restored(photo, begun, following)
        except RUN_ERRORS:
            raise
        except Exception as error:
            return _settled(failed(outcome, error, time.monotonic() - started))
        return writers.submit(self._write, outcome, result, started)

    def _restored(self, photo: Photo, begun: Sequence[Begun], following: Callable[[], Iterator[Begun]]) -> Photo:
        """The photo with all its frames; these share batches with each other, and the last ones with what follows."""
        first, *others = (
            frame.restored(
                np.concatenate(list(self.clock.timed(work.bands(partial(_then, begun[i + 1 :], following)))))
            )
            for i, (frame, work) in enumerate(zip(photo.frames, begun, strict=True))
        )
        return replace(first, following=tuple(others))

    def _write(self, outcome: Outcome, result: Photo, started: float) -> Outcome:
        try:
            if outcome.job.target == STREAM:
                _write_to_standard_output(encode(result, self.encoding))
            else:
                write_photo(result, outcome.job.target, self.encoding)
        except Exception as error:
            return failed(outcome, error, time.monotonic() - started)
        return self._done(outcome, started)

    def _done(self, outcome: Outcome, started: float) -> Outcome:
        if self.policy.preserve and STREAM not in (outcome.job.source, outcome.job.target):
            with suppress(OSError):  # the result itself is whole
                shutil.copystat(outcome.job.source, outcome.job.target)
        return replace(outcome, status="done", seconds=time.monotonic() - started)


def _room(ahead: Sequence[Ahead]) -> bool:
    """Whether one more picture may be read: a few whatever their size, more while all are small."""
    return len(ahead) < READ_AHEAD or (len(ahead) < SMALL_AHEAD and all(one.small for one in list(ahead)[:-1]))


def _then(rest: Sequence[Begun], following: Callable[[], Iterator[Begun]]) -> Iterator[Begun]:
    yield from rest
    yield from following()


class _pool(ThreadPoolExecutor):  # noqa: N801, a context manager
    """A pool that drops what it has not begun when the block is left, and finishes what it has."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


def _write_to_standard_output(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(
            f"Standard output could not be written ({describe(error)}).", "Does the next program still read it?"
        ) from error


def _settled(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future
