"""Running: jobs are prefetched, upscaled in order, and written behind while the next ones are computed."""

from __future__ import annotations

import math
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, cast

from varsr.errors import DeviceError, WeightsError
from varsr.images.photo import Photo
from varsr.images.write import encode, write_bands, write_photo
from varsr.jobs.outcome import Outcome, failed
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import FrameRequest, JobSettings, OpenedJob, Prefetch, VideoTask
from varsr.jobs.segment import SegmentJob
from varsr.storage.retry import RETRIES
from varsr.storage.staging import delivered
from varsr.storage.streams import STREAM, write_to_standard_output
from varsr.upscaling.progress import Progress
from varsr.upscaling.request import Result
from varsr.upscaling.stream import UpscaleStream
from varsr.upscaling.upscaler import ModelChoice, Upscaler

if TYPE_CHECKING:
    from varsr.jobs.clip import ClipRun, SegmentRun

WRITERS = 2
STREAM_ABOVE_PIXELS = 40_000_000
"""Pixels of a result from which it is written, or at least rounded to bytes, row by row."""

RUN_ERRORS = (WeightsError, DeviceError)
"""Errors that every image would meet, which end the run. Any other costs the image at work alone."""

Item = FrameRequest | VideoTask | Outcome


class Run:
    """Jobs done one after the other: iterate over it for their outcomes.

    A file that cannot be read, computed or written is an outcome, whatever went wrong; `RUN_ERRORS` alone end the run,
    and a model that cannot be loaded. Results that are being written are finished whole even then.
    """

    def __init__(self, model: ModelChoice | Upscaler, jobs: Iterable[Job], settings: JobSettings) -> None:
        self._model = model
        self._jobs = jobs
        self._settings = settings
        self._stream: UpscaleStream[Item] | None = None
        self._upscaler: Upscaler | None = None
        self._at_work: Job | None = None
        self._clip: ClipRun | SegmentRun | None = None
        self._busy_with_clips = 0.0
        self._started = time.monotonic()

    @property
    def progress(self) -> tuple[Job, Progress] | None:
        """The job at work and the progress of its image or video."""
        job, clip = self._at_work, self._clip
        progress = clip.progress if clip else self._stream.progress if self._stream else None
        return (job, progress) if job and progress else None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return max(time.monotonic() - self._started, 1e-9)

    @property
    def computing_share(self) -> float:
        """The share of the time in which the model computed."""
        busy = self._stream.busy if self._stream else 0.0
        return (busy + self._busy_with_clips) / self.elapsed

    def __iter__(self) -> Iterator[Outcome]:
        fail_fast = self._settings.policy.fail_fast
        writing: deque[Future[Outcome]] = deque()
        with closing(Prefetch(self._jobs, self._settings)) as prefetch, _WriterPool(WRITERS) as writers:
            for latest in self._finished(prefetch, writers):
                writing.append(latest)
                if fail_fast and latest.done() and latest.result().status == "failed":
                    break  # though earlier ones are still being written
                while writing and (writing[0].done() or len(writing) > WRITERS):
                    outcome = replace(writing.popleft().result(), retries=RETRIES.take())
                    yield outcome
                    if outcome.status == "failed" and fail_fast:
                        return
            for last in writing:
                yield replace(last.result(), retries=RETRIES.take())

    def _finished(self, prefetch: Prefetch, writers: ThreadPoolExecutor) -> Iterator[Future[Outcome]]:
        """Each job in turn, computed and handed to the writers; the future holds its outcome."""
        results = self._upscaled(prefetch)
        for item in results:
            if isinstance(item, Outcome):
                yield _settled(item)
            elif isinstance(item, VideoTask):
                yield _settled(self._upscale_clip(item))
            elif isinstance(item, Result) and isinstance(item.request, FrameRequest):
                opened = item.request.opened
                frames = chain([item], islice(results, len(opened.photo.more_frames)))
                yield self._compute(opened, cast("Iterator[Result]", frames), writers)

    def _upscaled(self, prefetch: Prefetch) -> Iterator[Result | Item]:
        """The results of what is prefetched. The model is loaded for the first image, not before."""
        for item in prefetch:
            if isinstance(item, Outcome):
                yield item
                continue
            self._upscaler = self._model.load() if isinstance(self._model, ModelChoice) else self._model
            self._stream = self._upscaler.upscale_many(chain(iter([item]), prefetch))
            del item  # else the first image, like a list that `chain` holds, would stay in memory until the end
            yield from self._stream
            return

    def _compute(self, opened: OpenedJob, frames: Iterator[Result], writers: ThreadPoolExecutor) -> Future[Outcome]:
        """Compute the frames of a file, each before the next one is asked for, and have it written."""
        self._at_work = opened.job
        started, outcome, photos = time.monotonic(), opened.outcome, []
        try:
            for frame in frames:
                outcome = replace(outcome, tiles=outcome.tiles + frame.tiles)
                if self._is_streamed(opened, frame):
                    with delivered(opened.job.target) as path:
                        write_bands(opened.photo, frame.size, frame.bands(), path, self._settings.encoding)
                    return _settled(self._done(outcome, started))
                photos.append(frame.photo())
        except RUN_ERRORS:
            raise
        except Exception as error:
            deque(frames, maxlen=0)  # the other frames, which are not computed unless they are asked for
            return _settled(failed(outcome, error, time.monotonic() - started))
        return writers.submit(self._write, outcome, replace(photos[0], more_frames=tuple(photos[1:])), started)

    def _upscale_clip(self, task: VideoTask) -> Outcome:
        """Upscale a video, from its first frame to the file that is put together."""
        from varsr.jobs.clip import ClipRun, SegmentRun  # which need what reads videos

        assert self._upscaler is not None
        started, outcome, job = time.monotonic(), task.outcome, task.outcome.job
        self._at_work = job
        if isinstance(job, SegmentJob):
            self._clip = SegmentRun(self._upscaler, job, self._settings)
        else:
            self._clip = ClipRun(self._upscaler, job, self._settings)
        try:
            return self._done(self._clip.finish(outcome), started)
        except RUN_ERRORS:
            raise
        except Exception as error:
            return failed(outcome, error, time.monotonic() - started)
        finally:
            self._busy_with_clips += self._clip.busy
            self._clip = None

    @staticmethod
    def _is_streamed(opened: OpenedJob, frame: Result) -> bool:
        """True for a result that is so large that it is written row by row."""
        whole = bool(opened.photo.more_frames) or opened.job.target == STREAM
        return not whole and math.prod(frame.size) >= STREAM_ABOVE_PIXELS

    def _write(self, outcome: Outcome, result: Photo, started: float) -> Outcome:
        try:
            if outcome.job.target == STREAM:
                write_to_standard_output(encode(result, self._settings.encoding))
            else:
                with delivered(outcome.job.target) as path:
                    write_photo(result, path, self._settings.encoding)
        except Exception as error:
            return failed(outcome, error, time.monotonic() - started)
        return self._done(outcome, started)

    def _done(self, outcome: Outcome, started: float) -> Outcome:
        job = outcome.job
        if self._settings.policy.preserve and job.is_of_files and job.target_file.is_file():
            with suppress(OSError):  # the result itself is whole
                shutil.copystat(job.source_file, job.target_file)
        return replace(outcome, status="done", seconds=time.monotonic() - started)


class _WriterPool(ThreadPoolExecutor):
    """A pool that drops what it has not begun when the block is left, and finishes what it has."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


def _settled(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future
