"""Between numbers from 0 to 1 and the whole numbers that files hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from varsr.tiling.array import FloatImage

Pixels = NDArray[Any]
"""(H, W, C) of uint8 or uint16."""


def rounded(channels: FloatImage, depth: np.dtype[Any]) -> Pixels:
    """Channels in [0, 1] as the nearest whole numbers of a type."""
    values = channels.clip(0, 1)
    values *= np.iinfo(depth).max  # in place: large arrays anew take longer than what is done to them
    values += 0.5
    return values.astype(depth)


def scaled(pixels: NDArray[Any], full: int) -> FloatImage:
    """Whole numbers from 0 to `full`, (H, W, C) or (H, W), as (H, W, C) in [0, 1]."""
    values = pixels.astype(np.float32)
    values /= full
    return values if values.ndim == 3 else values[..., None]
