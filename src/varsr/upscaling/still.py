"""Frames of a video that follow each other: what has not changed is found, and not computed again.

In two steps. Blocks of a frame that differ from those shown before by noise alone are replaced by them, so that they
are equal to the bit. Tiles all of whose pixels are then equal take their latents, and decode windows their pixels, from
the frame before: nothing else is approximated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from einops import reduce
from numpy.typing import NDArray

from varsr.tiling.array import FloatImage
from varsr.tiling.grid import Tile
from varsr.upscaling.layout import Layout

BLOCK = 8
"""Side of the blocks that are compared, in pixels of the input."""
MOVING_SHARE = 0.4
"""Share of changed blocks from which the camera moves, or the scene has changed: nothing is taken over."""
FADE_STEP = 0.75
"""Steps of 255 by which most of the frame is brighter or darker, from which it is shown as it is: a fade."""
CUT_SHARE, CUT_DIFFERENCE = 0.8, 12.0
"""Share of changed blocks, and mean difference of blocks in steps of 255, from which a frame begins a scene."""
REFRESH_SECONDS = 2.0
"""Time from which a keyframe of the input, whose own pixels are new, is shown as it is."""
REACH = 3  # pixels of the input beyond a tile's own on which its enlargement depends

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W, 3), over the whole range of their type."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class StabilizedFrame:
    """A frame whose unchanged blocks are those shown before. `changed` (H, W) is True where it is new."""

    pixels: Pixels
    changed: Mask
    is_cut: bool = False


class ChangeDetector:
    """Compares each frame (H, W, 3) with what was shown, block by block, and replaces what only noise has changed.

    The comparison is with what is shown, not with the frame before, so that slow changes add up until they are seen.
    """

    def __init__(self) -> None:
        self._shown: Pixels | None = None
        self._refreshed = -math.inf

    def stabilize(self, pixels: Pixels, seconds: float, is_key: bool) -> StabilizedFrame:
        """A frame at a time, and True for a keyframe of the input."""
        shown = self._shown
        if shown is None or (is_key and seconds - self._refreshed >= REFRESH_SECONDS):
            return self._show_all(pixels, seconds)
        difference = _in_whole_blocks(_steps(pixels) - _steps(shown))
        blocks = _changed_blocks(difference)
        means, share = _block_means(difference), float(blocks.mean())
        if share > MOVING_SHARE or abs(float(np.median(means))) > FADE_STEP:
            is_cut = share > CUT_SHARE and float(np.abs(means).mean()) > CUT_DIFFERENCE
            return self._show_all(pixels, seconds, is_cut)
        if not blocks.any():
            return StabilizedFrame(shown, np.broadcast_to(np.False_, shown.shape[:2]))
        height, width = pixels.shape[:2]
        changed = _grown(blocks).repeat(BLOCK, 0).repeat(BLOCK, 1)[:height, :width]
        stabilized: Pixels = np.where(changed[..., None], pixels, shown)
        self._shown = stabilized
        return StabilizedFrame(stabilized, changed)

    def _show_all(self, pixels: Pixels, seconds: float, is_cut: bool = False) -> StabilizedFrame:
        self._shown, self._refreshed = pixels, seconds
        return StabilizedFrame(pixels, np.ones(pixels.shape[:2], np.bool_), is_cut)


def _steps(pixels: Pixels) -> FloatImage:
    """Values in steps of 255."""
    return pixels.astype(np.float32) * np.float32(255 / np.iinfo(pixels.dtype).max)


def _in_whole_blocks(difference: FloatImage) -> FloatImage:
    """Continued by its last pixels to whole blocks."""
    padding = [(0, -length % BLOCK) for length in difference.shape[:2]]
    return np.pad(difference, (*padding, (0, 0)), mode="edge")


def _changed_blocks(difference: FloatImage) -> Mask:
    """Blocks (H / 8, W / 8) that differ by more than the noise of the frame.

    A quarter of the blocks differ by less than `noise`, which is that of the codec and the sensor in a still scene. A
    block has changed where its mean or that of a quarter of it moved, or where it differs far more than others do.
    """
    spread = reduce(np.abs(difference).mean(-1), "(h a) (w b) -> h w", "mean", a=BLOCK, b=BLOCK)
    noise = min(float(np.quantile(spread, 0.25)), 5.0)
    means = np.abs(_block_means(difference)).max(-1)
    quarters = np.abs(reduce(difference, "(h a) (w b) c -> h w c", "mean", a=BLOCK // 2, b=BLOCK // 2)).max(-1)
    quarters = reduce(quarters, "(h a) (w b) -> h w", "max", a=2, b=2)
    changed: Mask = (means > 2.5 + 0.5 * noise) | (quarters > 5 + 1.2 * noise) | (spread > 3.5 + 1.5 * noise)
    return changed


def _block_means(difference: FloatImage) -> FloatImage:
    means: FloatImage = reduce(difference, "(h a) (w b) c -> h w c", "mean", a=BLOCK, b=BLOCK)
    return means


def _grown(blocks: Mask) -> Mask:
    """The same blocks and those that touch them."""
    padded = np.pad(blocks, 1)
    height, width = blocks.shape
    grown: Mask = np.zeros_like(blocks)
    for top in range(3):
        for left in range(3):
            grown |= padded[top : top + height, left : left + width]
    return grown


class Memory:
    """Latents of tiles and pixels of decode windows of the frames so far, the latest of each."""

    def __init__(self) -> None:
        self.latents: dict[int, FloatImage] = {}
        self.pixels: dict[int, FloatImage] = {}


@dataclass(frozen=True)
class Change:
    """The part (H, W) of an image that is new since the one before, whose tiles and windows are in `memory`."""

    mask: Mask
    memory: Memory


@dataclass(frozen=True)
class Reuse:
    """Tiles and windows of an image that are computed, by their places; the others are in `memory`."""

    tiles: frozenset[int]
    windows: frozenset[int]
    memory: Memory

    @classmethod
    def of(cls, change: Change, layout: Layout, stride: int) -> Reuse:
        """The tiles that change, and the windows that do or that a changed tile reaches into."""
        mask = change.mask
        tiles = [tile for tile in layout.tiles if _is_touched(mask, tile.times(stride), layout.size)]
        windows = [
            window.index
            for window in layout.windows
            if _is_touched(mask, window.times(stride), layout.size) or any(_overlap(window, tile) for tile in tiles)
        ]
        return cls(frozenset(tile.index for tile in tiles), frozenset(windows), change.memory)

    def merged(self, tiles: Sequence[Tile], computed: Iterable[FloatImage]) -> Iterator[FloatImage]:
        """The latents of all tiles, of those that are not computed the ones in memory."""
        new = iter(computed)
        for tile in tiles:
            if tile.index in self.tiles:
                self.memory.latents[tile.index] = next(new)
            yield self.memory.latents[tile.index]


def _is_touched(mask: Mask, tile: Tile, size: tuple[int, int]) -> bool:
    """True for a square of pixels of the enlarged image, reflected at its ends, with anything new in it."""
    spans = []
    for begin, length, own in zip((tile.top, tile.left), size, mask.shape, strict=True):
        end = begin + tile.side
        if end > length:
            begin = max(0, min(begin, 2 * length - 1 - end))
        first = max(0, math.floor(begin * own / length) - REACH)
        spans.append(slice(first, math.ceil(min(end, length) * own / length) + REACH))
    return bool(mask[tuple(spans)].any())


def _overlap(one: Tile, other: Tile) -> bool:
    return (
        one.top < other.top + other.side
        and other.top < one.top + one.side
        and one.left < other.left + other.side
        and other.left < one.left + one.side
    )
