"""Pairs of images on which metrics are compared with other implementations. Computed, so that none is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tests.golden import DATA
from varsr.tiling.array import FloatImage

SIZES = {"even": (256, 256), "odd": (427, 391)}


def photograph(size: tuple[int, int]) -> Any:
    """A photograph (H, W, 3) in [0, 1], mirrored at its borders to the size."""
    pixels = np.asarray(Image.open(DATA / "dandelion.jpg").convert("RGB"), np.float32) / 255
    height, width = size
    mirrored = np.pad(
        pixels, ((0, max(0, height - len(pixels))), (0, max(0, width - pixels.shape[1])), (0, 0)), "reflect"
    )
    return mirrored[:height, :width]


def _noisy(x: FloatImage) -> Any:
    return x + 0.05 * np.random.default_rng(1).standard_normal(x.shape)


def _blurred(x: FloatImage) -> Any:
    around = [np.roll(x, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return np.mean(around, axis=0)


def _blocky(x: FloatImage) -> FloatImage:
    height, width = (n // 8 * 8 for n in x.shape[:2])
    blocks = x[:height, :width].reshape(height // 8, 8, width // 8, 8, 3).mean((1, 3), keepdims=True)
    rough = x.copy()
    flat = np.broadcast_to(blocks, (height // 8, 8, width // 8, 8, 3)).reshape(height, width, 3)
    rough[:height, :width] = 0.5 * rough[:height, :width] + 0.5 * flat
    return rough


DEGRADATIONS: dict[str, Callable[[FloatImage], Any]] = {
    "noisy": _noisy,
    "blurred": _blurred,
    "blurred twice": lambda x: _blurred(_blurred(x)),
    "blocky": _blocky,
    "darker": lambda x: 0.7 * x,
    "tinted": lambda x: x * np.array([1.1, 1.0, 0.8]),
    "shifted": lambda x: np.roll(x, 1, 1),
    "stippled": lambda x: x + 0.03 * (np.indices(x.shape[:2]).sum(0) % 2)[..., None],
    "posterized": lambda x: np.round(x * 12) / 12,
    "sharpened": lambda x: x + (x - _blurred(x)),
}


def pairs() -> dict[str, tuple[FloatImage, FloatImage]]:
    """Results and references (H, W, 3) by name, each rounded to 8 bits."""
    found = {}
    for size_name, size in SIZES.items():
        reference = photograph(size)
        for name, degrade in DEGRADATIONS.items():
            result = np.round(degrade(reference).clip(0, 1) * 255) / 255
            found[f"{name}, {size_name}"] = (result.astype(np.float32), reference)
    return found
