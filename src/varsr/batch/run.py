"""Doing it: files are read ahead and written behind in threads while the model computes."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from varsr.batch.plan import STREAM, Job
from varsr.errors import InputError, OutputError, RequestError, TooLittleMemoryError, VarsrError
from varsr.files import reason
from varsr.imaging.photo import Photo
from varsr.imaging.read import read_photo, read_stream
from varsr.imaging.resize import Picture
from varsr.imaging.size import Size, TargetSize
from varsr.imaging.write import (
    Encoding,
    check_fits,
    check_target,
    create_folder,
    encode,
    streams,
    write_bands,
    write_photo,
)

READ_AHEAD = 3
WRITERS = 2

PICTURE_ERRORS = (InputError, OutputError, RequestError, TooLittleMemoryError)
"""What concerns one picture; the next may fare better."""

Status = Literal["done", "skipped", "failed"]
LARGE = 40_000_000
"""Pixels of a result from which it is written row by row where its format can be."""

Bands = Callable[[Job, Photo, Size], Iterator[Picture]]
"""The colour of a photo restored at a size, in bands of rows."""


@dataclass(frozen=True)
class Policy:
    """What to do about outputs that exist, folders that do not, failures and very large inputs.

    With `preserve` results have the permissions and times of their inputs, as `cp -p` would give them.
    """

    overwrite: bool = False
    skip_existing: bool = False
    fail_fast: bool = False
    max_pixels: int | None = None
    create_folders: bool = False
    preserve: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a job. Sizes are (height, width); `error` is set where it failed."""

    job: Job
    status: Status
    size: Size | None = None
    target_size: Size | None = None
    seconds: float = 0.0
    error: VarsrError | None = None


@dataclass
class Clock:
    """How long the model computed, of how long in all."""

    started: float = field(default_factory=time.monotonic)
    computed: float = 0.0

    def timed(self, bands: Iterator[Picture]) -> Iterator[Picture]:
        """The same bands, the time that each takes noted."""
        while True:
            began = time.monotonic()
            band = next(bands, None)
            self.computed += time.monotonic() - began
            if band is None:
                return
            yield band

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def share(self) -> float:
        """The part of the time in which the model computed."""
        return self.computed / self.elapsed


@dataclass(frozen=True)
class Run:
    """How each job is done: by `bands`, to `size`, encoded and guarded as told. `clock` notes the time."""

    bands: Bands
    size: TargetSize
    encoding: Encoding
    policy: Policy
    clock: Clock

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Do the jobs and yield the outcome of each, in order.

        A picture that cannot be read, computed or written is an outcome; any other exception ends the run. What
        is being written is finished whole even then.
        """
        reading: deque[tuple[Job, Future[Photo | None]]] = deque()
        writing: deque[Future[Outcome]] = deque()
        rest = iter(jobs)
        with _pool(1) as readers, _pool(WRITERS) as writers:
            while True:
                while len(reading) < READ_AHEAD and (job := next(rest, None)):
                    reading.append((job, readers.submit(self._prepare, job)))
                if not reading:
                    break
                latest = self._advance(*reading.popleft(), writers)
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

    def _prepare(self, job: Job) -> Photo | None:
        """The picture of a job, or None where there is nothing to do."""
        try:
            exists = job.target.exists()
        except OSError as error:  # of a name that the file system does not take
            raise OutputError(f"{job.target} cannot be written ({reason(error)}).", "Choose another name.") from error
        if self.policy.skip_existing and exists:
            return None
        if not self.policy.overwrite and _same(job.source, job.target):
            raise OutputError(f"{job.target} is the input itself.", "Choose another name, or use --overwrite.")
        if exists or not self.policy.create_folders:
            self._check(job)
        if job.source == STREAM:
            return read_stream(sys.stdin.buffer, self.policy.max_pixels)
        photo = read_photo(job.source, self.policy.max_pixels)
        if self.policy.create_folders:
            create_folder(job.target.parent)
        return photo

    def _check(self, job: Job) -> None:
        if job.target != STREAM:
            check_target(job.target, self.policy.overwrite)

    def _advance(self, job: Job, future: Future[Photo | None], writers: ThreadPoolExecutor) -> Future[Outcome]:
        """Compute a job and have it written; the future holds its outcome."""
        outcome = Outcome(job, "skipped")
        started = time.monotonic()
        try:
            photo = future.result()
            if photo is None:
                return _settled(outcome)
            outcome = replace(outcome, size=photo.size)
            wanted = self.size.of(photo.size)
            outcome = replace(outcome, target_size=wanted)
            check_fits(job.target, wanted, photo, self.encoding)
            if (
                not photo.following
                and math.prod(wanted) >= LARGE
                and job.target != STREAM
                and streams(self.encoding, job.target)
            ):
                write_bands(photo, wanted, self._timed(job, photo, wanted), job.target, self.encoding)
                return _settled(self._done(outcome, started))
            frames = [self._restored(job, frame, self.size.of(frame.size)) for frame in (photo, *photo.following)]
            result = replace(frames[0], following=tuple(frames[1:]))
        except PICTURE_ERRORS as error:
            return _settled(_failed(outcome, error, started))
        except MemoryError:
            little = TooLittleMemoryError("There is too little memory for this picture.", "Close other programs.")
            return _settled(_failed(outcome, little, started))
        return writers.submit(self._write, outcome, result, started)

    def _restored(self, job: Job, photo: Photo, wanted: Size) -> Photo:
        return photo.restored(np.concatenate(list(self._timed(job, photo, wanted))))

    def _timed(self, job: Job, photo: Photo, wanted: Size) -> Iterator[Picture]:
        return self.clock.timed(self.bands(job, photo, wanted))

    def _write(self, outcome: Outcome, result: Photo, started: float) -> Outcome:
        try:
            if outcome.job.target == STREAM:
                sys.stdout.buffer.write(encode(result, self.encoding))
                sys.stdout.buffer.flush()
            else:
                write_photo(result, outcome.job.target, self.encoding)
        except PICTURE_ERRORS as error:
            return _failed(outcome, error, started)
        return self._done(outcome, started)

    def _done(self, outcome: Outcome, started: float) -> Outcome:
        if self.policy.preserve and STREAM not in (outcome.job.source, outcome.job.target):
            with suppress(OSError):  # the result itself is whole
                shutil.copystat(outcome.job.source, outcome.job.target)
        return replace(outcome, status="done", seconds=time.monotonic() - started)


class _pool(ThreadPoolExecutor):  # noqa: N801, a context manager
    """A pool that drops what it has not begun when the block is left, and finishes what it has."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


def _failed(outcome: Outcome, error: VarsrError, started: float) -> Outcome:
    return replace(outcome, status="failed", error=error, seconds=time.monotonic() - started)


def _settled(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future


def _same(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)
