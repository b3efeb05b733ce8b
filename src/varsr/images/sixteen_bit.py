"""More than 8 bits a channel, which Pillow has for grey images only."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from PIL import Image

from varsr.images.codecs import heif, png, tiff
from varsr.tiling.array import FloatImage


def is_sixteen_bit(image: Image.Image, file: BinaryIO) -> bool:
    """True for an opened image, grey or in colour, with more than 8 bits a channel."""
    if image.format == "PNG":
        return png.read_header(file).depth == 16
    if image.format in ("AVIF", "HEIF"):
        return heif.read_properties(file).depth > 8
    return image.format == "TIFF" and tiff.is_sixteen_bit(image)


def read_pixels(file: Path | BinaryIO, format: str, page: int = 0) -> FloatImage:
    """The pixels of a PNG, AVIF or HEIF of more than 8 bits, or of a page of a TIFF of any depth: (H, W, C) in [0, 1].

    Raises `OSError` where they cannot be decoded, and `ValueError` with the reason where their kind is not known.
    """
    if format == "TIFF":
        return tiff.read(file, page)
    data = file.read_bytes() if isinstance(file, Path) else _whole(file)
    return {"PNG": png.read, "AVIF": heif.read_avif, "HEIF": heif.read_heif}[format](data)


def _whole(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
