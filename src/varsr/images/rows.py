"""Pixels row by row into PNG and TIFF, of 8 or 16 bits: a large image is written as it is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from varsr.images.codecs import png, tiff
from varsr.images.photo import Photo
from varsr.images.rounding import rounded
from varsr.images.size import Size
from varsr.tiling.array import FloatImage

FORMATS = ("PNG", "TIFF")


def write_channels(photo: Photo, size: Size, bands: Iterable[FloatImage], file: BinaryIO, format: str) -> None:
    """Write channels (rows, W, C) in [0, 1], which come in bands and are of `size` in all, as `photo` is described."""
    depth = np.dtype(np.uint16 if photo.sixteen_bit else np.uint8)
    planes = (1 if photo.grey else 3) + (photo.alpha is not None)
    pixels = (rounded(band, depth) for band in bands)
    if format == "PNG":
        png.write(file, pixels, (*size, planes), photo.metadata)
        return
    written, planes = tiff.without_grey_alpha(pixels, planes)
    tiff.write_pages(file, [tiff.Page(written, (*size, planes), depth, photo.metadata)])
