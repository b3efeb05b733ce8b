"""Prefetch: files are fetched and read ahead of whoever asks for them, within a bound of memory.

One thread checks each job in turn, and has files of other machines fetched, several at a time. Another reads them, in
order and one after the other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Condition, Thread
from typing import TypeVar

from varsr.images.encoding import DEFAULT as DEFAULT_ENCODING
from varsr.images.encoding import Encoding, check_fits, losses
from varsr.images.photo import Photo
from varsr.images.size import TargetSize
from varsr.jobs.outcome import DEFAULT_POLICY, Outcome, Policy, Skipped, failed
from varsr.jobs.plan import Job
from varsr.jobs.preflight import is_about_video, prepare, prepare_video, read
from varsr.jobs.segment import SegmentJob
from varsr.jobs.targets import Targets
from varsr.storage.address import Remote
from varsr.storage.staging import Fetch
from varsr.storage.streams import STREAM
from varsr.upscaling.options import DEFAULTS, Options
from varsr.upscaling.request import FOUR_TIMES, Request
from varsr.upscaling.scheduler import AHEAD_PIXELS
from varsr.video.formats import DEFAULT_VIDEO, VideoOptions

T = TypeVar("T")
FETCHES = 4
"""Jobs that are begun ahead of the one that is read, each with its file on the way."""
AHEAD_FILES = 64
"""Files that wait, from which no further one is read."""
PATIENCE = 0.3  # seconds; a thread that is not blocked has ended by then, which the interpreter's own end asks for


@dataclass(frozen=True)
class JobSettings:
    """Settings that all jobs of a run share."""

    size: TargetSize = FOUR_TIMES
    options: Options = DEFAULTS
    encoding: Encoding = DEFAULT_ENCODING
    policy: Policy = DEFAULT_POLICY
    video: VideoOptions = DEFAULT_VIDEO


@dataclass(frozen=True)
class OpenedJob:
    """A job whose file is read: its image with all frames, and the outcome so far."""

    job: Job
    photo: Photo
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class FrameRequest(Request):
    """A frame of a file. Those of one file follow each other and have one `opened`."""

    opened: OpenedJob


@dataclass(frozen=True)
class VideoTask:
    """A video to upscale, whose frames are read as they are needed, and the outcome so far."""

    outcome: Outcome


Prefetched = FrameRequest | VideoTask | Outcome
"""A frame or a video to upscale, or the outcome of a job of which nothing is to be upscaled."""


@dataclass(frozen=True)
class BegunJob:
    """A job whose file may be on its way, or of which the outcome is known."""

    outcome: Outcome
    fetch: Fetch | None = None
    known: Prefetched | None = None

    def abandon(self) -> None:
        """Have no file fetched for it."""
        if self.fetch is not None:
            self.fetch.abandon()


class Prefetch(Iterator[Prefetched]):
    """The frames of jobs, in order. Close it, so that nothing more is read.

    Reading may wait for a pipe that nothing comes out of. A thread of an executor would then keep the program from
    ending when it is interrupted; these do not.
    """

    def __init__(self, jobs: Iterable[Job], settings: JobSettings) -> None:
        self._jobs = iter(jobs)
        self._settings = settings
        self._begun: deque[BegunJob | None] = deque()  # None at the end
        self._read: deque[list[Prefetched] | None] = deque()  # of each file; None at the end
        self._frames: deque[Prefetched] = deque()  # of the file at hand
        self._failure: Exception | None = None  # of planning, which goes on while jobs are done
        self._closed = False
        self._changed = Condition()
        self._threads = [
            Thread(target=work, daemon=True, name=name)
            for work, name in ((self._begin_all, "varsr-begin"), (self._read_all, "varsr-prefetch"))
        ]
        for thread in self._threads:
            thread.start()

    def __next__(self) -> Prefetched:
        while not self._frames:
            with self._changed:
                self._changed.wait_for(lambda: self._read)
                file = self._read[0]
                if file is None:
                    raise self._failure or StopIteration
                self._frames.extend(self._read.popleft() or ())
                self._changed.notify_all()
        return self._frames.popleft()

    def close(self) -> None:
        """Begin nothing more. The file that is being read is waited for a moment only."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(PATIENCE)
        for begun in self._begun:
            if begun is not None:
                begun.abandon()

    def _begin_all(self) -> None:
        targets = Targets()
        try:
            for job in self._jobs:
                begun = begin(job, self._settings, targets)
                if not self._put(self._begun, begun, lambda: len(self._begun) < FETCHES):
                    return
        except Exception as error:
            self._failure = error
        self._put(self._begun, None)

    def _read_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._begun)
                if self._closed:
                    return
                begun = self._begun.popleft()
                self._changed.notify_all()
            if begun is None:
                self._put(self._read, None)
                return
            if not self._put(self._read, finish(begun, self._settings), self._has_room):
                return

    def _put(self, waiting: deque[T], item: T, has_room: Callable[[], bool] = lambda: True) -> bool:
        """Add an item and wait until there is room for another; False where nothing more is wanted."""
        with self._changed:
            waiting.append(item)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or has_room())
            return not self._closed

    def _has_room(self) -> bool:
        pixels = sum(_pixels(item) for file in self._read for item in file or ())
        return pixels < AHEAD_PIXELS and len(self._read) < AHEAD_FILES


