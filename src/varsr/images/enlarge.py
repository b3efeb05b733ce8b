"""Bicubic enlargement, made band by band as it is asked for."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from varsr.images.resize import enlarged_rows
from varsr.tiling.array import FloatImage
from varsr.tiling.grid import Tile

BANDS_KEPT = 2  # the rows of the tiles that are predicted, and of the windows that are decoded meanwhile


class Enlarged:
    """A image enlarged by bicubic and continued by its reflection below and to the right, made as it is asked for."""

    def __init__(self, image: FloatImage, size: tuple[int, int], padded: tuple[int, int]) -> None:
        self._image = image
        self.size = size
        self._rows, columns = (_reflected(*lengths) for lengths in zip(size, padded, strict=True))
        self._right = columns[size[1] :]
        self._recent = lru_cache(BANDS_KEPT)(self._band)

    def band(self, top: int, bottom: int) -> FloatImage:
        """Rows `top` to `bottom` as wide as the padded image, in [0, 1]; not to be written to."""
        return self._recent(top, bottom)

    def _band(self, top: int, bottom: int) -> FloatImage:
        rows = self._rows[top:bottom]
        first = int(rows.min())
        made = self.inside(first, int(rows.max()) + 1)
        if bottom > self.size[0]:
            made = made[rows - first]
        return np.concatenate((made, made[:, self._right]), axis=1) if len(self._right) else made

    @property
    def input_pixels(self) -> int:
        """Pixels of the image before it is enlarged."""
        return self._image.shape[0] * self._image.shape[1]

    def tile(self, tile: Tile) -> FloatImage:
        """The pixels of a square, (S, S, 3)."""
        return self.band(tile.top, tile.top + tile.side)[:, tile.area[1]]

    def inside(self, top: int, bottom: int) -> FloatImage:
        """Rows `top` to `bottom` without the continuation to the right."""
        return enlarged_rows(self._image, self.size, top, bottom).clip(0, 1)


def _reflected(length: int, padded: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """For each place of a padded line the place whose value it has."""
    return np.pad(np.arange(length), (0, padded - length), mode="reflect")
