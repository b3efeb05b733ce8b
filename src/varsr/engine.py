"""The model at work on batches of tiles, in the sizes that memory and repeatability ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from varsr.device import Precision, is_about_memory
from varsr.imaging.resize import Picture
from varsr.model.sampling import Sampling, TileNoise
from varsr.model.shortcuts import Shortcuts
from varsr.model.varsr import VARSR
from varsr.progress import Reporter


@dataclass(frozen=True)
class Recipe:
    """How latents are made: alike for all tiles of a batch. `strength` is that of guidance."""

    strength: float
    sampling: Sampling
    corrector: bool
    seed: int
    shortcuts: Shortcuts


@dataclass(frozen=True)
class Batch:
    """Tiles of one picture or of several: pixels (T, S, S, 3) in [0, 1], places in their pictures, who counts them."""

    pixels: Picture
    places: Sequence[int]
    reporters: Sequence[Reporter]

    def step(self, activity: str) -> None:
        """Count a step of each tile."""
        for reporter, count in Counter(self.reporters).items():
            reporter.step(count, activity)

    def part(self, start: int, stop: int) -> Batch:
        """Some of its tiles."""
        return Batch(self.pixels[start:stop], self.places[start:stop], self.reporters[start:stop])


class Engine:
    """A model on its device."""

    def __init__(self, model: VARSR, device: torch.device, precision: Precision) -> None:
        self.model = model
        self.device = device
        self.precision = precision

    @property
    def batch_size(self) -> int:
        """Tiles at a time: a CPU is busy with one of a large model, and the sooner the slower it computes."""
        if self.precision.int8:
            return 1
        if not self.model.config.is_small:
            return 8 if self.device.type == "cuda" else 1
        return 4 if self.device.type == "cpu" and self.precision.compute == torch.float32 else 8

    @property
    def fills_batches(self) -> bool:
        """Whether the last batch is computed as large as the others.

        On a CPU the rounding of matrix products depends on the number of their rows alone. So a tile comes out the
        same to the bit whatever its batch is shared with. For a GPU that is not known, and a full batch takes long.
        """
        return self.device.type == "cpu"

    @torch.inference_mode()
    def latents(self, batch: Batch, size: int, recipe: Recipe) -> Picture:
        """Latents (T, P, P, Z) of at most `size` tiles; where memory does not suffice for all, of half and half."""
        before = [reporter.state for reporter in batch.reporters]
        try:
            return self._at_once(batch, size if self.fills_batches else len(batch.places), recipe)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_about_memory(error):
                raise
        for reporter, state in zip(batch.reporters, before, strict=True):
            reporter.state = state
        half = size // 2
        parts = [batch.part(start, start + half) for start in range(0, len(batch.places), half)]
        return np.concatenate([self.latents(part, half, recipe) for part in parts])

    def _at_once(self, batch: Batch, size: int, recipe: Recipe) -> Picture:
        count, scales = len(batch.places), len(self.model.config.scales)
        filled = [*range(count), *[count - 1] * (size - count)]
        latents = self.model.restore(
            self.tensor(batch.pixels[filled] * 2 - 1),
            recipe.strength,
            recipe.sampling,
            TileNoise(recipe.seed, [batch.places[i] for i in filled]),
            recipe.corrector,
            on_scale=lambda scale: batch.step(f"scale {scale + 1} of {scales}"),
            shortcuts=recipe.shortcuts,
        )
        batch.step("corrector")
        return _maps(latents[:count])

    @torch.inference_mode()
    def decode(self, latents: Picture, pixels: Picture) -> Picture:
        """Latents (T, P, P, Z) with the input's tiles (T, S, S, 3) -> restored tiles (T, S, S, 3), all in [0, 1]."""
        restored = self.model.decoder(self.tensor(latents), self.tensor(pixels * 2 - 1))
        return _maps((restored.float() + 1) / 2)

    def tensor(self, maps: Picture) -> Tensor:
        """(T, H, W, C) -> (T, C, H, W) on the device, in the type that is computed in."""
        channels_first = np.ascontiguousarray(maps.transpose(0, 3, 1, 2))
        return torch.from_numpy(channels_first).to(self.device, self.precision.compute)


def _maps(tensor: Tensor) -> Picture:
    """(T, C, H, W) -> (T, H, W, C) in float32 on the CPU."""
    maps: Picture = tensor.float().permute(0, 2, 3, 1).cpu().numpy()
    return maps
