"""The queue: jobs of clients, and the worker that owns the model and does them."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from varsr.errors import OutputError, RequestError, VarsrError, as_varsr_error
from varsr.images import rows
from varsr.images.encoding import Encoding, check_fits
from varsr.images.formats import Format
from varsr.images.size import Size, TargetSize
from varsr.images.write import write_bands, write_photo
from varsr.tiling.array import FloatImage
from varsr.upscaling.options import Options
from varsr.upscaling.progress import Progress
from varsr.upscaling.request import Request
from varsr.upscaling.upscaler import ModelChoice, Upscaler
from varsr.web.decoder import Decoder
from varsr.web.limits import Limits
from varsr.web.preview import Reducer, write_preview
from varsr.web.spool import Spool

State = Literal["waiting", "running", "done", "failed", "cancelled"]
MUCH_SMALLER = 4
"""Times by which a job is smaller than the one at work, to be done between two of its tiles."""


@dataclass(frozen=True)
class Wish:
    """All that a client asks for. `name` is the client's name of the file, for messages and downloads alone."""

    name: str
    model: str
    size: TargetSize
    options: Options
    encoding: Encoding

    @property
    def format(self) -> Format:
        """The format of the result."""
        assert self.encoding.format is not None
        return self.encoding.format


@dataclass
class Job:
    """A job and how far it is."""

    id: str
    wish: Wish
    source: Path
    pixels: int
    state: State = "waiting"
    progress: Progress | None = None
    error: VarsrError | None = None
    size: Size | None = None
    target_size: Size | None = None
    result: Path | None = None
    finished: float | None = None
    wanted: bool = True

    @property
    def ended(self) -> bool:
        """True for a job that nothing more happens to."""
        return self.state in ("done", "failed", "cancelled")


class QueueFullError(VarsrError):
    """More jobs wait than the server holds."""

    def __init__(self) -> None:
        super().__init__("The server has too many jobs.", "Try again later.")


class _CancelledError(Exception):
    """The client no longer wants the job at work."""


