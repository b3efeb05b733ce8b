"""EXIF orientations: the turn that makes each one upright."""

from __future__ import annotations

import numpy as np
from PIL import Image

from varsr.tiling.array import FloatImage

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


TRANSPOSED = (5, 6, 7, 8)
"""Orientations of which width and height are exchanged."""


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """An image of an EXIF orientation, 1 to 8, turned upright; of any other value as it is."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def upright_pixels(pixels: FloatImage, orientation: int) -> FloatImage:
    """Pixels (H, W, C) of an EXIF orientation turned upright."""
    if orientation in TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
