"""State dicts with the official names whose values a rule makes, so that no weights need be stored.

The rule is the one under which the official implementation computed `data/tiny.safetensors`.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from varsr.model.sampling import TileNoise
from varsr.weights.convert import LOCATIONS, UNUSED, Part, matches_any

DATA = Path(__file__).parent / "data"
_SPREADS = (
    ("quantize.embedding.weight", 1.0),
    ("pos_start", 1.0),
    ("class_emb.weight", 0.1),
    ("lvl_embed.weight", 0.1),
    ("head_nm.ada_lin.1.bias", 0.05),
    ("ada_lin.1.bias", 0.5),
)


def shapes(model: str) -> dict[Part, dict[str, list[int]]]:
    """Official tensor names and shapes of `model`, "tiny" or "official", by part."""
    loaded: dict[Part, dict[str, list[int]]] = json.loads((DATA / f"{model}.shapes.json").read_text())
    return loaded


def weight(name: str, shape: list[int]) -> Tensor:
    """The tensor that the rule gives for an official name."""
    normal = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape, dtype=np.float32)
    if name.endswith("scale_mul_1H11"):
        return torch.from_numpy(np.float32(math.log(40)) + np.float32(0.1) * normal)
    spread = next((spread for suffix, spread in _SPREADS if name.endswith(suffix)), None)
    if spread is not None:
        return torch.from_numpy(np.float32(spread) * normal)
    if len(shape) >= 2:
        return torch.from_numpy(normal / np.float32(math.sqrt(math.prod(shape[1:]))))
    return torch.from_numpy(np.float32(name.endswith(".weight")) + np.float32(0.1) * normal)


def state(model: str, part: Part) -> Iterator[tuple[str, Tensor]]:
    """The official state dict of a part, without the buffers that inference does not need."""
    for name, shape in shapes(model)[part].items():
        if not matches_any(name, UNUSED):
            yield name, weight(name, shape)


def write_pickles(model: str, folder: Path) -> tuple[Path, Path]:
    """Write both parts as they are published: VQVAE.pth and VARSR.pth."""
    paths = folder / "VQVAE.pth", folder / "VARSR.pth"
    for path, part in zip(paths, LOCATIONS, strict=True):
        outer, inner = LOCATIONS[part]
        torch.save({outer: {inner: dict(state(model, part))}}, path)
    return paths


class GoldenNoise(TileNoise):
    """The noise that the official corrector was given: draw n for B tiles of L tokens."""

    def __init__(self, tiles: int) -> None:
        super().__init__(0, range(tiles))
        self._tiles = tiles
        self._draw = 0

    def normal(self, *shape: int) -> Tensor:
        """The next draw, (T, L, Z)."""
        length, channels = shape
        generator = np.random.Generator(np.random.PCG64(1000 + self._draw))
        self._draw += 1
        drawn = generator.standard_normal((self._tiles * length, channels), dtype=np.float32)
        return torch.from_numpy(drawn).view(self._tiles, length, channels)
