"""Blending of overlapping tiles in bands of rows, so that memory need not hold a whole map."""

from __future__ import annotations

from functools import cache

import numpy as np

from varsr.tiling.array import FloatImage
from varsr.tiling.grid import Tile

VARIANCE = 0.01  # of the Gaussian weights, in squared tile sides


class BandBlend:
    """A map being put together from tiles, from top to bottom; finished rows are taken away."""

    def __init__(self, width: int, channels: int) -> None:
        self._top = 0
        self._sum = np.zeros((0, width, channels), np.float32)
        self._weight = np.zeros((0, width, 1), np.float32)

    def add(self, tile: Tile, values: FloatImage) -> None:
        """Add a tile's values (side, side, C), weighted most at its centre."""
        missing = tile.top + tile.side - self._top - len(self._sum)
        if missing > 0:
            more = ((0, missing), (0, 0), (0, 0))
            self._sum = np.pad(self._sum, more)
            self._weight = np.pad(self._weight, more)
        rows, columns = tile.area
        area = slice(rows.start - self._top, rows.stop - self._top), columns
        weights = gaussian_weights(tile.side)
        self._sum[area] += values * weights
        self._weight[area] += weights

    def rows(self, top: int, bottom: int) -> FloatImage:
        """The weighted mean of rows that no further tile will touch."""
        band = slice(top - self._top, bottom - self._top)
        return self._sum[band] / self._weight[band]

    def drop(self, top: int) -> None:
        """Forget the rows above `top`."""
        self._sum = self._sum[top - self._top :].copy()
        self._weight = self._weight[top - self._top :].copy()
        self._top = top


@cache
def gaussian_weights(side: int) -> FloatImage:
    """(side, side, 1), symmetric about the centre, the largest there."""
    place = (np.arange(side) - (side - 1) / 2) / side
    line = np.exp(-(place**2) / (2 * VARIANCE))
    weights: FloatImage = np.outer(line, line)[..., None].astype(np.float32)
    return weights
