"""Several tiles side by side: what the decoder sees at a time, while the transformer sees each tile by itself."""

from __future__ import annotations

from torch import Tensor

from training.crops import Batch


def tiles_of(windows: Tensor, side: int) -> Tensor:
    """(B, C, n side, n side) -> (B n n, C, side, side), the tiles of each window in reading order."""
    batch, channels, height, _ = windows.shape
    n = height // side
    cut = windows.view(batch, channels, n, side, n, side).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(batch * n * n, channels, side, side)


def joined(tiles: Tensor, batch: int) -> Tensor:
    """(B n n, C, side, side) -> (B, C, n side, n side), what `tiles_of` undoes."""
    count, channels, side, _ = tiles.shape
    n = round((count // batch) ** 0.5)
    laid = tiles.view(batch, n, n, channels, side, side).permute(0, 3, 1, 4, 2, 5)
    return laid.reshape(batch, channels, n * side, n * side)


def tile_batch(windows: Batch, side: int) -> Batch:
    """The same pairs tile by tile."""
    sharp, upsampled = (tiles_of(pictures, side) for pictures in (windows.sharp, windows.upsampled))
    return Batch(sharp, upsampled, windows.labels.repeat_interleave(len(sharp) // len(windows.sharp)))
