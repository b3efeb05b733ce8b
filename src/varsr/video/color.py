"""Colours of video: what a stream says of them, and frames as RGB and back by exactly that.

Code points are those of ITU-T H.273.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation
from einops import rearrange
from numpy.typing import NDArray

from varsr.errors import InputError
from varsr.tiling.array import FloatImage

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W, 3), RGB."""
Plane = NDArray[np.float32]
"""(H, W)."""
EIGHT = 8
_DEPTHS_444 = (9, 10, 12, 14, 16)
_RGB, _UNSPECIFIED = 0, 2
_BT709, _BT470BG, _SMPTE170M, _SMPTE240M, _BT2020 = 1, 5, 6, 7, 9
_PQ, _HLG = 16, 18
_MATRICES = {_BT709: 1, 4: 4, _BT470BG: 5, _SMPTE170M: 5, _SMPTE240M: 7, _BT2020: 9}
"""Matrices that are converted, and swscale's numbers for them."""
_WEIGHTS = {_BT709: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), _BT2020: (0.2627, 0.0593)} | dict.fromkeys(
    (_BT470BG, _SMPTE170M), (0.299, 0.114)
)
"""Of red and blue in luma."""
_TRANSFERS = {_BT709: 1, _BT470BG: _SMPTE170M, _SMPTE170M: _SMPTE170M, _SMPTE240M: 7, _BT2020: 14}
"""Transfer characteristics that usually go with a matrix."""
_HD_LINES, _PAL_LINES = 720, 576
_EXACT = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
_SAMPLINGS = {(1, 1): "420", (1, 0): "422", (2, 0): "422", (0, 0): "444", (0, 1): "444"}


