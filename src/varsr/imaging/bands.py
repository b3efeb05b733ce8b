"""Pictures in bands of rows, so that memory need not hold a whole one."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from varsr.imaging.resize import Picture, enlarged_rows
from varsr.imaging.tiles import Map, Tile, gaussian_weights

BANDS_KEPT = 2  # the rows of the tiles that are restored, and of the windows that are decoded meanwhile


class Enlarged:
    """A picture enlarged by bicubic and continued by its reflection below and to the right, made as it is asked for."""

    def __init__(self, picture: Picture, size: tuple[int, int], padded: tuple[int, int]) -> None:
        self._picture = picture
        self.size = size
        self._rows, columns = (_reflected(*lengths) for lengths in zip(size, padded, strict=True))
        self._right = columns[size[1] :]
        self._recent = lru_cache(BANDS_KEPT)(self._band)

    def band(self, top: int, bottom: int) -> Picture:
        """Rows `top` to `bottom` as wide as the padded picture, in [0, 1]; not to be written to."""
        return self._recent(top, bottom)

    def _band(self, top: int, bottom: int) -> Picture:
        rows = self._rows[top:bottom]
        first = int(rows.min())
        made = self.inside(first, int(rows.max()) + 1)
        if bottom > self.size[0]:
            made = made[rows - first]
        return np.concatenate((made, made[:, self._right]), axis=1) if len(self._right) else made

    def inside(self, top: int, bottom: int) -> Picture:
        """Rows `top` to `bottom` without the continuation to the right."""
        return enlarged_rows(self._picture, self.size, top, bottom).clip(0, 1)


def _reflected(length: int, padded: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """For each place of a padded line the place whose value it has."""
    return np.pad(np.arange(length), (0, padded - length), mode="reflect")


class BandBlend:
    """A map being put together from tiles, from top to bottom; finished rows are taken away."""

    def __init__(self, width: int, channels: int) -> None:
        self._top = 0
        self._sum = np.zeros((0, width, channels), np.float32)
        self._weight = np.zeros((0, width, 1), np.float32)

    def add(self, tile: Tile, values: Map) -> None:
        """Add a tile's values (side, side, C), weighted most at its centre."""
        missing = tile.top + tile.side - self._top - len(self._sum)
        if missing > 0:
            self._sum, self._weight = (np.pad(x, ((0, missing), (0, 0), (0, 0))) for x in (self._sum, self._weight))
        rows, columns = tile.area
        area = slice(rows.start - self._top, rows.stop - self._top), columns
        weights = gaussian_weights(tile.side)
        self._sum[area] += values * weights
        self._weight[area] += weights

    def rows(self, top: int, bottom: int) -> Map:
        """The weighted mean of rows that no further tile will touch."""
        band = slice(top - self._top, bottom - self._top)
        return self._sum[band] / self._weight[band]

    def drop(self, top: int) -> None:
        """Forget the rows above `top`."""
        self._sum, self._weight = (x[top - self._top :].copy() for x in (self._sum, self._weight))
        self._top = top
