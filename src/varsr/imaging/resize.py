"""Resizing pictures with Pillow's filters, in float so that nothing is rounded on the way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.float32]
"""(H, W, C), values 0 to 1."""


def resize(picture: Picture, size: tuple[int, int], mode: Image.Resampling = Image.Resampling.BICUBIC) -> Picture:
    """(H, W, C) -> (*size, C). Filters widen when they reduce; bicubic may overshoot [0, 1] a little."""
    if picture.shape[:2] == size:
        return picture
    height, width = size
    channels = (Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(picture, -1, 0))
    resized = [np.asarray(channel.resize((width, height), mode), dtype=np.float32) for channel in channels]
    return np.stack(resized, axis=-1)
