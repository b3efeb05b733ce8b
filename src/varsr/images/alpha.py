"""Colour under transparency: what is invisible must not bleed into what is visible."""

from __future__ import annotations

import numpy as np

from varsr.tiling.array import FloatImage


def bleed(color: FloatImage, alpha: FloatImage) -> FloatImage:
    """The colour (H, W, 3) with that of visible pixels spread under the invisible ones, alpha (H, W, 1) being 0.

    Resizing mixes neighbours; with any colour under the edge of a cut-out it would show as a fringe. Means over
    ever larger squares fill from the edge inwards (push and pull, Gortler et al. 1996).
    """
    if alpha.min() > 0:
        return color
    return np.where(alpha > 0, color, _filled(color * alpha, alpha))


def _filled(weighted: FloatImage, weight: FloatImage) -> FloatImage:
    """The mean colour where there is weight; elsewhere the same of squares twice as large."""
    mean = (weighted / np.maximum(weight, 1e-6)).astype(np.float32)
    if weight.min() > 0 or max(weight.shape[:2]) == 1:
        return mean
    coarse = _filled(_halved(weighted), _halved(weight))
    spread = coarse.repeat(2, 0).repeat(2, 1)[: weight.shape[0], : weight.shape[1]]
    return np.where(weight > 0, mean, spread)


def _halved(x: FloatImage) -> FloatImage:
    height, width = x.shape[:2]
    even = np.pad(x, ((0, height % 2), (0, width % 2), (0, 0)))
    return even.reshape((height + 1) // 2, 2, (width + 1) // 2, 2, -1).sum((1, 3))
