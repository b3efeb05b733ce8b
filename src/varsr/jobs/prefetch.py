"""Prefetch: files are read in a thread, ahead of whoever asks for them, within a bound of memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Condition, Thread

from varsr.images.encoding import DEFAULT as DEFAULT_ENCODING
from varsr.images.encoding import Encoding, check_fits, losses
from varsr.images.photo import Photo
from varsr.images.size import TargetSize
from varsr.jobs.outcome import DEFAULT_POLICY, Outcome, Policy, Skipped, failed
from varsr.jobs.plan import Job
from varsr.jobs.preflight import is_about_video, prepare, prepare_video
from varsr.jobs.segment import SegmentJob
from varsr.jobs.targets import Targets
from varsr.storage.streams import STREAM
from varsr.upscaling.options import DEFAULTS, Options
from varsr.upscaling.request import FOUR_TIMES, Request
from varsr.upscaling.scheduler import AHEAD_PIXELS
from varsr.video.formats import DEFAULT_VIDEO, VideoOptions

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


class Prefetch(Iterator[Prefetched]):
    """The frames of jobs, in order. Close it, so that nothing more is read.

    Reading may wait for a pipe that nothing comes out of. A thread of an executor would then keep the program from
    ending when it is interrupted; this one does not.
    """

    def __init__(self, jobs: Iterable[Job], settings: JobSettings) -> None:
        self._jobs = iter(jobs)
        self._settings = settings
        self._read: deque[list[Prefetched] | None] = deque()  # of each file; None at the end
        self._frames: deque[Prefetched] = deque()  # of the file at hand
        self._failure: Exception | None = None  # of planning, which goes on while jobs are done
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._work, daemon=True, name="varsr-prefetch")
        self._thread.start()

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
        self._thread.join(PATIENCE)

    def _work(self) -> None:
        try:
            self._read_all()
        except Exception as error:
            self._failure = error
        with self._changed:
            self._read.append(None)
            self._changed.notify_all()

    def _read_all(self) -> None:
        targets = Targets()
        for job in self._jobs:
            file = opened(job, self._settings, targets)
            with self._changed:
                self._read.append(file)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed or self._has_room())
                if self._closed:
                    return

    def _has_room(self) -> bool:
        pixels = sum(_pixels(item) for file in self._read for item in file or ())
        return pixels < AHEAD_PIXELS and len(self._read) < AHEAD_FILES


def opened(job: Job, settings: JobSettings, targets: Targets) -> list[Prefetched]:
    """The frames of a job's file, or its outcome where there is nothing to do, or nothing that can be done."""
    outcome, started = Outcome(job, "skipped"), time.monotonic()
    try:
        if isinstance(job, SegmentJob):
            return [VideoTask(outcome)]
        if is_about_video(job):
            skipped = prepare_video(job, settings.policy, targets)
            return [replace(outcome, notes=skipped.notes) if skipped else VideoTask(outcome)]
        photo = prepare(job, settings.policy, settings.encoding, targets)
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


def _pixels(item: Prefetched) -> int:
    if not isinstance(item, FrameRequest) or not isinstance(item.image, Photo):
        return 0
    height, width = item.image.size
    return height * width
