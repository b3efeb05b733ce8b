"""A video shared out among workers: frames are decoded here, and each worker upscales whole segments.

Workers get the frames of a segment in a file without loss, rather than the video: no seeking is involved, damage is
concealed once, and what counts as unchanged is decided in one place, so that segments do not differ where they meet.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import groupby

import numpy as np

from varsr.images.rounding import scaled
from varsr.jobs.clip import ClipAssembly, expected_frames, result_size
from varsr.jobs.clip_frames import FRAMES_AHEAD, SegmentFrame, segment_frames
from varsr.jobs.frames import frame_source
from varsr.jobs.outcome import Outcome, failed
from varsr.jobs.pipeline import ReadAhead
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings, VideoTask, begin
from varsr.jobs.segment import SegmentJob
from varsr.jobs.targets import Targets
from varsr.jobs.workers import WorkerRun
from varsr.storage.staging import delivered, fetched
from varsr.upscaling.progress import FrameProgress, Progress
from varsr.upscaling.upscaler import ModelChoice
from varsr.video.color import EIGHT
from varsr.video.encode import SegmentEncoder, VideoEncoding
from varsr.video.formats import CODECS, DEFAULT_VIDEO

_SIXTEEN = 16


class SharedClipRun:
    """One video upscaled by several workers: iterate over it for its outcome, as over `Run`."""

    computing_share: float | None = None

    def __init__(
        self,
        choices: Sequence[ModelChoice],
        job: Job,
        settings: JobSettings,
        threads: int | None,
        patience: float,
    ) -> None:
        self._choices, self._job, self._settings = choices, job, settings
        self._threads, self._patience = threads, patience
        self._started = time.monotonic()
        self._progress = FrameProgress(0, 1, 0, "reading")
        self._segments = 0

    @property
    def progress(self) -> tuple[Job, Progress] | None:
        """The job and its progress, by whole segments."""
        return self._job, self._progress

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return max(time.monotonic() - self._started, 1e-9)

    def __iter__(self) -> Iterator[Outcome]:
        item = begin(self._job, self._settings, Targets()).known
        if not isinstance(item, VideoTask):
            assert isinstance(item, Outcome)
            yield item
            return
        try:
            made = self._finish(item.outcome)
            yield replace(made, status="done", seconds=self.elapsed)
        except Exception as error:
            yield failed(item.outcome, error, self.elapsed)

    def _finish(self, outcome: Outcome) -> Outcome:
        with fetched(self._job.source) as path, delivered(self._job.target) as target:
            source = frame_source(path, self._settings.video)
            clip = source.clip
            outcome = replace(outcome, size=clip.size, target_size=result_size(clip, self._settings))
            self._progress = FrameProgress(0, expected_frames(clip, self._settings.video), 0, "frames")
            precisions = {choice.precision for choice in self._choices}
            assembly = ClipAssembly.begin(source, target, self._settings, precisions)
            with closing(ReadAhead(segment_frames(source, self._settings.video.reuse), FRAMES_AHEAD)) as frames:
                self._share_out(assembly, frames)
            segments = [assembly.store.finished(number) for number in range(self._segments)]
            return assembly.join([segment for segment in segments if segment], outcome)

    def _share_out(self, assembly: ClipAssembly, frames: Iterator[SegmentFrame]) -> None:
        """Have all segments computed that are not finished. Raises the error of one that failed."""
        began, computed = time.monotonic(), 0
        with closing(ReadAhead(self._jobs(assembly, frames), 1)) as jobs:
            run = WorkerRun(self._choices, jobs, self._settings, self._threads, self._patience)
            with closing(iter(run)) as outcomes:  # type: ignore[type-var]  # a generator
                for outcome in outcomes:
                    with suppress(OSError):
                        outcome.job.source_file.unlink()
                    if outcome.error is not None:
                        raise outcome.error
                    computed += outcome.frames
                    speed = computed / (time.monotonic() - began)
                    done = self._progress.done + outcome.frames
                    self._progress = replace(self._progress, done=done, tiles=outcome.tiles, a_second=speed)

    def _jobs(self, assembly: ClipAssembly, frames: Iterator[SegmentFrame]) -> Iterator[SegmentJob]:
        """A job for each segment that is not finished."""
        for number, group in groupby(frames, key=lambda frame: frame.segment):
            self._segments = number + 1
            finished = assembly.store.finished(number)
            if finished is None:
                yield _written(assembly, number, group)
            else:
                self._progress = replace(self._progress, done=self._progress.done + len(finished.times))


def _written(assembly: ClipAssembly, number: int, frames: Iterator[SegmentFrame]) -> SegmentJob:
    """Write the frames of a segment without loss."""
    clip, file = assembly.source.clip, assembly.store.file(number)
    source = file.with_name(f"input-{file.name}")
    depth = EIGHT if clip.signal.depth == EIGHT else _SIXTEEN
    signal = replace(clip.signal, sampling="rgb", depth=depth)
    lossless = VideoEncoding(clip.size, clip.rate, signal, CODECS["ffv1"], DEFAULT_VIDEO)
    times, cuts = [], 0
    with SegmentEncoder(source, lossless) as encoder:
        for frame in frames:
            pixels = frame.stabilized.pixels
            encoder.add(scaled(pixels, np.iinfo(pixels.dtype).max))
            times.append(frame.pts)
            cuts += frame.stabilized.is_cut
    return SegmentJob(source, file, number=number, encoding=assembly.encoding, times=tuple(times), cuts=cuts)
