"""A segment of a video as a job of its own, for one of several workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from varsr.jobs.plan import Job

if TYPE_CHECKING:
    from varsr.video.encode import VideoEncoding


@dataclass(frozen=True, kw_only=True)
class SegmentJob(Job):
    """A segment to compute: its source holds the frames without loss, its target is the segment's own file.

    Frames of the source that are to be taken for unchanged are equal to the bit. `times` and `cuts` are theirs.
    """

    number: int
    encoding: VideoEncoding
    times: tuple[int, ...]
    cuts: int
