"""Windows of several tiles."""

from __future__ import annotations

import pytest
import torch

from training.crops import Batch
from training.windows import joined, tile_batch, tiles_of


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiles_are_cut_in_reading_order_and_joined_again(n: int) -> None:
    side = 4
    windows = torch.arange(2 * 3 * (n * side) ** 2).view(2, 3, n * side, n * side).float()
    tiles = tiles_of(windows, side)
    assert tiles.shape == (2 * n * n, 3, side, side)
    expected = [
        window[:, top * side : (top + 1) * side, left * side : (left + 1) * side]
        for window in windows
        for top in range(n)
        for left in range(n)
    ]
    assert torch.equal(tiles, torch.stack(expected))
    assert torch.equal(joined(tiles, 2), windows)


def test_every_tile_keeps_its_windows_label() -> None:
    pictures = torch.rand(2, 3, 8, 8)
    tiles = tile_batch(Batch(pictures, -pictures, torch.tensor([1, 0])), 4)
    assert torch.equal(tiles.sharp, -tiles.upsampled)
    assert tiles.labels.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