def begin(job: Job, settings: JobSettings, targets: Targets) -> BegunJob:
    """Check a job and begin to fetch its file; what fails, or has nothing to do, is known at once."""
    outcome, started = Outcome(job, "skipped"), time.monotonic()
    try:
        if isinstance(job, SegmentJob):
            return BegunJob(outcome, known=VideoTask(outcome))
        if is_about_video(job):
            video = prepare_video(job, settings.policy, targets)
            return BegunJob(outcome, known=replace(outcome, notes=video.notes) if video else VideoTask(outcome))
        skipped = prepare(job, settings.policy, settings.encoding, targets)
        if skipped is not None:
            return BegunJob(outcome, known=replace(outcome, notes=skipped.notes, outdated=skipped.outdated))
        return BegunJob(outcome, Fetch(job.source) if isinstance(job.source, Remote) else None)
    except Exception as error:  # whatever it is, it costs this image alone
        return BegunJob(outcome, known=failed(outcome, error, time.monotonic() - started))


def finish(begun: BegunJob, settings: JobSettings) -> list[Prefetched]:
    """The frames of a begun job's file, or its outcome where there is nothing to do, or nothing that can be done."""
    if begun.known is not None:
        return [begun.known]
    outcome, job, started = begun.outcome, begun.outcome.job, time.monotonic()
    try:
        photo = _read(begun, settings)
        if isinstance(photo, Skipped):
            return [replace(outcome, notes=photo.notes, outdated=photo.outdated)]
        outcome = replace(outcome, size=photo.size, frames=len(photo.frames))
        target = settings.size.of(photo.size)
        outcome = replace(outcome, target_size=target)
        name = job.target if isinstance(job.target, Path) else Path(job.target.name)
        check_fits(name, target, photo, settings.encoding)
        notes = () if job.target == STREAM else losses(photo, name, settings.encoding)
        file = OpenedJob(job, photo, replace(outcome, notes=notes))
        return [FrameRequest(frame, settings.size, settings.options, opened=file) for frame in photo.frames]
    except Exception as error:  # whatever it is, it costs this image alone
        return [failed(outcome, error, time.monotonic() - started)]


def _read(begun: BegunJob, settings: JobSettings) -> Photo | Skipped:
    job = begun.outcome.job
    if begun.fetch is None:
        assert isinstance(job.source, Path)
        return read(job, job.source, settings.policy, settings.encoding)
    with begun.fetch.file() as copy:
        return read(job, copy, settings.policy, settings.encoding)


def _pixels(item: Prefetched) -> int:
    if not isinstance(item, FrameRequest) or not isinstance(item.image, Photo):
        return 0
    height, width = item.image.size
    return height * width
