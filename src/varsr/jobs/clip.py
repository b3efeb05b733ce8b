"""A video as one job: frames are decoded ahead, upscaled, and encoded behind, a segment at a time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import numpy as np

from varsr import __version__
from varsr.errors import OutputError, RequestError, describe
from varsr.images.photo import Photo
from varsr.images.size import Size
from varsr.jobs.frames import FrameSource, frame_source
from varsr.jobs.numbered import ImageFolder
from varsr.jobs.outcome import Outcome
from varsr.jobs.pipeline import Ahead, Behind
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.storage.local import replacing
from varsr.storage.staging import delivered, fetched
from varsr.tiling.array import FloatImage
from varsr.upscaling.progress import FrameProgress
from varsr.upscaling.request import Request, Result
from varsr.upscaling.still import Change, Memory, Settled, StillFinder
from varsr.upscaling.upscaler import Upscaler
from varsr.video.clip import Clip
from varsr.video.color import EIGHT
from varsr.video.encode import Recording, SegmentEncoder
from varsr.video.formats import VideoOptions, codec_for, is_video
from varsr.video.join import join, streams_left_out
from varsr.video.read import Frame
from varsr.video.segments import SECONDS, Parts, Segment

FRAMES_AHEAD = 8
FRAMES_BEHIND = 2


@dataclass(frozen=True)
class _Shown:
    """A frame of the input as it is upscaled: its number from 1 on, its time, and the segment that it belongs to."""

    number: int
    pts: int
    segment: int
    settled: Settled


@dataclass(frozen=True, kw_only=True)
class _FrameRequest(Request):
    """A frame to upscale."""

    shown: _Shown


class ClipRun:
    """The upscaling of one video. `progress` may be looked at meanwhile."""

    def __init__(self, upscaler: Upscaler, job: Job, settings: JobSettings) -> None:
        self._upscaler, self._job, self._settings = upscaler, job, settings
        self._memory = Memory()
        self._latest: FloatImage | None = None
        self._is_fresh = True
        """The next frame has none before it whose tiles are in memory."""
        self.busy = 0.0
        """Seconds in which frames were computed."""
        self.progress = FrameProgress(0, 1, 0, "reading")

    def finish(self, outcome: Outcome) -> Outcome:
        """Upscale the video; return the outcome with what became of it.

        Raises `InputError` for what cannot be read, `OutputError` for what cannot be written, `RequestError` for a
        container, codec or size that do not go together, and what upscaling raises.
        """
        with fetched(self._job.source) as path, delivered(self._job.target) as target:
            source = frame_source(path, self._settings.video)
            size = even_size(self._settings.size.of(source.clip.size), source.clip.signal.sampling)
            outcome = replace(outcome, size=source.clip.size, target_size=size)
            self.progress = replace(self.progress, total=expected_frames(source.clip, self._settings.video))
            make = self._video if is_video(target.name) else self._images
            return make(source, target, size, outcome)

    def _video(self, source: FrameSource, target: Path, size: Size, outcome: Outcome) -> Outcome:
        clip, options = source.clip, self._settings.video
        codec = codec_for(target.name, options, clip.signal.depth > EIGHT)
        recording = Recording(size, clip.rate, clip.signal, codec, options)
        file = clip if clip.path.is_file() else None
        left_out = streams_left_out(target, file, recording)
        parts, segments = Parts(target, self._made_of(clip.path, size)), []
        with closing(Ahead(self._shown(source), FRAMES_AHEAD)) as frames:
            for number, group in groupby(frames, key=lambda shown: shown.segment):
                segment = parts.finished(number)
                if segment is None:
                    segment = self._segment(parts, number, group, recording)
                    parts.finish(segment)
                else:
                    self._skip(group)
                segments.append(segment)
        if not segments:
            raise _empty(target)
        with replacing_output(target) as temporary:
            join(temporary, parts, segments, recording, file, clip.time_base)
        parts.remove()
        return self._summed(outcome, segments, (*left_out, *source.notes()))

    def _segment(self, parts: Parts, number: int, frames: Iterable[_Shown], recording: Recording) -> Segment:
        """Upscale and encode the frames of a segment."""
        times, computed, cuts = [], 0, 0
        with SegmentEncoder(parts.file(number), recording) as encoder, Behind(FRAMES_BEHIND) as behind:
            for shown, image, tiles in self._upscaled(frames, recording.size):
                behind.do(encoder.add, image)
                times.append(shown.pts)
                computed += tiles
                cuts += shown.settled.is_cut
        tiles = len(times) * len(self._upscaler.layout(recording.size, self._settings.options).tiles)
        return Segment(number, tuple(times), encoder.delay, tiles, computed, cuts)

    def _images(self, source: FrameSource, folder: Path, size: Size, outcome: Outcome) -> Outcome:
        """Write each frame as an image."""
        images = ImageFolder(folder, source.clip, size, self._settings.encoding, self._settings.policy)
        computed = cuts = 0
        times = []
        with closing(Ahead(self._shown(source), FRAMES_AHEAD)) as frames, Behind(FRAMES_BEHIND) as behind:
            for shown, image, tiles in self._upscaled(self._wanted(frames, images), size):
                behind.do(images.write, shown.number, image)
                times.append(shown.pts)
                computed += tiles
                cuts += shown.settled.is_cut
        tiles = len(times) * len(self._upscaler.layout(size, self._settings.options).tiles)
        return self._summed(outcome, [Segment(0, tuple(times), 0, tiles, computed, cuts)], source.notes())

    def _wanted(self, frames: Iterable[_Shown], images: ImageFolder) -> Iterator[_Shown]:
        for shown in frames:
            if images.wants(shown.number):
                yield shown
            else:
                self._skip([shown])

    def _skip(self, frames: Iterable[_Shown]) -> None:
        """Pass over frames whose results are there."""
        count = sum(1 for _ in frames)
        self._is_fresh = True
        self.progress = replace(self.progress, done=self.progress.done + count)

    def _shown(self, source: FrameSource) -> Iterator[_Shown]:
        """The frames as they are upscaled, shared out to segments by their times."""
        clip, still = source.clip, StillFinder()
        segment, begin = 0, None
        for number, frame in enumerate(source, 1):
            seconds = float(frame.pts * clip.time_base)
            begin = seconds if begin is None else begin
            if seconds - begin >= SECONDS:
                segment, begin = segment + 1, seconds
            yield _Shown(number, frame.pts, segment, self._settled(frame, seconds, still))

    def _settled(self, frame: Frame, seconds: float, still: StillFinder) -> Settled:
        if self._settings.video.reuse:
            return still.settle(frame.pixels, seconds, frame.is_key)
        return Settled(frame.pixels, np.ones(frame.pixels.shape[:2], np.bool_))

    def _upscaled(self, frames: Iterable[_Shown], size: Size) -> Iterator[tuple[_Shown, FloatImage, int]]:
        """Each frame with its result (H, W, 3) and the number of tiles that were computed for it."""
        stream = self._upscaler.upscale_many(self._requests(frames, size))
        began, before = time.monotonic(), self.progress.done
        for item in stream:
            shown, tiles = item, 0
            if isinstance(item, Result):
                self._latest, tiles = np.concatenate([*item.bands()]), item.tiles
                shown = item.request.shown if isinstance(item.request, _FrameRequest) else item
            assert isinstance(shown, _Shown)
            assert self._latest is not None
            yield shown, self._latest, tiles
            done = self.progress.done + 1
            speed = (done - before) / max(time.monotonic() - began, 1e-9)
            self.progress = replace(self.progress, done=done, tiles=tiles, activity="frames", a_second=speed)
        self.busy += stream.busy

    def _requests(self, frames: Iterable[_Shown], size: Size) -> Iterator[_FrameRequest | _Shown]:
        """A request for each frame with anything new in it; the others as they are."""
        for shown in frames:
            mask = np.ones_like(shown.settled.changed) if self._is_fresh else shown.settled.changed
            self._is_fresh = False
            if not mask.any():
                yield shown
                continue
            pixels = shown.settled.pixels
            color = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
            change = Change(mask, self._memory) if self._settings.video.reuse else None
            yield _FrameRequest(Photo(color), size, self._settings.options, change=change, shown=shown)

    def _made_of(self, path: Path, size: Size) -> dict[str, Any]:
        """All that a segment depends on."""
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        seen = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return {
            "input": hashlib.sha256(repr(seen).encode()).hexdigest(),
            "size": list(size),
            "with": self._settings.encoding.made_with,
            "computed in": str(self._upscaler.dtype),
            "video": asdict(self._settings.video),
            "versions": [__version__, av.__version__],
        }

    @staticmethod
    def _summed(outcome: Outcome, segments: Iterable[Segment], notes: tuple[str, ...]) -> Outcome:
        frames = tiles = computed = cuts = 0
        for segment in segments:
            frames += len(segment.times)
            tiles, computed, cuts = tiles + segment.tiles, computed + segment.computed, cuts + segment.cuts
        share = f"{computed / max(tiles, 1):.0%} of the tiles were computed, the others had not changed"
        scenes = f"; {cuts} scene cut{'s' * (cuts != 1)}" if cuts else ""
        return replace(outcome, frames=frames, tiles=computed, notes=(f"{frames} frames; {share}{scenes}", *notes))


def even_size(size: Size, sampling: str) -> Size:
    """A size (height, width) that a chroma sampling can hold: even sides where chroma is halved."""
    height, width = size
    return height + height % 2 * (sampling == "420"), width + width % 2 * (sampling in ("420", "422"))


def expected_frames(clip: Clip, options: VideoOptions) -> int:
    """The number of frames of the part that is asked for, as far as it is known beforehand."""
    left = max(1.0, clip.frames - options.start * float(clip.rate))
    wanted = left if options.duration is None else min(left, options.duration * float(clip.rate))
    return max(1, round(wanted))


def _empty(target: Path) -> RequestError:
    return RequestError(f"{target}: the part that is asked for holds no frame.", "Choose `start` and `duration` anew.")


@contextmanager
def replacing_output(target: Path) -> Iterator[Path]:
    """`replacing` with errors as varsr has them."""
    try:
        with replacing(target) as temporary:
            yield temporary
    except OSError as error:
        raise OutputError(
            f"{target} could not be written ({describe(error)}).", "Free some space or choose another place."
        ) from error
