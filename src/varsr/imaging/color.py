"""Colour fixes: what generation may shift, the input still knows (SPEC 6)."""

from __future__ import annotations

import numpy as np

from varsr.choices import ColorFix
from varsr.imaging.resize import Picture

LEVELS = 5
EPSILON = 1e-5


def fix_colors(result: Picture, reference: Picture, fix: ColorFix) -> Picture:
    """The result (H, W, 3) with the colours of the upsampled input (H, W, 3) by the chosen method."""
    if fix == "adain":
        return match_statistics(result, reference)
    if fix == "wavelet":
        return exchange_low_frequencies(result, reference)
    return result


def match_statistics(result: Picture, reference: Picture) -> Picture:
    """Each channel's mean and standard deviation as in `reference` (AdaIN, Huang and Belongie 2017, eq. 8)."""
    mean, target_mean = (x.mean((0, 1), dtype=np.float64) for x in (result, reference))
    deviation, target_deviation = (np.sqrt(x.var((0, 1), dtype=np.float64) + EPSILON) for x in (result, reference))
    gain = target_deviation / deviation
    return result * gain.astype(np.float32) + (target_mean - mean * gain).astype(np.float32)


def exchange_low_frequencies(result: Picture, reference: Picture) -> Picture:
    """The high frequencies of `result` on the low ones of `reference`.

    Five levels of the à-trous transform: a binomial 3x3 kernel whose taps move apart by a factor of two.
    """
    return result + low_frequencies(reference - result)


def low_frequencies(picture: Picture) -> Picture:
    """What five widening binomial blurs leave; edges are continued by their last pixel."""
    for level in range(LEVELS):
        for axis in (0, 1):
            picture = _blur(picture, 2**level, axis)
    return picture


def _blur(picture: Picture, distance: int, axis: int) -> Picture:
    margins = [(0, 0)] * picture.ndim
    margins[axis] = (distance, distance)
    padded = np.moveaxis(np.pad(picture, margins, mode="edge"), axis, 0)
    blurred = 0.25 * padded[: -2 * distance] + 0.5 * padded[distance:-distance] + 0.25 * padded[2 * distance :]
    return np.moveaxis(blurred, 0, axis)
