"""What decoding window by window costs: the difference to decoding at once, at their borders and elsewhere.

    python -m benchmarks.seams --photo tests/data/dandelion.jpg

The photo is enlarged to 1024 px. Both ways decode the same blended latent. A group norm takes its statistics over
all that is decoded at a time, so naive windows, simply put side by side, differ in colour; blended ones should not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from varsr.imaging.bands import BandBlend, Enlarged
from varsr.imaging.read import read_photo
from varsr.imaging.resize import Picture
from varsr.imaging.tiles import Tile
from varsr.model.sampling import Sampling, TileNoise
from varsr.upscaler import Upscaler

SIDE = 1024
MOVED = [by for by in range(-48, 49, 8) if by]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()
    upscaler = Upscaler.from_pretrained(options.model, device="cpu")
    config = upscaler.model.config
    stride, size = config.tokenizer.stride, (SIDE, SIDE)
    source = Enlarged(read_photo(options.photo).color, size, size)
    latent = blended_latent(upscaler, source, upscaler.tiles(size))
    windows = upscaler.windows(size)

    at_once = decode(upscaler, source, latent, Tile(0, 0, 0, SIDE // stride))
    blend = BandBlend(SIDE, 3)
    naive = np.zeros_like(at_once)
    for window in windows:
        pixels, place = decode(upscaler, source, latent, window), window.times(stride)
        blend.add(place, pixels)
        naive[place.area] = pixels
    places = [window.times(stride) for window in windows]
    lines = sorted({edge for place in places for edge in (place.left, place.left + place.side)} - {0, SIDE})
    print(
        f"{len(windows)} windows; differences to decoding at once, in 255ths, at the borders of windows and at the same"
    )
    print("lines moved by 8 to 48 pixels, from the least to the most")
    print(f"{'':8} {'mean near':>10} {'moved':>15} {'step across':>12} {'moved':>15} {'largest shift of a window':>26}")
    for name, result in (("naive", naive), ("blended", blend.rows(0, SIDE))):
        error = (result - at_once) * 255
        near, step = (partial(at_lines, field) for field in (np.abs(error).mean(-1), steps(error)))
        moved = [sorted(of([n + by for n in lines]) for by in MOVED) for of in (near, step)]
        ranges = [f"{values[0]:.3f} to {values[-1]:.3f}" for values in moved]
        shift = max(np.abs(error[place.area].mean((0, 1))).max() for place in places)
        print(f"{name:8} {near(lines):10.3f} {ranges[0]:>15} {step(lines):12.3f} {ranges[1]:>15} {shift:26.3f}")


def steps(error: Picture) -> Picture:
    """How much an error changes from a pixel to the next, to the right and down: (H, W)."""
    right, down = (np.abs(np.diff(error, axis=axis, prepend=0)).mean(-1) for axis in (1, 0))
    return np.maximum(right, down)


def at_lines(field: Picture, lines: Sequence[int]) -> float:
    """The mean of a field (H, W) over some rows and the columns of the same numbers."""
    chosen = [n for n in lines if 0 < n < SIDE]
    return float(np.concatenate([field[chosen].ravel(), field[:, chosen].ravel()]).mean())


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
    """The pixels of a window in [0, 1]."""
    cells = torch.from_numpy(np.ascontiguousarray(latent[tile.area].transpose(2, 0, 1)))[None]
    pixels = cut(upscaler, source, tile.times(upscaler.model.config.tokenizer.stride))
    decoded = upscaler.model.decoder(cells.to(upscaler.engine.precision.compute), pixels)
    return (decoded[0].float().permute(1, 2, 0).numpy() + 1) / 2


def cut(upscaler: Upscaler, source: Enlarged, place: Tile) -> torch.Tensor:
    """The input's pixels of a tile, (1, 3, S, S) in [-1, 1]."""
    pixels = source.band(place.top, place.top + place.side)[:, place.area[1]].transpose(2, 0, 1)
    return torch.from_numpy(pixels * 2 - 1)[None].to(upscaler.engine.precision.compute)


if __name__ == "__main__":
    main()
