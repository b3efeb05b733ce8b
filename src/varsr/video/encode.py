"""Frames into a segment: a Matroska file of its own, which begins with a keyframe and needs no other."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.packet import Packet
from av.video.stream import VideoStream

from varsr.errors import OutputError
from varsr.tiling.array import FloatImage
from varsr.video.clip import Mastering, Signal, Size, reason
from varsr.video.color import EIGHT, from_rgb
from varsr.video.formats import Codec, VideoOptions

_DEPTHS = {"h264": (8, 10), "h265": (8, 10, 12), "av1": (8, 10), "ffv1": (8, 10, 12, 16), "prores": (10,)}
_SAMPLINGS = {
    "h264": ("420", "422", "444"),
    "h265": ("420", "422", "444"),
    "av1": ("420",),
    "ffv1": ("420", "422", "444", "rgb"),
    "prores": ("422", "444"),
}
_CHROMATICITY, _LUMINANCE = 50_000, 10_000
"""Steps of H.265's message on mastering displays."""


@dataclass(frozen=True)
class VideoEncoding:
    """All that decides how frames are encoded. `size` is (height, width)."""

    size: Size
    rate: Fraction
    signal: Signal
    codec: Codec
    options: VideoOptions

    @property
    def pixel_format(self) -> str:
        """The pixel format: the signal's depth and sampling, or the next that the codec has."""
        depths, samplings = _DEPTHS[self.codec.name], _SAMPLINGS[self.codec.name]
        depth = next((depth for depth in depths if depth >= self.signal.depth), depths[-1])
        sampling = next((kind for kind in samplings if kind >= self.signal.sampling), samplings[-1])
        if sampling == "rgb":
            return "bgr0" if depth == EIGHT else f"gbrp{depth}le"
        return f"yuv{sampling}p" + (f"{depth}le" if depth > EIGHT else "")


class SegmentEncoder:
    """Writes a segment. Use it as a context; `delay` is how many frames a packet may wait for its turn to be shown.

    Frame n stands at n / rate, whatever its time: Matroska would round that to milliseconds.
    """

    def __init__(self, path: Path, encoding: VideoEncoding) -> None:
        """Begin the file. Raises `OutputError` where that fails."""
        self._path, self._encoding = path, encoding
        self._container: Any = None
        self.frames = 0
        self.delay = 0
        self._packets = 0

    def __enter__(self) -> SegmentEncoder:
        try:
            self._container = av.open(str(self._path), "w", format="matroska")
            self._stream = add_encoder(self._container, self._encoding)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise unwritable(self._path, error) from error
        return self

    def add(self, pixels: FloatImage) -> None:
        """Encode the next frame, (H, W, 3) in [0, 1]. Raises `OutputError` where the file cannot be written."""
        encoding = self._encoding
        frame = from_rgb(pixels, encoding.signal.colors, encoding.pixel_format)
        frame.pts, frame.time_base = self.frames, 1 / encoding.rate
        self.frames += 1
        try:
            self._write(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise unwritable(self._path, error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._write(self._stream.encode(None))
            self._container.close()
        except (av.FFmpegError, OSError) as failure:
            if kind is None:
                raise unwritable(self._path, failure) from failure

    def _write(self, packets: Iterable[Packet[VideoStream]]) -> None:
        for packet in packets:
            assert packet.pts is not None
            place = round(packet.pts * packet.time_base * self._encoding.rate)
            self.delay = max(self.delay, self._packets - place)
            self._packets += 1
            self._container.mux(packet)


def add_encoder(container: Any, encoding: VideoEncoding) -> VideoStream:
    """Add a stream to a container that is written, with an encoder for a encoding."""
    os.environ.setdefault("SVT_LOG", "1")  # of SVT-AV1, which would print its settings
    height, width = encoding.size
    stream: VideoStream = container.add_stream(encoding.codec.encoder, rate=encoding.rate, options=_options(encoding))
    stream.width, stream.height, stream.pix_fmt = width, height, encoding.pixel_format
    context, colors = stream.codec_context, encoding.signal.colors
    context.time_base = 1 / encoding.rate
    context.sample_aspect_ratio = encoding.signal.aspect
    context.color_primaries, context.color_trc = colors.primaries, colors.transfer
    context.colorspace = 0 if encoding.pixel_format.startswith(("bgr", "gbr")) else colors.matrix or 1
    context.color_range = 2 if colors.full_range else 1
    return stream


def unwritable(path: Path, error: Exception) -> OutputError:
    """The error of a file that could not be written."""
    return OutputError(f"{path} could not be written ({reason(error)}).", "Check the disk, or choose another place.")


def _options(encoding: VideoEncoding) -> dict[str, str]:
    codec, wanted = encoding.codec, encoding.options
    options: dict[str, str] = {}
    if codec.crf is not None:
        options["crf"] = str(codec.crf[1] if wanted.crf is None else wanted.crf)
        options["preset"] = wanted.preset or codec.preset
    if codec.name == "prores":
        options["profile"] = "4444" if encoding.pixel_format.startswith("yuv444") else "hq"
    if codec.name == "ffv1":
        options |= {"level": "3", "slicecrc": "1"}
    return options | _hdr_options(codec, encoding.signal.mastering)


def _hdr_options(codec: Codec, mastering: Mastering) -> dict[str, str]:
    """Static metadata of HDR in the words of each encoder."""
    if codec.name == "av1":
        return _joined("svtav1-params", _messages("mastering-display", "content-light", mastering, 1, 1))
    if codec.name == "h265":
        messages = _messages("master-display", "max-cll", mastering, _CHROMATICITY, _LUMINANCE)
        return _joined("x265-params", ["log-level=none", *messages])
    if codec.name == "h264":
        return _joined("x264-params", _messages("mastering-display", "cll", mastering, _CHROMATICITY, _LUMINANCE))
    return {}


def _messages(display: str, light: str, mastering: Mastering, chromaticity: int, luminance: int) -> list[str]:
    found = []
    if mastering.primaries and mastering.luminance:
        red, green, blue, white = (
            ",".join(_number(value * chromaticity) for value in mastering.primaries[at : at + 2]) for at in (0, 2, 4, 6)
        )
        low, high = (_number(value * luminance) for value in mastering.luminance)
        found.append(f"{display}=G({green})B({blue})R({red})WP({white})L({high},{low})")
    if mastering.levels:
        found.append(f"{light}={mastering.levels[0]},{mastering.levels[1]}")
    return found


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _joined(name: str, parts: list[str]) -> dict[str, str]:
    return {name: ":".join(parts)} if parts else {}
