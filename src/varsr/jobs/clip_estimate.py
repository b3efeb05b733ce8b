"""Estimates of videos: frames, size of the results and space on disk, from their headers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from varsr.errors import VarsrError
from varsr.jobs.clip import expected_frames, result_size
from varsr.jobs.frames import frame_source
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.video.formats import is_video

MOST = 1000
"""Videos whose headers are read."""
_BITS_A_PIXEL = {"ffv1": 9.0, "prores": 6.0}
"""Of codecs whose files are large, by rule of thumb; of the others what the input takes, for that many more pixels."""
_GROWTH = 0.75
"""Exponent by which a file grows with the pixels of a frame, by rule of thumb: enlarged images are smooth."""


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
    for job in jobs:
        if clips == MOST or not isinstance(job.source, Path) or job.problem is not None:
            continue
        if not (is_video(job.source.name) or is_video(job.target.name)) or job.target.exists():  # type: ignore[union-attr]
            continue
        try:
            clip = frame_source(job.source, settings.video).clip
            target = result_size(clip, settings)
        except VarsrError:
            continue
        count = expected_frames(clip, settings.video)
        clips += 1
        frames += count
        megapixels += count * math.prod(target) / 1e6
        growth = math.prod(target) / math.prod(clip.size)
        bits = _BITS_A_PIXEL.get(settings.video.codec or "")
        own = clip.path.stat().st_size * count / clip.frames * growth**_GROWTH
        space += own if bits is None else bits / 8 * count * math.prod(target)
    return ClipEstimate(clips, frames, megapixels, round(space))
