"""Sixteen bits a channel, which Pillow has for grey pictures only."""

from __future__ import annotations

import io
import struct
import zlib
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


def is_deep(image: Image.Image, file: Path | BinaryIO) -> bool:
    """Whether an opened picture has sixteen bits a channel."""
    if image.format == "PNG":
        return _header(file)[24:25] == b"\x10"
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,)) if image.format == "TIFF" else (8,)  # type: ignore[attr-defined]
    return set(bits) == {16}


def read_deep(file: Path | BinaryIO, format: str) -> Picture:
    """The pixels of a sixteen-bit PNG or TIFF, (H, W, C) in [0, 1]."""
    pixels = _read_png(file) if format == "PNG" else _read_tiff(file)
    return pixels.astype(np.float32) / np.float32(FULL)


def write_deep(channels: Picture, file: Path | BinaryIO, format: str, metadata: dict[str, Any]) -> None:
    """Write (H, W, C) in [0, 1] with sixteen bits a channel as PNG or TIFF."""
    pixels = (channels.clip(0, 1) * FULL + 0.5).astype(np.uint16)
    if format == "PNG":
        _write_png(pixels, file, metadata)
    else:
        _write_tiff(pixels, file, metadata)


def _header(file: Path | BinaryIO) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(32)
    place = file.tell()
    file.seek(0)
    start = file.read(32)
    file.seek(place)
    return start


def _read_png(file: Path | BinaryIO) -> Deep:
    data = file.read_bytes() if isinstance(file, Path) else _whole(file)
    try:
        width, height, rows, info = png.Reader(bytes=data).asDirect()
        pixels = np.fromiter((value for row in rows for value in row), np.uint16, width * height * info["planes"])
    except png.Error as error:
        raise OSError(str(error)) from error
    return pixels.reshape(height, width, info["planes"])


def _whole(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _read_tiff(file: Path | BinaryIO) -> Deep:
    try:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages[0]
            pixels = page.asarray()
            planar = len(pixels.shape) == 3 and pixels.shape[0] in (3, 4) and page.planarconfig == 2  # type: ignore[union-attr]
    except tifffile.TiffFileError as error:
        raise OSError(str(error)) from error
    if planar:
        pixels = pixels.transpose(1, 2, 0)
    return pixels if pixels.ndim == 3 else pixels[..., None]


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
