"""Seams: differences at the borders of tiles and windows, and elsewhere.

    python -m benchmarks.seams --photo tests/data/dandelion.jpg

The photo is enlarged to 1024 px. A group norm takes its statistics over all that is decoded at a time, so naive
windows, simply put side by side, differ in colour from the same latent decoded at once; blended ones should not. And
each tile of the latent is predicted by itself: however little tiles overlap, their borders should not show, compared
with an image whose tiles overlap by three quarters.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from varsr import Options, Upscaler
from varsr.images.enlarge import Enlarged
from varsr.images.photo import Photo
from varsr.images.read import read_photo
from varsr.model.sampling import TileNoise
from varsr.tiling.array import FloatImage
from varsr.tiling.blend import BandBlend
from varsr.tiling.grid import Tile

SIDE = 1024
MOVED = [by for by in range(-48, 49, 8) if by]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()
    upscaler = Upscaler.from_pretrained(options.model, device="cpu")
    photo = read_photo(options.photo)
    print("Differences in 255ths at borders and at the same lines moved by 8 to 48 pixels, from the least to the most")
    print(f"{'':30} {'mean near':>10} {'moved':>15} {'step across':>12} {'moved':>15}")
    compare_windows(upscaler, photo)
    compare_tiles(upscaler, photo)


def compare_windows(upscaler: Upscaler, photo: Photo) -> None:
    """Windows side by side and blended, against the whole latent decoded at once."""
    stride, size = upscaler.model.config.tokenizer.stride, (SIDE, SIDE)
    source = Enlarged(photo.color, size, size)
    latent = blended_latent(upscaler, source, upscaler.layout(size).tiles)
    at_once = decode(upscaler, source, latent, Tile(0, 0, 0, SIDE // stride))
    blend, naive = BandBlend(SIDE, 3), np.zeros_like(at_once)
    windows = upscaler.layout(size).windows
    places = [window.times(stride) for window in windows]
    for window, place in zip(windows, places, strict=True):
        pixels = decode(upscaler, source, latent, window)
        blend.add(place, pixels)
        naive[place.area] = pixels
    show(f"{len(places)} windows side by side", naive - at_once, places)
    show(f"{len(places)} windows blended", blend.rows(0, SIDE) - at_once, places)


def compare_tiles(upscaler: Upscaler, photo: Photo) -> None:
    """The image with little overlap of tiles and with none, against one whose tiles overlap by three quarters."""
    config, size = upscaler.model.config, (SIDE, SIDE)

    def image(options: Options) -> FloatImage:
        return upscaler.upscale_photo(photo, size, options).color

    smooth = image(Options(tile_overlap=config.latent_side * 3 // 4))
    for overlap in sorted({upscaler.settings().tile_overlap, 0}):
        places = [
            tile.times(config.tokenizer.stride) for tile in upscaler.layout(size, Options(tile_overlap=overlap)).tiles
        ]
        show(f"{len(places)} tiles, overlap {overlap}", image(Options(tile_overlap=overlap)) - smooth, places)


def show(name: str, difference: FloatImage, places: Iterable[Tile]) -> None:
    """A row: `difference` (H, W, 3) at the borders of `places`, and near them."""
    error = difference * 255
    lines = sorted({edge for place in places for edge in (place.left, place.left + place.side)} - {0, SIDE})
    near, step = (partial(at_lines, field) for field in (np.abs(error).mean(-1), steps(error)))
    moved = [sorted(of([n + by for n in lines]) for by in MOVED) for of in (near, step)]
    ranges = [f"{values[0]:.3f} to {values[-1]:.3f}" for values in moved]
    print(f"{name:30} {near(lines):10.3f} {ranges[0]:>15} {step(lines):12.3f} {ranges[1]:>15}", flush=True)


def steps(error: FloatImage) -> FloatImage:
    """Change of an error from a pixel to the next, to the right and down: (H, W)."""
    right, down = (np.abs(np.diff(error, axis=axis, prepend=0)).mean(-1) for axis in (1, 0))
    return np.maximum(right, down)


def at_lines(field: FloatImage, lines: Sequence[int]) -> float:
    """The mean of a field (H, W) over some rows and the columns of the same numbers."""
    chosen = [n for n in lines if 0 < n < SIDE]
    return float(np.concatenate([field[chosen].ravel(), field[:, chosen].ravel()]).mean())


@torch.inference_mode()
def blended_latent(upscaler: Upscaler, source: Enlarged, tiles: list[Tile]) -> FloatImage:
    """The latent of the whole image, as the pipeline blends it."""
    config = upscaler.model.config
    stride, cells = config.tokenizer.stride, SIDE // config.tokenizer.stride
    blend = BandBlend(cells, config.tokenizer.channels)
    generation = upscaler.settings().for_tiles(len(tiles))
    for tile in tiles:
        pixels = cut(upscaler, source, tile.times(stride))
        conditions = upscaler.model.conditions_of_tiles(pixels)
        *_, values = upscaler.model.generate(conditions, generation, TileNoise(0, [tile.index]))
        blend.add(tile, values[0].float().permute(1, 2, 0).numpy())
    return blend.rows(0, cells)


@torch.inference_mode()
def decode(upscaler: Upscaler, source: Enlarged, latent: FloatImage, tile: Tile) -> FloatImage:
    """The pixels of a window in [0, 1]."""
    cells = torch.from_numpy(np.ascontiguousarray(latent[tile.area].transpose(2, 0, 1)))[None]
    pixels = cut(upscaler, source, tile.times(upscaler.model.config.tokenizer.stride))
    decoding = upscaler.settings().decoding
    decoded = upscaler.model.decode(cells.to(upscaler.engine.precision.compute), pixels, decoding)
    pixels_out: FloatImage = decoded[0].float().permute(1, 2, 0).numpy()
    return (pixels_out + 1) / np.float32(2)


def cut(upscaler: Upscaler, source: Enlarged, place: Tile) -> torch.Tensor:
    """The input's pixels of a tile, (1, 3, S, S) in [-1, 1]."""
    pixels = source.band(place.top, place.top + place.side)[:, place.area[1]].transpose(2, 0, 1)
    return torch.from_numpy(pixels * 2 - 1)[None].to(upscaler.engine.precision.compute)


if __name__ == "__main__":
    main()
