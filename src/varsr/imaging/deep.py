"""Sixteen bits a channel, which Pillow has for grey pictures only."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import png
import tifffile
from numpy.typing import NDArray
from PIL import Image

from varsr.imaging.resize import Picture
from varsr.imaging.tiff import Page, write_pages

Deep = NDArray[np.uint16]
"""(H, W, C), C = 1 to 4."""
FULL = 65_535
_BITS_PER_SAMPLE = 258
_MODES = ("RGB", "RGBA", "I;16", "I;16B")  # of Pillow's, those with sixteen bits that are read; CMYK is left to Pillow


def is_deep(image: Image.Image, file: BinaryIO) -> bool:
    """Whether an opened picture, grey or in colour, has sixteen bits a channel."""
    if image.format == "PNG":
        return _header(file)[24:25] == b"\x10"
    if image.format != "TIFF" or image.mode not in _MODES:
        return False
    return set(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))) == {16}  # type: ignore[attr-defined]


def read_deep(file: Path | BinaryIO, format: str, page: int = 0) -> Picture:
    """The pixels of a sixteen-bit PNG, or of a page of a TIFF, (H, W, C) in [0, 1]."""
    if format == "TIFF":
        return _read_tiff(file, page)
    return _scaled(_read_png(file))


def _scaled(pixels: Deep) -> Picture:
    values = pixels.astype(np.float32)
    values /= FULL
    return values


def write_deep(channels: Picture, file: Path | BinaryIO, format: str, metadata: dict[str, Any]) -> None:
    """Write (H, W, C) in [0, 1] with sixteen bits a channel as PNG or TIFF."""
    pixels = (channels.clip(0, 1) * FULL + 0.5).astype(np.uint16)
    if format == "PNG":
        _write_png(pixels, file, metadata)
    else:
        _write_tiff(pixels, file, metadata)


def _header(file: BinaryIO) -> bytes:
    place = file.tell()
    file.seek(0)
    start = file.read(32)
    file.seek(place)
    return start


def _read_png(file: Path | BinaryIO) -> Deep:
    data = file.read_bytes() if isinstance(file, Path) else _whole(file)
    try:
        width, height, rows, info = png.Reader(bytes=data).asDirect()
        pixels = np.stack([np.asarray(row, np.uint16) for row in rows])
    except png.Error as error:
        raise OSError(str(error)) from error
    return pixels.reshape(height, width, info["planes"])


def _whole(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _read_tiff(file: Path | BinaryIO, number: int) -> Picture:
    if not isinstance(file, Path):
        file.seek(0)
    try:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages[number]
            assert isinstance(page, tifffile.TiffPage)
            pixels = page.asarray()
    except tifffile.TiffFileError as error:
        raise OSError(str(error)) from error
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0)
    values = _scaled(pixels if pixels.ndim == 3 else pixels[..., None])
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        values = 1 - values
    return _with_alpha(values, page.extrasamples)


def _with_alpha(values: Picture, extra: Sequence[int]) -> Picture:
    """Channels without those that are neither colour nor transparency, the colour as if there were no transparency."""
    colors = values.shape[-1] - len(extra)
    color, alpha = values[..., :colors], values[..., colors : colors + 1]
    if not extra or extra[0] == tifffile.EXTRASAMPLE.UNSPECIFIED:
        return color
    if extra[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        color = (color / np.maximum(alpha, 1 / FULL)).clip(0, 1)
    return np.concatenate((color, alpha), axis=-1)


def _write_png(pixels: Deep, file: Path | BinaryIO, metadata: dict[str, Any]) -> None:
    height, width, planes = pixels.shape
    writer = png.Writer(width, height, greyscale=planes < 3, alpha=planes in (2, 4), bitdepth=16, compression=6)
    buffer = io.BytesIO()
    writer.write_packed(buffer, (row.astype(">u2").tobytes() for row in pixels))
    data = buffer.getvalue()
    end_of_header = 8 + 25
    whole = data[:end_of_header] + b"".join(png_chunks(metadata)) + data[end_of_header:]
    if isinstance(file, Path):
        file.write_bytes(whole)
    else:
        file.write(whole)


def png_chunks(metadata: dict[str, Any]) -> list[bytes]:
    """The metadata as PNG chunks (PNG specification, third edition, 11.3)."""
    found = []
    if profile := metadata.get("icc_profile"):
        found.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    if dpi := metadata.get("dpi"):
        found.append(_chunk(b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1)))
    if exif := metadata.get("exif"):
        found.append(_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))
    if xmp := metadata.get("xmp"):
        found.append(_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    return found


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _write_tiff(pixels: Deep, file: Path | BinaryIO, metadata: dict[str, Any]) -> None:
    if pixels.shape[-1] == 2:  # few programs read grey with transparency from a TIFF
        pixels = pixels[..., [0, 0, 0, 1]]
    height, width, planes = pixels.shape
    write_pages(file, [Page([pixels], (height, width, planes), pixels.dtype, metadata)])
