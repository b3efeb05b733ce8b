"""Pixels row by row into PNG and TIFF, of 8 or 16 bits: a large image is written as it is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from varsr.images.codecs import png_encoder, tiff
from varsr.images.codecs.png import metadata_chunks
from varsr.images.encoding import Encoding
from varsr.images.photo import Photo
from varsr.images.profile import srgb_to_ink
from varsr.images.rounding import Pixels, rounded
from varsr.images.size import Size
from varsr.tiling.array import FloatImage

FORMATS = ("PNG", "TIFF")


def stored(channels: FloatImage, photo: Photo) -> Pixels:
    """Channels (H, W, C) in [0, 1] as the whole numbers that go into a file: CMYK where the photo keeps its ink."""
    if photo.metadata.ink_profile is not None:
        return srgb_to_ink(channels, photo.metadata.ink_profile)
    return rounded(channels, np.dtype(np.uint16 if photo.sixteen_bit else np.uint8))


def write_channels(
    photo: Photo, size: Size, bands: Iterable[FloatImage], file: BinaryIO, format: str, encoding: Encoding
) -> None:
    """Write channels (rows, W, C) in [0, 1], which come in bands and are of `size` in all, as `photo` is described."""
    depth, planes = np.dtype(np.uint16 if photo.sixteen_bit else np.uint8), photo.planes
    pixels = (stored(band, photo) for band in bands)
    if format == "PNG":
        png_encoder.write(file, pixels, (*size, planes), metadata_chunks(photo.metadata), encoding.png_level)
        return
    written, planes = tiff.without_grey_alpha(pixels, planes)
    tiff.write_pages(file, [tiff.Page(written, (*size, planes), depth, photo.metadata)], encoding.tiff_compression)
