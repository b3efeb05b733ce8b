"""The grid of overlapping tiles over a map, and the weights with which they blend.

Geometry is in whole cells of the map, whatever a cell is: latent positions while tiles are predicted and
decoded, pixels once they are images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """A square of a map; `index` is its place in reading order."""

    index: int
    top: int
    left: int
    side: int

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns of the map."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)

    def times(self, factor: int) -> Tile:
        """The same tile over a map that is finer by a whole `factor`."""
        return Tile(self.index, self.top * factor, self.left * factor, self.side * factor)


def plan_tiles(height: int, width: int, side: int, overlap: int) -> list[Tile]:
    """Tiles of `side` that cover a map and share at least `overlap` cells with each neighbour.

    The map must be at least one tile high and wide, and 0 <= overlap < side. The fewest tiles that do it are
    spread evenly. Raises `ValueError` otherwise.
    """
    if min(height, width) < side or not 0 <= overlap < side:
        raise ValueError(f"no tiles of {side} with overlap {overlap} fit a map of {height} x {width}")
    places = [(top, left) for top in _starts(height, side, overlap) for left in _starts(width, side, overlap)]
    return [Tile(index, top, left, side) for index, (top, left) in enumerate(places)]


def least_side(height: int, width: int, sides: Iterable[int], overlap: int) -> int:
    """The side of those whose tiles cover a map with the fewest cells, those counted twice where tiles overlap."""

    def cells(side: int) -> int:
        return len(_starts(height, side, overlap)) * len(_starts(width, side, overlap)) * side**2

    return min(sides, key=cells)


def _starts(length: int, side: int, overlap: int) -> list[int]:
    steps = math.ceil((length - side) / (side - overlap))
    return [(length - side) * i // steps for i in range(steps + 1)] if steps else [0]


def padded_length(length: int, stride: int, least: int) -> int:
    """The shortest multiple of `stride` that holds `length` and is at least `least`, itself such a multiple."""
    return max(math.ceil(length / stride) * stride, least)
