"""A video as it is found: the size of its frames, their number and rate, and the signal that a result keeps."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.container.input import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from varsr.errors import InputError, describe
from varsr.video.color import Colors, colors_of, depth_of, sampling_of

Size = tuple[int, int]
"""Height and width in pixels."""
UPRIGHT = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
"""The display matrix that changes nothing."""
MOST_A_SECOND = 500
"""Frames a second that a video may have: a segment tells them apart by milliseconds."""
_CLOSED = {"format_whitelist": "mov,matroska,avi,mpeg,mpegts,mpegvideo", "protocol_whitelist": "file"}
"""Options by which a file that is named like a video cannot be a playlist, which names other files and addresses."""
_LOOKED_AT = 8  # frames, for those that are interlaced
_MATRIX, _MASTERING, _LIGHT = struct.Struct("=9i"), struct.Struct("=22i"), struct.Struct("=2I")


@dataclass(frozen=True)
class Mastering:
    """Static metadata of HDR: display primaries, white point and luminances (SMPTE ST 2086), light levels (CTA-861.3).

    Primaries are x and y of red, green and blue, then of white; luminances and levels in cd/m².
    """

    primaries: tuple[float, ...] = ()
    luminance: tuple[float, ...] = ()
    """Lowest and highest."""
    levels: tuple[int, ...] = ()
    """MaxCLL and MaxFALL."""


@dataclass(frozen=True)
class Signal:
    """All of a video but the pixels and times of its frames, as its result keeps it."""

    colors: Colors
    depth: int = 8
    sampling: str = "420"
    aspect: Fraction = Fraction(1)
    """Width of a pixel by its height."""
    display_matrix: tuple[int, ...] = UPRIGHT
    mastering: Mastering = Mastering()

    @property
    def turns(self) -> int:
        """Quarter turns, counter-clockwise, by which frames are turned to be shown; 0 of those that are mirrored."""
        a, b, _, c, d, *_ = self.display_matrix
        if a * d - b * c <= 0:
            return 0
        return round(-math.atan2(b, a) / (math.pi / 2)) % 4


@dataclass(frozen=True)
class Clip:
    """A video file. `frames` is what it says of their number, or its duration by its rate."""

    path: Path
    size: Size
    signal: Signal
    time_base: Fraction
    rate: Fraction
    frames: int
    interlaced: bool
    notes: tuple[str, ...] = ()


def read_clip(path: Path) -> Clip:
    """Describe a video by its headers and first frames. Raises `InputError` where it has none that can be read."""
    with opened(path) as container:
        stream = main_stream(container, path)
        first = _first_frames(container, stream)
        if not first:
            raise InputError(f"{path}: no frame of the video can be decoded.", "The file may be damaged.")
        frame, rate = first[0], _rate(stream)
        notes = []
        if any(component.is_alpha for component in frame.format.components):
            notes.append("the transparency of the video is not kept")
        if Type.DOVI_METADATA in frame.side_data:
            notes.append("the Dolby Vision metadata is not kept")
        return Clip(
            path=path,
            size=(frame.height, frame.width),
            signal=_signal(frame, stream),
            time_base=stream.time_base or 1 / rate,
            rate=rate,
            frames=stream.frames or max(1, round(_seconds(container, stream) * rate)),
            interlaced=any(frame.interlaced_frame for frame in first),
            notes=tuple(notes),
        )


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """A video file, open. Raises `InputError` where it cannot be read."""
    if not path.exists():
        raise InputError(f"{path} does not exist.", "Check the path.")
    try:
        container = av.open(str(path), metadata_errors="replace", options=_CLOSED)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a video ({reason(error)}).", "Check the file.") from error
    with container:
        yield container


def reason(error: Exception) -> str:
    """An error of FFmpeg, or of the file system, in a few words."""
    text = error.strerror if isinstance(error, av.FFmpegError) and error.strerror else describe(error)
    return text[:1].lower() + text[1:]


def main_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first stream of moving images. Raises `InputError` where there is none."""
    for stream in container.streams.video:
        if Disposition.attached_pic not in stream.disposition:
            return stream
    raise InputError(f"{path} holds no video.", "Name a video or an image.")


def _first_frames(container: InputContainer, stream: VideoStream) -> list[VideoFrame]:
    try:
        return list(islice(container.decode(stream), _LOOKED_AT))
    except av.FFmpegError:
        container.seek(0)
    found: list[VideoFrame] = []
    for packet in container.demux(stream):  # past what is damaged
        try:
            found += packet.decode()
        except av.FFmpegError:
            continue
        if found:
            break
    return found


def _rate(stream: VideoStream) -> Fraction:
    """Frames a second, as far as they are known; nonsense is not taken for it."""
    known = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((rate for rate in known if rate and 0 < rate <= MOST_A_SECOND), Fraction(25))


def _seconds(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _signal(frame: VideoFrame, stream: VideoStream) -> Signal:
    matrix = _side_data(frame, Type.DISPLAYMATRIX)
    return Signal(
        colors=colors_of(frame),
        depth=depth_of(frame.format),
        sampling=sampling_of(frame.format),
        aspect=stream.sample_aspect_ratio or Fraction(1),
        display_matrix=_MATRIX.unpack(matrix) if matrix else UPRIGHT,
        mastering=_mastering(frame),
    )


def _mastering(frame: VideoFrame) -> Mastering:
    """The static metadata of HDR, from FFmpeg's structures."""
    display = _side_data(frame, Type.MASTERING_DISPLAY_METADATA)
    light = _side_data(frame, Type.CONTENT_LIGHT_LEVEL)
    primaries: tuple[float, ...] = ()
    luminance: tuple[float, ...] = ()
    if display:
        *numbers, has_primaries, has_luminance = _MASTERING.unpack(display[: _MASTERING.size])
        ratios = tuple(over / under if under else 0.0 for over, under in zip(numbers[::2], numbers[1::2], strict=True))
        primaries, luminance = ratios[:8] if has_primaries else (), ratios[8:] if has_luminance else ()
    return Mastering(primaries, luminance, _LIGHT.unpack(light[: _LIGHT.size]) if light else ())


def _side_data(frame: VideoFrame, kind: Type) -> bytes:
    """Data of a kind that FFmpeg attaches to a frame; nothing where it has none."""
    found: Any = frame.side_data  # a mapping from kinds, which its stubs do not say
    return bytes(found[kind]) if kind in found else b""
