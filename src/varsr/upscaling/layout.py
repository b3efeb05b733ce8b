"""Layout: the tiles and windows in which an image is computed."""

from __future__ import annotations

from dataclasses import dataclass

from varsr.images.size import Size
from varsr.model.config import ModelConfig
from varsr.tiling.grid import Tile, least_side, padded_length, plan_tiles
from varsr.upscaling.preset import Settings


@dataclass(frozen=True)
class Layout:
    """Squares over the latent of a result. Sizes are (height, width) in pixels."""

    size: Size
    padded: Size
    """The size in whole latent positions, at least a tile."""
    tiles: list[Tile]
    """Squares that are predicted one by one."""
    windows: list[Tile]
    """Squares that are decoded one by one, never with less to blend over than tiles have."""


def layout_of(size: Size, settings: Settings, config: ModelConfig) -> Layout:
    """Lay out a result of `size`, in as few tiles and windows as the overlaps allow."""
    stride = config.tokenizer.stride
    height, width = (padded_length(length, stride, config.tile_side) for length in size)
    latent = height // stride, width // stride
    sides = {min(side, *latent) for side in settings.window_sides}
    overlap = settings.decode_overlap
    return Layout(
        size,
        (height, width),
        plan_tiles(*latent, config.latent_side, settings.tile_overlap),
        plan_tiles(*latent, least_side(*latent, sorted(sides), overlap), overlap),
    )
