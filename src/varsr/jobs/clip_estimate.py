"""Estimates of videos: frames, size of the results and space on disk, from their headers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from varsr.errors import VarsrError
from varsr.jobs.clip import expected_frames, result_size
from varsr.jobs.frames import frame_source
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.video.formats import CODECS, VideoOptions, is_video

MOST = 1000
"""Videos whose headers are read."""
_BITS_A_PIXEL = {"h264": 0.15, "h265": 0.1, "av1": 0.08, "ffv1": 8.0, "prores": 4.0}
"""Of enlarged frames, by rule of thumb, with the default constant rate factor."""
_HALVING = 6
"""Steps of the constant rate factor that halve a file."""


@dataclass(frozen=True)
class ClipEstimate:
    """Videos that will be upscaled, their frames, megapixels and bytes of their results."""

    clips: int
    frames: int
    megapixels: float
    bytes: int


def estimate_clips(jobs: Iterable[Job], settings: JobSettings) -> ClipEstimate:
    """Estimate the videos among jobs; those that cannot be read are left to their turn."""
    clips = frames = 0
    megapixels = space = 0.0
    for job in islice((job for job in jobs if _is_to_do(job, settings)), MOST):
        try:
            clip = frame_source(job.source_file, settings.video).clip
            target = result_size(clip, settings)
        except VarsrError:
            continue
        count = expected_frames(clip, settings.video)
        clips += 1
        frames += count
        megapixels += count * math.prod(target) / 1e6
        space += _bits_a_pixel(settings.video) / 8 * count * math.prod(target)
    return ClipEstimate(clips, frames, megapixels, round(space))


def _is_to_do(job: Job, settings: JobSettings) -> bool:
    """True for a job of files of this machine whose result is not there yet, or replaced."""
    if not job.is_of_files or job.problem is not None:
        return False
    return settings.policy.overwrite or not is_video(job.target.name) or not job.target_file.exists()


def _bits_a_pixel(options: VideoOptions) -> float:
    codec = CODECS[options.codec or "h264"]
    bits = _BITS_A_PIXEL[codec.name]
    if codec.crf is None or options.crf is None:
        return bits
    return bits * 2.0 ** ((codec.crf[1] - options.crf) / _HALVING)
