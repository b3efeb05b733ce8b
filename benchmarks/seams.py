"""What decoding tile by tile costs: the difference to decoding at once, at the borders of tiles and inside them.

    python -m benchmarks.seams --photo tests/data/dandelion.jpg

The photo is enlarged to 1024 px. Both ways decode the same blended latent. A group norm takes its statistics over
all that is decoded at a time, so naive tiles, simply put side by side, differ in colour; blended ones should not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from varsr.imaging.bands import BandBlend, Enlarged
from varsr.imaging.read import read_photo
from varsr.imaging.resize import Picture
from varsr.imaging.tiles import Tile, plan_tiles
from varsr.model.sampling import Sampling, TileNoise
from varsr.upscaler import Upscaler

SIDE = 1024
NEAR = 4  # pixels to either side of a border that count as at it


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()
    upscaler = Upscaler.from_pretrained(options.model, device="cpu")
    config = upscaler.model.config
    stride, side = config.tokenizer.stride, config.latent_side
    source = Enlarged(read_photo(options.photo).color, (SIDE, SIDE), (SIDE, SIDE))
    tiles = plan_tiles(SIDE // stride, SIDE // stride, side, config.default_overlap)
    latent = blended_latent(upscaler, source, tiles)

    at_once = decode(upscaler, source, latent, Tile(0, 0, 0, SIDE // stride))
    blend = BandBlend(SIDE, 3)
    naive = np.zeros_like(at_once)
    for tile in tiles:
        pixels, place = decode(upscaler, source, latent, tile), tile.times(stride)
        blend.add(place, pixels)
        naive[place.area] = pixels
    borders = border_mask([tile.times(stride) for tile in tiles])
    print(f"{len(tiles)} tiles; mean absolute difference to decoding at once, in 255ths")
    print(f"{'':10} {'at borders':>11} {'inside':>8} {'largest shift of a tile colour':>32}")
    for name, result in (("naive", naive), ("blended", blend.rows(0, SIDE))):
        difference = np.abs(result - at_once).mean(-1) * 255
        shifts = [np.abs((result - at_once)[t.times(stride).area].mean((0, 1))).max() * 255 for t in tiles]
        print(f"{name:10} {difference[borders].mean():11.3f} {difference[~borders].mean():8.3f} {max(shifts):32.3f}")


@torch.inference_mode()
def blended_latent(upscaler: Upscaler, source: Enlarged, tiles: list[Tile]) -> Picture:
    """The latent of the whole picture, as the pipeline blends it."""
    config = upscaler.model.config
    stride, cells = config.tokenizer.stride, SIDE // config.tokenizer.stride
    blend = BandBlend(cells, config.tokenizer.channels)
    sampling = Sampling(fidelity=config.fidelity)
    for tile in tiles:
        noise, strength = TileNoise(0, [tile.index]), config.guidance.tiled
        pixels = cut(upscaler, source, tile.times(stride))
        values = upscaler.model.restore(pixels, strength, sampling, noise, True, on_scale=lambda _: None)
        blend.add(tile, values[0].float().permute(1, 2, 0).numpy())
    return blend.rows(0, cells)


@torch.inference_mode()
def decode(upscaler: Upscaler, source: Enlarged, latent: Picture, tile: Tile) -> Picture:
    """The pixels of a tile of any size in [0, 1]."""
    cells = torch.from_numpy(np.ascontiguousarray(latent[tile.area].transpose(2, 0, 1)))[None]
    pixels = cut(upscaler, source, tile.times(upscaler.model.config.tokenizer.stride))
    decoded = upscaler.model.decoder(cells.to(upscaler.engine.precision.compute), pixels)
    return (decoded[0].float().permute(1, 2, 0).numpy() + 1) / 2


def cut(upscaler: Upscaler, source: Enlarged, place: Tile) -> torch.Tensor:
    """The input's pixels of a tile, (1, 3, S, S) in [-1, 1]."""
    pixels = source.band(place.top, place.top + place.side)[:, place.area[1]].transpose(2, 0, 1)
    return torch.from_numpy(pixels * 2 - 1)[None].to(upscaler.engine.precision.compute)


def border_mask(places: list[Tile]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Where a tile begins or ends, inside the picture."""
    mask = np.zeros((SIDE, SIDE), bool)
    lines = {edge for place in places for edge in (place.left, place.left + place.side)} - {0, SIDE}
    for line in lines:  # the grid is the same in both directions
        mask[line - NEAR : line + NEAR] = mask[:, line - NEAR : line + NEAR] = True
    return mask


if __name__ == "__main__":
    main()
