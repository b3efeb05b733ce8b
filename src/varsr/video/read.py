"""Frames out of a video file, in the order in which they are shown, each with its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import av
import av.filter
from av.codec.context import Flags
from av.container.input import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from varsr.errors import InputError
from varsr.video.clip import Clip, main_stream, opened
from varsr.video.color import Pixels, to_rgb
from varsr.video.formats import VideoOptions

_BEFORE_START = 1.0  # second that is sought back further than asked for


@dataclass(frozen=True)
class Frame:
    """The pixels of a frame (H, W, 3), its time in the clip's time base, and True where the input coded it alone."""

    pixels: Pixels
    pts: int
    is_key: bool = False


class FrameReader:
    """The frames of a clip, deinterlaced where it is interlaced. Iterate over it once.

    A frame that is damaged, or that never comes, is shown as the decoder conceals it or as the one before it;
    `concealed` has the times of such frames in seconds.
    """

    def __init__(self, clip: Clip, options: VideoOptions) -> None:
        self._clip = clip
        self._options = options
        self._awaited: set[int] = set()
        """Times of packets whose frames have not come yet."""
        self._is_damaged = False
        self._corrupt: set[int] = set()
        self.concealed: list[float] = []
        self.ends_early = False
        """The file could not be read to its end."""

    def __iter__(self) -> Iterator[Frame]:
        begin, end = _span(self._clip, self._options)
        for frame in self._whole():
            if end is not None and frame.pts >= end:
                return
            if frame.pts >= begin:
                yield frame

    def _whole(self) -> Iterator[Frame]:
        """All frames from the keyframe before the start on, none missing."""
        clip, before, last = self._clip, None, None
        step = max(1, round(1 / (clip.rate * clip.time_base)))
        with opened(clip.path) as container:
            stream = main_stream(container, clip.path)
            for frame in self._shown(self._decoded(container, stream)):
                pts = _pts(frame, clip.time_base)
                pts = pts if pts is not None else 0 if last is None else last + step
                if last is not None and pts <= last:
                    if self._is_damaged:  # it comes after its time, when another was shown for it
                        continue
                    pts = last + 1
                _check_size(frame, clip)
                pixels = to_rgb(frame, clip.signal.colors, clip.signal.depth)
                for lost in self._missing(last, pts):
                    yield self._concealed(before if before is not None else pixels, lost)
                if pts in self._corrupt:
                    self.concealed.append(float(pts * clip.time_base))
                yield Frame(pixels, pts, bool(frame.key_frame))
                before, last = pixels, pts
        for lost in self._missing(last, None):
            if before is not None:
                yield self._concealed(before, lost)

    def _missing(self, last: int | None, pts: int | None) -> list[int]:
        """Times between 2 frames, or after the last, whose frames will not come.

        Frames are shown in order, so that a time is missing once a later one is there. In an undamaged video they are
        of packets that are not shown.
        """
        missing = [time for time in sorted(self._awaited) if pts is None or time < pts]
        self._awaited -= {*missing, pts}
        return [time for time in missing if last is None or time > last] if self._is_damaged else []

    def _concealed(self, pixels: Pixels, pts: int) -> Frame:
        self.concealed.append(float(pts * self._clip.time_base))
        return Frame(pixels, pts)

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """The frames as the decoder gives them."""
        stream.thread_type = "SLICE"  # so that an error is of the packet that was given
        stream.codec_context.flags |= Flags.output_corrupt
        if self._options.start:
            _seek(container, stream, self._options.start)
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self.ends_early = True
                packet = None
            if packet is not None and packet.pts is not None:
                self._awaited.add(packet.pts)
            try:
                frames = packet.decode() if packet is not None else stream.decode(None)
            except av.EOFError:
                return
            except av.FFmpegError:
                frames, self._is_damaged = [], True
            for frame in frames:
                if frame.is_corrupt and frame.pts is not None:
                    self._corrupt.add(frame.pts)
                yield frame
            if packet is None:
                return

    def _shown(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        return _deinterlaced(frames, self._clip.time_base) if self._clip.interlaced else iter(frames)


def _check_size(frame: VideoFrame, clip: Clip) -> None:
    """Raise `InputError` for a frame of another size than the first."""
    if (frame.height, frame.width) == clip.size:
        return
    raise InputError(
        f"{clip.path}: its frames change from {clip.size[1]} x {clip.size[0]} to {frame.width} x {frame.height} pixels "
        f"at {float((frame.pts or 0) * clip.time_base):.1f} s.",
        "Take the parts one by one with `start` and `duration`.",
    )


def _span(clip: Clip, options: VideoOptions) -> tuple[int, int | None]:
    """The times between which frames are taken, in the clip's time base."""
    if not options.start and options.duration is None:
        return -(2**63), None
    start = Fraction(options.start).limit_denominator(10**6)
    length = Fraction(options.duration).limit_denominator(10**6) if options.duration is not None else None
    end = round((start + length) / clip.time_base) if length is not None else None
    return round(start / clip.time_base) if options.start else -(2**63), end


def _seek(container: InputContainer, stream: VideoStream, start: float) -> None:
    """Go to a keyframe before `start`, or to the beginning where the container cannot."""
    assert stream.time_base is not None
    try:
        container.seek(int(max(0.0, start - _BEFORE_START) / stream.time_base), stream=stream)
    except av.FFmpegError:
        container.seek(0)


def _pts(frame: VideoFrame, time_base: Fraction) -> int | None:
    """A frame's time in the clip's time base; a filter may have chosen another."""
    if frame.pts is None or frame.time_base is None:
        return frame.pts
    return round(frame.pts * frame.time_base / time_base)


def _deinterlaced(frames: Iterable[VideoFrame], time_base: Fraction) -> Iterator[VideoFrame]:
    """A frame for each, the interlaced ones without their combs (FFmpeg's bwdif)."""
    graph: av.filter.Graph | None = None
    for frame in frames:
        if graph is None:
            graph = _bwdif(frame, time_base)
        graph.vpush(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.vpush(None)
        yield from _pulled(graph)


def _bwdif(frame: VideoFrame, time_base: Fraction) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or time_base
    )
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    return graph


def _pulled(graph: av.filter.Graph) -> Iterator[VideoFrame]:
    with suppress(av.BlockingIOError, av.EOFError):  # when it wants more, and at its end
        while True:
            yield graph.vpull()
