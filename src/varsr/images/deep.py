"""More than eight bits a channel, which Pillow has for grey images only."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import png
import tifffile
from numpy.typing import NDArray
from PIL import Image

from varsr.images.boxes import read_properties
from varsr.images.metadata import Metadata
from varsr.images.png import metadata_chunks, read_header, repaired, with_chunks
from varsr.images.tiff import Page, write_pages
from varsr.tiling.array import FloatImage

Deep = NDArray[np.uint16]
"""(H, W, C), C = 1 to 4."""
FULL = 65_535
_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _PHOTOMETRIC = 258, 339, 262
_GREY_OR_RGB = (0, 1, 2)
_UNSIGNED = 1


def is_deep(image: Image.Image, file: BinaryIO) -> bool:
    """True for an opened image, grey or in colour, with more than 8 bits a channel."""
    if image.format == "PNG":
        return read_header(file).depth == 16
    if image.format in ("AVIF", "HEIF"):
        return read_properties(file).depth > 8
    if image.format != "TIFF":
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]
    depths, formats = set(tags.get(_BITS_PER_SAMPLE, (1,))), set(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
    known = tags.get(_PHOTOMETRIC) in _GREY_OR_RGB and formats == {_UNSIGNED}
    return known and len(depths) == 1 and 8 < depths.pop() <= 16


def read_deep(file: Path | BinaryIO, format: str, page: int = 0) -> FloatImage:
    """The pixels of a deep PNG, AVIF or HEIF, or of a page of a TIFF of any depth: (H, W, C) in [0, 1].

    Raises `OSError` where they cannot be decoded, and `ValueError` with the reason where they are of no known kind.
    """
    if format == "TIFF":
        return _read_tiff(file, page)
    data = file.read_bytes() if isinstance(file, Path) else _whole(file)
    return {"PNG": _read_png, "AVIF": _read_avif, "HEIF": _read_heif}[format](data)


def write_deep(channels: FloatImage, file: Path | BinaryIO, format: str, metadata: Metadata) -> None:
    """Write (H, W, C) in [0, 1] with sixteen bits a channel as PNG or TIFF."""
    pixels = (channels.clip(0, 1) * FULL + 0.5).astype(np.uint16)
    if format == "PNG":
        _write_png(pixels, file, metadata)
    else:
        _write_tiff(pixels, file, metadata)


def _scaled(pixels: NDArray[Any], full: int = FULL) -> FloatImage:
    values = pixels.astype(np.float32)
    values /= full
    return values if values.ndim == 3 else values[..., None]


def _whole(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _read_png(data: bytes) -> FloatImage:
    """The values as they are stored: sBIT says how many bits they once had, not that they are smaller."""
    reader = png.Reader(bytes=repaired(data))
    try:
        width, height, rows, info = reader.read()
        pixels = np.stack([np.asarray(row, np.uint16) for row in rows]).reshape(height, width, info["planes"])
    except png.Error as error:
        raise OSError(str(error)) from error
    transparent = reader.transparent
    if transparent is None:
        return _scaled(pixels)
    alpha = np.where((pixels == np.array(transparent, np.uint16)).all(-1, keepdims=True), 0, FULL)
    return _scaled(np.concatenate((pixels, alpha), axis=-1))


def _read_avif(data: bytes) -> FloatImage:
    import imagecodecs

    depth = read_properties(io.BytesIO(data)).depth
    try:
        return _scaled(imagecodecs.avif_decode(data), 2**depth - 1)
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _read_heif(data: bytes) -> FloatImage:
    import pillow_heif

    return _scaled(np.asarray(pillow_heif.open_heif(data, convert_hdr_to_8bit=False)))


def _read_tiff(file: Path | BinaryIO, number: int) -> FloatImage:
    if not isinstance(file, Path):
        file.seek(0)
    try:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages[number]
            assert isinstance(page, tifffile.TiffPage)
            _check_kind(page)
            pixels = page.asarray()
    except tifffile.TiffFileError as error:
        raise OSError(str(error)) from error
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0)
    values = _scaled(pixels, 2**page.bitspersample - 1)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        values = 1 - values
    return _with_alpha(values, page.extrasamples)


def _check_kind(page: tifffile.TiffPage) -> None:
    """Raise `ValueError` with the reason where a page's numbers cannot be taken for light in a known way."""
    if page.sampleformat != tifffile.SAMPLEFORMAT.UINT:
        kinds = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
        kind = kinds.get(int(page.sampleformat or 0), "unknown")
        raise ValueError(f"it holds {kind} numbers of {page.bitspersample} bits a channel")
    if page.bitspersample > 16:
        raise ValueError(f"it has {page.bitspersample} bits a channel")
    if page.photometric not in _GREY_OR_RGB:
        name = getattr(page.photometric, "name", str(page.photometric))
        raise ValueError(f"its colours are {name} of {page.bitspersample} bits a channel")


def _with_alpha(values: FloatImage, extra: Sequence[int]) -> FloatImage:
    """Channels without those that are neither colour nor transparency, the colour as if there were no transparency."""
    colors = values.shape[-1] - len(extra)
    color, alpha = values[..., :colors], values[..., colors : colors + 1]
    if not extra or extra[0] == tifffile.EXTRASAMPLE.UNSPECIFIED:
        return color
    if extra[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        color = (color / np.maximum(alpha, 1 / FULL)).clip(0, 1)
    return np.concatenate((color, alpha), axis=-1)


def _write_png(pixels: Deep, file: Path | BinaryIO, metadata: Metadata) -> None:
    height, width, planes = pixels.shape
    writer = png.Writer(width, height, greyscale=planes < 3, alpha=planes in (2, 4), bitdepth=16, compression=6)
    buffer = io.BytesIO()
    writer.write_packed(buffer, (row.astype(">u2").tobytes() for row in pixels))
    whole = with_chunks(buffer.getvalue(), metadata_chunks(metadata))
    if isinstance(file, Path):
        file.write_bytes(whole)
    else:
        file.write(whole)


def _write_tiff(pixels: Deep, file: Path | BinaryIO, metadata: Metadata) -> None:
    if pixels.shape[-1] == 2:  # few programs read grey with transparency from a TIFF
        pixels = pixels[..., [0, 0, 0, 1]]
    height, width, planes = pixels.shape
    write_pages(file, [Page([pixels], (height, width, planes), pixels.dtype, metadata)])
