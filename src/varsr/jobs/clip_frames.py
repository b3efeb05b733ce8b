"""The frames of a video upscaled in order, of which only what has changed is computed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from varsr.images.photo import Photo
from varsr.images.rounding import scaled
from varsr.images.size import Size
from varsr.jobs.frames import FrameSource
from varsr.jobs.pipeline import WriteBehind
from varsr.jobs.prefetch import JobSettings
from varsr.tiling.array import FloatImage
from varsr.upscaling.progress import FrameProgress
from varsr.upscaling.request import Request, Result
from varsr.upscaling.still import Change, ChangeDetector, Memory, StabilizedFrame
from varsr.upscaling.upscaler import Upscaler
from varsr.video.clip import Clip
from varsr.video.color import Pixels
from varsr.video.encode import SegmentEncoder, VideoEncoding
from varsr.video.formats import DEFAULT_VIDEO
from varsr.video.read import FrameReader
from varsr.video.segments import SECONDS, Segment

FRAMES_AHEAD = 8
"""Frames that are decoded ahead of the one at assembly."""
FRAMES_BEHIND = 2
"""Frames that wait for the encoder."""


@dataclass(frozen=True)
class SegmentFrame:
    """A frame of the input as it is upscaled: its number from 1 on, its time, and the segment that it belongs to."""

    number: int
    pts: int
    segment: int
    stabilized: StabilizedFrame


def segment_frames(source: FrameSource, reuse: bool) -> Iterator[SegmentFrame]:
    """The frames of a source, shared out to segments by their times; with `reuse` noise does not count as change."""
    time_base, still = source.clip.time_base, ChangeDetector()
    segment, begin = 0, None
    for number, frame in enumerate(source, 1):
        seconds = float(frame.pts * time_base)
        begin = seconds if begin is None else begin
        if seconds - begin >= SECONDS:
            segment, begin = segment + 1, seconds
        stabilized = still.stabilize(frame.pixels, seconds, frame.is_key) if reuse else _all_new(frame.pixels)
        yield SegmentFrame(number, frame.pts, segment, stabilized)


def as_they_are(clip: Clip, times: Sequence[int]) -> Iterator[SegmentFrame]:
    """The frames of a clip in which what has not changed is equal to the bit, with times of their own."""
    before: Pixels | None = None
    for number, (frame, pts) in enumerate(zip(FrameReader(clip, DEFAULT_VIDEO), times, strict=True)):
        pixels = frame.pixels
        stabilized = _all_new(pixels) if before is None else StabilizedFrame(pixels, (pixels != before).any(-1))
        yield SegmentFrame(number, pts, 0, stabilized)
        before = pixels


def _all_new(pixels: Pixels) -> StabilizedFrame:
    return StabilizedFrame(pixels, np.ones(pixels.shape[:2], np.bool_))


@dataclass(frozen=True, kw_only=True)
class _FrameRequest(Request):
    """A frame to upscale."""

    frame: SegmentFrame


class FrameUpscaler:
    """Upscales frames that follow each other. `progress` may be looked at meanwhile."""

    def __init__(self, upscaler: Upscaler, settings: JobSettings, expected: int) -> None:
        """Begin with nothing in memory; about `expected` frames will come."""
        self._upscaler, self._settings = upscaler, settings
        self._memory = Memory()
        self._latest: FloatImage | None = None
        self._is_fresh = True
        """The next frame has none before it whose tiles are in memory."""
        self.busy = 0.0
        """Seconds in which frames were computed."""
        self.progress = FrameProgress(0, expected, 0, "reading")

    def segment(self, number: int, file: Path, frames: Iterable[SegmentFrame], encoding: VideoEncoding) -> Segment:
        """Upscale and encode the frames of a segment."""
        times, computed, cuts = [], 0, 0
        with SegmentEncoder(file, encoding) as encoder, WriteBehind(FRAMES_BEHIND) as behind:
            for frame, image, tiles in self.upscaled(frames, encoding.size):
                behind.do(encoder.add, image)
                times.append(frame.pts)
                computed += tiles
                cuts += frame.stabilized.is_cut
        tiles = len(times) * self.tiles(encoding.size)
        return Segment(number, tuple(times), encoder.delay, tiles, computed, cuts)

    def tiles(self, size: Size) -> int:
        """The number of tiles of a result (height, width)."""
        return len(self._upscaler.layout(size, self._settings.options).tiles)

    def skip(self, frames: Iterable[SegmentFrame]) -> None:
        """Pass over frames whose results are there."""
        count = sum(1 for _ in frames)
        self._is_fresh = True
        self.progress = replace(self.progress, done=self.progress.done + count)

    def upscaled(self, frames: Iterable[SegmentFrame], size: Size) -> Iterator[tuple[SegmentFrame, FloatImage, int]]:
        """Each frame with its result (H, W, 3) and the number of tiles that were computed for it."""
        stream = self._upscaler.upscale_many(self._requests(frames, size))
        began, before = time.monotonic(), self.progress.done
        for item in stream:
            frame, tiles = item, 0
            if isinstance(item, Result):
                self._latest, tiles = np.concatenate([*item.bands()]), item.tiles
                frame = item.request.frame if isinstance(item.request, _FrameRequest) else item
            assert isinstance(frame, SegmentFrame)
            assert self._latest is not None
            yield frame, self._latest, tiles
            done = self.progress.done + 1
            speed = (done - before) / max(time.monotonic() - began, 1e-9)
            self.progress = replace(self.progress, done=done, tiles=tiles, activity="frames", a_second=speed)
        self.busy += stream.busy

    def _requests(self, frames: Iterable[SegmentFrame], size: Size) -> Iterator[_FrameRequest | SegmentFrame]:
        """A request for each frame with anything new in it; the others as they are."""
        for frame in frames:
            mask = np.ones_like(frame.stabilized.changed) if self._is_fresh else frame.stabilized.changed
            self._is_fresh = False
            if not mask.any():
                yield frame
                continue
            pixels = frame.stabilized.pixels
            color = scaled(pixels, np.iinfo(pixels.dtype).max)
            change = Change(mask, self._memory) if self._settings.video.reuse else None
            yield _FrameRequest(Photo(color), size, self._settings.options, change=change, frame=frame)