@dataclass(frozen=True)
class Colors:
    """Primaries, transfer characteristics and matrix, and True for the full range of values."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool

    @property
    def is_hdr(self) -> bool:
        """True for PQ and HLG (ITU-R BT.2100)."""
        return self.transfer in (_PQ, _HLG)


def colors_of(frame: VideoFrame) -> Colors:
    """The colours of a frame. What it does not say is taken by its height: BT.709 from 720 lines on, else BT.601.

    Raises `InputError` for a matrix that is not converted.
    """
    matrix = frame.colorspace
    usual = _BT709 if frame.height >= _HD_LINES else _BT470BG if frame.height == _PAL_LINES else _SMPTE170M
    if matrix == _UNSPECIFIED:
        matrix = _BT2020 if frame.color_primaries == _BT2020 else usual
    if matrix == _RGB and not frame.format.is_rgb:
        matrix = usual
    if matrix not in (_RGB, *_MATRICES):
        raise InputError(
            f"The colours of the video (matrix {matrix} of H.273) cannot be converted.",
            "Convert it to BT.709 or BT.2020 first.",
        )
    kin = _BT709 if matrix == _RGB else matrix
    primaries = kin if frame.color_primaries in (0, _UNSPECIFIED) else frame.color_primaries
    transfer = _TRANSFERS.get(kin, _BT709) if frame.color_trc in (0, _UNSPECIFIED) else frame.color_trc
    full = frame.color_range == ColorRange.JPEG or frame.format.is_rgb or frame.format.name.startswith("yuvj")
    return Colors(primaries, transfer, matrix, full)


def depth_of(format: VideoFormat) -> int:
    """Bits of a component."""
    return max(component.bits for component in format.components)


def sampling_of(format: VideoFormat) -> str:
    """The chroma sampling as it is kept: 420, 422, 444 or rgb."""
    if format.is_rgb:
        return "rgb"
    if len(format.components) < 3:  # grey
        return "420"
    steps = (64 // format.chroma_width(64)).bit_length() - 1, (64 // format.chroma_height(64)).bit_length() - 1
    return _SAMPLINGS.get(steps, "420")


def to_rgb(frame: VideoFrame, colors: Colors, depth: int) -> Pixels:
    """The pixels of a frame, of 8 bits as uint8, of more as uint16 over its whole range."""
    if depth > EIGHT and not frame.format.is_rgb:
        return _deep_rgb(frame, colors, depth)
    matrix = _MATRICES.get(colors.matrix, _MATRICES[_BT709])
    made = frame.reformat(
        format="rgb24" if depth == EIGHT else "rgb48le",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=ColorRange.JPEG if colors.full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_EXACT,
    )
    pixels: Pixels = made.to_ndarray()  # type: ignore[assignment]  # of these two formats
    return pixels


def _deep_rgb(frame: VideoFrame, colors: Colors, depth: int) -> NDArray[np.uint16]:
    """The same for more than 8 bits, where swscale would be half a step of 8 bits too dark."""
    depth = next(bits for bits in _DEPTHS_444 if bits >= depth)
    whole = frame.reformat(format=f"yuv444p{depth}le", interpolation=_EXACT)
    luma, blue, red = (
        np.frombuffer(bytes(plane), np.uint16).reshape(plane.height, -1)[:, : plane.width].astype(np.float32)
        for plane in whole.planes
    )
    coding = _Coding.of(colors, depth)
    luma = (luma - coding.black) / coding.luma
    blue, red = ((plane - coding.neutral) / coding.chroma for plane in (blue, red))
    made = np.empty((*luma.shape, 3), np.float32)
    made[..., 0] = luma + 2 * (1 - coding.red) * red
    made[..., 2] = luma + 2 * (1 - coding.blue) * blue
    made[..., 1] = (luma - coding.red * made[..., 0] - coding.blue * made[..., 2]) / (1 - coding.red - coding.blue)
    return np.rint(made.clip(0, 1) * 65535).astype(np.uint16)


def from_rgb(pixels: FloatImage, colors: Colors, format: str) -> VideoFrame:
    """A frame of a pixel format, tagged with its colours, from pixels (H, W, 3) in [0, 1].

    Computed here, rounded once: swscale's way from RGB of 16 bits to YUV of 8 is wrong by up to 3 of 255. Chroma is
    taken between the lines and on every other column, where H.264 has it by default.
    """
    frame = VideoFrame(pixels.shape[1], pixels.shape[0], format)
    for plane, values in zip(frame.planes, _components(pixels, colors, frame.format), strict=True):
        rows = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    frame.color_range = ColorRange.JPEG if colors.full_range else ColorRange.MPEG
    frame.colorspace = _RGB if frame.format.is_rgb else colors.matrix or _BT709
    frame.color_primaries, frame.color_trc = colors.primaries, colors.transfer
    return frame


def _components(pixels: FloatImage, colors: Colors, format: VideoFormat) -> list[Pixels]:
    """The planes of a frame."""
    depth = depth_of(format)
    if format.name == "bgr0":
        whole = np.concatenate((pixels[..., ::-1], np.zeros_like(pixels[..., :1])), axis=-1)
        return [_rounded(rearrange(whole, "h w c -> h (w c)") * 255, EIGHT)]
    if format.is_rgb:
        return [_rounded(pixels[..., channel] * (2**depth - 1), depth) for channel in (1, 2, 0)]  # of GBR
    coding = _Coding.of(colors, depth)
    weights = np.array([coding.red, 1 - coding.red - coding.blue, coding.blue], np.float32)
    luma: Plane = pixels @ weights
    blue = (pixels[..., 2] - luma) / np.float32(2 * (1 - coding.blue))
    red = (pixels[..., 0] - luma) / np.float32(2 * (1 - coding.red))
    chroma = [_reduced(plane, format) * np.float32(coding.chroma) + np.float32(coding.neutral) for plane in (blue, red)]
    return [_rounded(plane, depth) for plane in (luma * np.float32(coding.luma) + np.float32(coding.black), *chroma)]


def _reduced(plane: Plane, format: VideoFormat) -> Plane:
    """A chroma plane in its format's sampling."""
    if format.chroma_height(64) < 64:
        plane = (plane[::2] + plane[1::2]) / np.float32(2)
    if format.chroma_width(64) < 64:
        left = np.concatenate((plane[:, :1], plane[:, 1:-1:2]), axis=1)
        plane = (left + 2 * plane[:, ::2] + plane[:, 1::2]) / np.float32(4)
    return plane


def _rounded(plane: Plane, depth: int) -> Pixels:
    kind = np.uint8 if depth == EIGHT else np.uint16
    rounded: Pixels = np.rint(plane.clip(0, 2**depth - 1)).astype(kind)
    return rounded


@dataclass(frozen=True)
class _Coding:
    """Numbers of a matrix, range and depth: weights of red and blue in luma, and how values are laid out."""

    red: float
    blue: float
    black: float
    luma: float
    neutral: float
    chroma: float

    @classmethod
    def of(cls, colors: Colors, depth: int) -> _Coding:
        red, blue = _WEIGHTS.get(colors.matrix, _WEIGHTS[_BT709])
        neutral, step = 2.0 ** (depth - 1), 2.0 ** (depth - EIGHT)
        if colors.full_range:
            return cls(red, blue, 0, 2**depth - 1, neutral, 2**depth - 1)
        return cls(red, blue, 16 * step, 219 * step, neutral, 224 * step)
