"""Bicubic enlargement, made band by band as it is asked for."""

from __future__ import annotations

import numpy as np

from varsr.images.resize import enlarged_rows
from varsr.tiling.array import FloatImage
from varsr.tiling.grid import Tile

BANDS_KEPT = 2  # the rows of the tiles that are predicted, and of the windows that are decoded meanwhile


class Enlarged:
    """An image enlarged by bicubic and continued by its reflection below and to the right, made as it is asked for."""

    def __init__(self, image: FloatImage, size: tuple[int, int], padded: tuple[int, int]) -> None:
        self._image = image
        self.size = size
        self._rows = _reflected(size[0], padded[0])
        self._right = _reflected(size[1], padded[1])[size[1] :]
        self._recent: dict[tuple[int, int], FloatImage] = {}

    def band(self, top: int, bottom: int) -> FloatImage:
        """Rows `top` to `bottom` as wide as the padded image, in [0, 1]; not to be written to."""
        rows = top, bottom
        found = self._recent.pop(rows, None)
        self._recent[rows] = self._band(top, bottom) if found is None else found  # the latest is the last
        if len(self._recent) > BANDS_KEPT:
            self._recent.pop(next(iter(self._recent)))
        return self._recent[rows]

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