class Queue:
    """Jobs by their number, a worker, and counts of what became of jobs."""

    def __init__(
        self, choose: Callable[[str], ModelChoice], spool: Spool, decoder: Decoder, limits: Limits, idle_seconds: float
    ) -> None:
        self._choose, self._spool, self._decoder = choose, spool, decoder
        self._limits, self._idle_seconds = limits, idle_seconds
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._loaded: tuple[str, Upscaler] | None = None
        self.counts: Counter[State] = Counter()
        """Jobs that ended, by what became of them."""
        self.seconds = 0.0
        """Spent on jobs that ended."""
        self._thread = threading.Thread(target=self._work, daemon=True, name="varsr-serve-worker")
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """True where no further job is taken."""
        self._expire()
        return len(self._waiting) >= self._limits.waiting or len(self._jobs) >= self._limits.kept

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    @property
    def model(self) -> str | None:
        """The model in memory."""
        return self._loaded[0] if self._loaded else None

    def new_id(self) -> str:
        """A number that nobody guesses."""
        return secrets.token_urlsafe(16)

    def add(self, job: Job) -> None:
        """Take a job. Raises `QueueFullError`."""
        with self._changed:
            if self.is_full or self._closed:
                raise QueueFullError
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._changed.notify_all()

    def get(self, id: str) -> Job | None:
        """The job of a number."""
        self._expire()
        return self._jobs.get(id)

    def jobs(self) -> list[Job]:
        """All jobs, the oldest first."""
        self._expire()
        return list(self._jobs.values())

    def delete(self, job: Job) -> None:
        """Forget a job and its files; one at work ends at its next step."""
        with self._changed:
            job.wanted = False
            self._jobs.pop(job.id, None)
            if job in self._waiting:
                self._waiting.remove(job)
                self._end(job, "cancelled")
        if job.ended:
            self._spool.forget(job.id)

    def close(self, seconds: float) -> None:
        """Take nothing more, give up what waits, and end what is at work within so many seconds."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                job.wanted = False
            while self._waiting:
                self._end(self._waiting.popleft(), "cancelled")
            self._changed.notify_all()
        self._thread.join(seconds)

    def _expire(self) -> None:
        now = time.time()
        for job in [*self._jobs.values()]:
            if job.finished is not None and now - job.finished > self._limits.keep_seconds:
                self.delete(job)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed, timeout=self._idle_seconds)
                if self._closed:
                    return
                if not self._waiting:
                    self._loaded = None
                    continue
                job = self._waiting.popleft()
            self._do(job, may_pause=True)

    def _do(self, job: Job, may_pause: bool) -> None:
        began = time.monotonic()
        job.state = "running"
        try:
            if not job.wanted:
                raise _CancelledError
            self._upscale(job, may_pause)
            self._end(job, "done")
        except _CancelledError:
            self._end(job, "cancelled")
        except Exception as error:  # whatever it is, it costs this job alone
            job.error = as_varsr_error(error)
            self._end(job, "failed")
        finally:
            self.seconds += time.monotonic() - began
            with suppress(OSError):
                job.source.unlink(missing_ok=True)
            if not job.wanted:
                self._spool.forget(job.id)

    def _end(self, job: Job, state: State) -> None:
        job.state, job.finished = state, time.time()
        self.counts[state] += 1

    def _upscale(self, job: Job, may_pause: bool) -> None:
        photo = self._decoder.photo(job.source)
        wish, job.size = job.wish, photo.size
        target = wish.size.of(photo.size)
        job.target_size = target
        result = self._spool.path(f"{job.id}-result{wish.format.suffixes[0]}")
        if math.prod(target) * len(photo.frames) > self._limits.result_pixels:
            raise RequestError(
                f"The result would have {math.prod(target) / 1e6:,.0f} megapixels.",
                f"At most {self._limits.result_pixels / 1e6:,.0f} are made.",
            )
        check_fits(result, target, photo, wish.encoding)
        write_preview(photo, self._spool.path(f"{job.id}-before.jpg"))
        upscaler = self._upscaler(wish.model)

        def show(progress: Progress) -> None:
            job.progress = progress

        requests = [Request(frame, target, wish.options, show) for frame in photo.frames]
        results = (self._bands(job, found.steps(), may_pause) for found in upscaler.upscale_many(requests))
        reduced = Reducer(target)
        first = reduced.passing(next(results))
        if not photo.more_frames and wish.format.name in rows.FORMATS:
            write_bands(photo, target, first, result, wish.encoding)
        else:
            colors = (np.concatenate(list(bands)) for bands in chain([first], results))
            one, *others = [frame.with_color(color) for frame, color in zip(photo.frames, colors, strict=True)]
            write_photo(replace(one, more_frames=tuple(others)), result, wish.encoding)
        write_preview(photo.with_color(reduced.color()), self._spool.path(f"{job.id}-after.jpg"))
        job.result = result

    def _bands(self, job: Job, steps: Iterator[FloatImage | None], may_pause: bool) -> Iterator[FloatImage]:
        """The bands of a result; between two steps, tiles most of them, a much smaller job may be done."""
        for band in steps:
            if band is not None:
                yield band
            if not job.wanted:
                raise _CancelledError
            if may_pause and (smaller := self._much_smaller(job)):
                self._do(smaller, may_pause=False)

    def _much_smaller(self, job: Job) -> Job | None:
        with self._changed:
            for other in self._waiting:
                if MUCH_SMALLER * other.pixels <= job.pixels and other.wish.model == job.wish.model:
                    self._waiting.remove(other)
                    return other
        return None

    def _upscaler(self, model: str) -> Upscaler:
        if self._loaded is None or self._loaded[0] != model:
            self._loaded = None  # before the next one needs the memory
            self._loaded = model, self._choose(model).load()
        return self._loaded[1]


def result_of(job: Job) -> Path:
    """The file of a job that is done. Raises `OutputError` where it is gone."""
    if job.result is None or not job.result.exists():
        raise OutputError("The result is gone.", "Upscale the image again.")
    return job.result
