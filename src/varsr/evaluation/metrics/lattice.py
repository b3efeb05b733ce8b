"""Lattice artifacts: patterns that repeat with the grid of an upsampling network or of a codec."""

from __future__ import annotations

import numpy as np
from einops import rearrange

from varsr.tiling.array import FloatImage

PERIODS = (2, 4, 8, 16)
_SIDE = 64
_LUMA = np.array([0.299, 0.587, 0.114])
_APART = 2  # frequencies: the window spreads a pattern over 1 to each side
_ROUNDING = (3 / 8 * _SIDE / 255) ** 2 / 12  # power of what rounding to 8 bits adds, under the window


def lattice(image: FloatImage, period: int) -> float:
    """The power of checkerboard patterns and stripes of `period` px in an image (H, W, 3).

    It is relative to the power at the frequencies beside them, in the geometric mean over patches of 64 px, so that
    flat patches count as rough ones do. Photographs have about 1.
    `period` is 2, 4, 8 or 16. NaN for an image smaller than one patch.
    """
    luma = np.asarray(image, np.float64) @ _LUMA
    height, width = (length // _SIDE * _SIDE for length in luma.shape)
    if not height or not width:
        return float("nan")
    patches = rearrange(luma[:height, :width], "(r h) (c w) -> (r c) h w", h=_SIDE, w=_SIDE)
    window = np.hanning(_SIDE + 1)[:_SIDE]
    windowed = (patches - patches.mean((1, 2), keepdims=True)) * window[:, None] * window
    power = np.log(np.abs(np.fft.fft2(windowed)) ** 2 + _ROUNDING)
    peak = _SIDE // period
    below, above = peak - _APART, (peak + _APART) % _SIDE
    excess = [
        power[:, peak, 0] - (power[:, below, 0] + power[:, above, 0]) / 2,
        power[:, 0, peak] - (power[:, 0, below] + power[:, 0, above]) / 2,
        power[:, peak, peak] - (power[:, below, peak] + power[:, above, peak]) / 2,
    ]
    return float(np.exp(np.mean(excess)))
