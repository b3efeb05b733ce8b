"""A video as one job: frames are decoded ahead, upscaled, and encoded behind, a segment at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import av

from varsr import __version__
from varsr.errors import RequestError
from varsr.images.size import Size
from varsr.jobs.clip_frames import FRAMES_AHEAD, FRAMES_BEHIND, FrameUpscaler, SegmentFrame, as_they_are, segment_frames
from varsr.jobs.frames import FrameSource, frame_source
from varsr.jobs.numbered import ImageFolder
from varsr.jobs.outcome import Outcome
from varsr.jobs.pipeline import ReadAhead, WriteBehind
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.jobs.segment import SegmentJob
from varsr.runtime.device import Precision
from varsr.storage.staging import delivered, fetched
from varsr.upscaling.progress import FrameProgress
from varsr.upscaling.upscaler import Upscaler
from varsr.video.clip import Clip, read_clip
from varsr.video.color import EIGHT
from varsr.video.encode import VideoEncoding
from varsr.video.formats import VideoOptions, codec_for, is_video
from varsr.video.join import join, streams_left_out
from varsr.video.segments import Segment, SegmentStore


@dataclass(frozen=True)
class ClipAssembly:
    """A video whose result can be written as it is asked for, and the folder of its segments."""

    source: FrameSource
    target: Path
    encoding: VideoEncoding
    store: SegmentStore
    left_out: tuple[str, ...]

    @classmethod
    def begin(
        cls, source: FrameSource, target: Path, settings: JobSettings, precisions: Collection[Precision]
    ) -> ClipAssembly:
        """Check what can be checked beforehand, and open the folder of segments, which are computed in `precisions`.

        Raises `RequestError` and `OutputError` for a container, codec, size and streams that do not go together.
        """
        clip, options = source.clip, settings.video
        size = result_size(clip, settings)
        codec = codec_for(target.name, options, clip.signal.depth > EIGHT)
        encoding = VideoEncoding(size, clip.rate, clip.signal, codec, options)
        left_out = streams_left_out(target, _file(clip), encoding)
        store = SegmentStore.of(target, _made_of(clip.path, size, settings, precisions))
        return cls(source, target, encoding, store, left_out)

    def join(self, segments: Sequence[Segment], outcome: Outcome) -> Outcome:
        """Put the result together, and delete the segments. Raises `OutputError` where it cannot be written."""
        if not segments:
            self.store.remove()
            raise RequestError(
                f"{self.target}: the part that is asked for holds no frame.", "Choose `start` and `duration` anew."
            )
        clip = self.source.clip
        join(self.target, self.store, segments, self.encoding, _file(clip), clip.time_base)
        self.store.remove()
        return summed(outcome, segments, (*self.left_out, *self.source.notes()))


class FramesRun:
    """Frames that are upscaled, and how far that is."""

    def __init__(self, frames: FrameUpscaler) -> None:
        self._frames = frames

    @property
    def progress(self) -> FrameProgress:
        """The progress in frames."""
        return self._frames.progress

    @property
    def busy(self) -> float:
        """Seconds in which frames were computed."""
        return self._frames.busy


class ClipRun(FramesRun):
    """The upscaling of one video by one model."""

    def __init__(self, upscaler: Upscaler, job: Job, settings: JobSettings) -> None:
        super().__init__(FrameUpscaler(upscaler, settings, 1))
        self._upscaler, self._job, self._settings = upscaler, job, settings

    def finish(self, outcome: Outcome) -> Outcome:
        """Upscale the video; return the outcome with what became of it.

        Raises `InputError` for what cannot be read, `OutputError` for what cannot be written, `RequestError` for a
        container, codec or size that do not go together, and what upscaling raises.
        """
        with fetched(self._job.source) as path, delivered(self._job.target) as target:
            source = frame_source(path, self._settings.video)
            size = result_size(source.clip, self._settings)
            outcome = replace(outcome, size=source.clip.size, target_size=size)
            self._frames = FrameUpscaler(
                self._upscaler, self._settings, expected_frames(source.clip, self._settings.video)
            )
            with closing(ReadAhead(segment_frames(source, self._settings.video.reuse), FRAMES_AHEAD)) as frames:
                make = self._video if is_video(target.name) else self._images
                return make(source, frames, target, outcome)

    def _video(self, source: FrameSource, frames: Iterable[SegmentFrame], target: Path, outcome: Outcome) -> Outcome:
        precisions = {self._upscaler.engine.precision}
        assembly, segments = ClipAssembly.begin(source, target, self._settings, precisions), []
        for number, group in groupby(frames, key=lambda frame: frame.segment):
            segment = assembly.store.finished(number)
            if segment is None:
                segment = self._frames.segment(number, assembly.store.file(number), group, assembly.encoding)
                assembly.store.finish(segment)
            else:
                self._frames.skip(group)
            segments.append(segment)
        return assembly.join(segments, outcome)

    def _images(self, source: FrameSource, frames: Iterable[SegmentFrame], folder: Path, outcome: Outcome) -> Outcome:
        """Write each frame as an image."""
        size = result_size(source.clip, self._settings)
        images = ImageFolder(folder, source.clip, size, self._settings.encoding, self._settings.policy)
        times, computed, cuts = [], 0, 0
        with WriteBehind(FRAMES_BEHIND) as behind:
            for frame, image, tiles in self._frames.upscaled(self._wanted(frames, images), size):
                behind.do(images.write, frame.number, image)
                times.append(frame.pts)
                computed += tiles
                cuts += frame.stabilized.is_cut
        made = Segment(0, tuple(times), 0, len(times) * self._frames.tiles(size), computed, cuts)
        return summed(outcome, [made], source.notes())

    def _wanted(self, frames: Iterable[SegmentFrame], images: ImageFolder) -> Iterator[SegmentFrame]:
        for frame in frames:
            if images.wants(frame.number):
                yield frame
            else:
                self._frames.skip([frame])


class SegmentRun(FramesRun):
    """The upscaling of one segment by one of several workers."""

    def __init__(self, upscaler: Upscaler, job: SegmentJob, settings: JobSettings) -> None:
        super().__init__(FrameUpscaler(upscaler, settings, len(job.times)))
        self._job = job

    def finish(self, outcome: Outcome) -> Outcome:
        """Upscale and encode the segment, and note that it is finished."""
        job, target = self._job, self._job.target_file
        frames = as_they_are(read_clip(job.source_file), job.times)
        segment = self._frames.segment(job.number, target, frames, job.encoding)
        SegmentStore(target.parent).finish(replace(segment, cuts=job.cuts))
        return replace(outcome, frames=len(segment.times), tiles=segment.computed)


def summed(outcome: Outcome, segments: Iterable[Segment], notes: tuple[str, ...]) -> Outcome:
    """The outcome of a video with its frames and tiles, and notes on what was met."""
    frames = tiles = computed = cuts = 0
    for segment in segments:
        frames += len(segment.times)
        tiles, computed, cuts = tiles + segment.tiles, computed + segment.computed, cuts + segment.cuts
    share = "every tile was computed"
    if computed < tiles:
        share = f"{computed / tiles:.0%} of the tiles were computed, the others had not changed"
    counted = f"{frames} frame{'s' * (frames != 1)}"
    scenes = f"; {cuts} scene cut{'s' * (cuts != 1)}" if cuts else ""
    return replace(outcome, frames=frames, tiles=computed, notes=(f"{counted}; {share}{scenes}", *notes))


def result_size(clip: Clip, settings: JobSettings) -> Size:
    """The size (height, width) of a result, before it is turned: even sides where the chroma sampling halves them.

    A width or height is asked for of the video as it is shown. Raises `RequestError` for one that does not suit it.
    """
    height, width = clip.size
    if clip.signal.turns % 2:
        width, height = settings.size.of((width, height))
    else:
        height, width = settings.size.of((height, width))
    sampling = clip.signal.sampling
    return height + height % 2 * (sampling == "420"), width + width % 2 * (sampling in ("420", "422"))


def expected_frames(clip: Clip, options: VideoOptions) -> int:
    """The number of frames of the part that is asked for, as far as it is known beforehand."""
    left = max(1.0, clip.frames - options.start * float(clip.rate))
    wanted = left if options.duration is None else min(left, options.duration * float(clip.rate))
    return max(1, round(wanted))


def _file(clip: Clip) -> Clip | None:
    """The clip where it is a file, which has other streams; None for a folder of images."""
    return clip if clip.path.is_file() else None


def _made_of(path: Path, size: Size, settings: JobSettings, precisions: Collection[Precision]) -> dict[str, Any]:
    """All that a segment depends on."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    seen = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return {
        "input": hashlib.sha256(repr(seen).encode()).hexdigest(),
        "size": list(size),
        "with": settings.encoding.made_with,
        "in": sorted(map(str, precisions)),
        "video": asdict(settings.video),
        "versions": [__version__, av.__version__],
    }
