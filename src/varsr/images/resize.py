"""Resizing images with Pillow's filters, in float so that nothing is rounded on the way."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from varsr.tiling.array import FloatImage

_SUPPORT = 4  # rows beyond those of a band that an enlarging filter sees, and one to spare


def resize(image: FloatImage, size: tuple[int, int], mode: Image.Resampling = Image.Resampling.BICUBIC) -> FloatImage:
    """(H, W, C) -> (*size, C). Filters widen when they reduce; bicubic may overshoot [0, 1] a little."""
    if image.shape[:2] == size:
        return image
    return _resized(image, size, (0.0, 0.0, float(image.shape[1]), float(image.shape[0])), mode)


def enlarged_rows(image: FloatImage, size: tuple[int, int], top: int, bottom: int) -> FloatImage:
    """Rows `top` to `bottom` of the image enlarged to `size` by bicubic: (bottom - top, W, C).

    What `resize` gives, without the other rows.
    """
    if image.shape[:2] == size:
        return image[top:bottom]
    ratio = image.shape[0] / size[0]
    first = max(0, math.floor(top * ratio) - _SUPPORT)
    last = min(image.shape[0], math.ceil(bottom * ratio) + _SUPPORT)
    box = 0.0, top * ratio - first, float(image.shape[1]), min(bottom * ratio - first, last - first)
    return _resized(image[first:last], (bottom - top, size[1]), box, Image.Resampling.BICUBIC)


def _resized(
    image: FloatImage, size: tuple[int, int], box: tuple[float, float, float, float], mode: Image.Resampling
) -> FloatImage:
    height, width = size
    channels = (Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(image, -1, 0))
    resized = [np.asarray(channel.resize((width, height), mode, box), dtype=np.float32) for channel in channels]
    return np.stack(resized, axis=-1)
