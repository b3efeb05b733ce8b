"""The model at work on batches of tiles, in the sizes that memory and repeatability ask for."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from varsr.model.config import ModelConfig
from varsr.model.inference import InferenceConfig
from varsr.model.sampling import Noise, TileNoise
from varsr.model.varsr import VARSR
from varsr.runtime.cuda_graphs import Graphs
from varsr.runtime.device import Precision
from varsr.runtime.memory import is_about_memory, memory_size
from varsr.runtime.worker import Worker
from varsr.tiling.array import FloatImage

ENOUGH = 64  # tiles
AHEAD = 2  # batches begun on a GPU, so that it never waits for the program


@dataclass(frozen=True)
class Recipe:
    """Settings that all tiles of a batch share."""

    generation: InferenceConfig
    seed: int


class Counter(Protocol):
    """Counts the steps of an image."""

    def step(self, count: int, activity: str, /) -> None:
        """Count steps of an activity; a negative count takes them back."""


@dataclass(frozen=True)
class Batch:
    """Tiles of one picture or of several: pixels (T, S, S, 3) in [0, 1], places in their pictures, who counts them."""

    pixels: FloatImage
    places: Sequence[int]
    reporters: Sequence[Counter]

    def step(self, activity: str, times: int = 1) -> None:
        """Count a step of each tile, or several, or take them back."""
        for reporter, count in collections.Counter(self.reporters).items():
            reporter.step(times * count, activity)

    def part(self, start: int, stop: int) -> Batch:
        """Some of its tiles."""
        return Batch(self.pixels[start:stop], self.places[start:stop], self.reporters[start:stop])


class Engine:
    """A model on its device.

    A GPU works beside the program, in a thread of its own: while pixels of one batch are blended and written, the next
    one is computed. There, batches are `compiled` into CUDA graphs.
    """

    def __init__(self, model: VARSR, device: torch.device, precision: Precision, compiled: bool = True) -> None:
        self.model = model
        self.device = device
        self.precision = precision
        self._graphs = Graphs() if device.type == "cuda" and compiled else None
        self._worker = Worker() if device.type == "cuda" else None
        if device.type == "cuda" and precision.compute == torch.float32:
            torch.backends.cudnn.allow_tf32 = False  # which PyTorch would round convolutions to

    @property
    def runs_until_ready(self) -> int:
        """How often a batch of a new shape is computed before that is as fast as it will be."""
        return 1 if self._graphs is None else 2

    @property
    def batch_size(self) -> int:
        """Tiles at a time: a CPU is busy with one of a large model, and the sooner the slower it computes."""
        small = is_small(self.model.config)
        if self.device.type == "cuda":
            return 32 if small else 8
        if self.precision.int8 or not small:
            return 1
        return 4 if self.device.type == "cpu" and self.precision.compute == torch.float32 else 8

    @property
    def largest_batch(self) -> int:
        """Tiles at a time for which half of the device's memory suffices, by a rough count, at least one.

        More than `ENOUGH` gain nothing on a CPU, where a batch is computed as if it were full.
        """
        fitting = memory_size(self.device) // 2 // bytes_a_tile(self.model.config)
        return max(1, min(fitting, ENOUGH) if self.fills_batches else fitting)

    @property
    def fills_batches(self) -> bool:
        """Whether the last batch is computed as large as the others.

        On a CPU the rounding of matrix products depends on the number of their rows alone. So a tile comes out the
        same to the bit whatever its batch is shared with. For a GPU that is not known, and a full batch takes long.
        """
        return self.device.type == "cpu"

    @property
    def has_room(self) -> bool:
        """Whether a batch may be begun already that is not needed yet."""
        return self._worker is not None and self._worker.unfinished < AHEAD

    def begin(self, batch: Batch, size: int, recipe: Recipe) -> Future[FloatImage]:
        """What `latents` gives, when it is done: beside the program, or at once where nothing works beside it."""
        if self._worker is None:
            done: Future[FloatImage] = Future()
            try:
                done.set_result(self.latents(batch, size, recipe))
            except Exception as error:  # raised where the result is used, as beside the program
                done.set_exception(error)
            return done
        return self._worker.in_turn(partial(self.latents, batch, size, recipe))

    @torch.inference_mode()
    def latents(self, batch: Batch, size: int, recipe: Recipe) -> FloatImage:
        """Latents (T, P, P, Z) of at most `size` tiles; where memory does not suffice for all, of half and half."""
        try:
            return self._at_once(batch, size if self.fills_batches else len(batch.places), recipe)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_about_memory(error):
                raise
        half = size // 2
        parts = [batch.part(start, start + half) for start in range(0, len(batch.places), half)]
        return np.concatenate([self.latents(part, half, recipe) for part in parts])

    def _at_once(self, batch: Batch, size: int, recipe: Recipe) -> FloatImage:
        count, scales = len(batch.places), len(self.model.config.scales)
        filled = [*range(count), *[count - 1] * (size - count)]
        tiles = self.tensor(batch.pixels[filled] * 2 - 1)
        noise = TileNoise(recipe.seed, [batch.places[i] for i in filled])
        done = 0
        try:
            for latents in self.restore(tiles, noise, recipe):  # noqa: B007, the last count
                if done < scales:
                    done += 1
                    batch.step(f"scale {done} of {scales}")
            restored = _maps(latents[:count])
        except BaseException:
            batch.step("prefix", -done)
            raise
        batch.step("corrector")
        return restored

    def restore(self, tiles: Tensor, noise: TileNoise, recipe: Recipe) -> Iterator[Tensor]:
        """Latents (T, Z, P, P) of tiles (T, 3, S, S) on the device as they grow, as `VARSR.restore` yields them."""

        def work(tiles: Tensor, noise: Noise) -> Iterator[Tensor]:
            return self.model.restore(tiles, recipe.generation, noise)

        if self._graphs is None:
            return work(tiles, noise)
        stages = len(self.model.config.scales) + bool(recipe.generation.corrector_steps)
        return self._graphs.run(recipe, work, stages, tiles, noise)

    def decode(self, latents: FloatImage, pixels: FloatImage) -> FloatImage:
        """Latents (T, P, P, Z) with the input's tiles (T, S, S, 3) -> restored tiles (T, S, S, 3), all in [0, 1]."""
        if self._worker is None:
            return self._decoded(latents, pixels)
        return self._worker.at_once(partial(self._decoded, latents, pixels))

    @torch.inference_mode()
    def _decoded(self, latents: FloatImage, pixels: FloatImage) -> FloatImage:
        restored = self.model.decoder(self.tensor(latents), self.tensor(pixels * 2 - 1))
        return _maps((restored.float() + 1) / 2)

    def tensor(self, maps: FloatImage) -> Tensor:
        """(T, H, W, C) -> (T, C, H, W) on the device, in the type that is computed in."""
        if self.device.type == "cuda":
            pinned = torch.from_numpy(np.ascontiguousarray(maps)).pin_memory()
            return pinned.to(self.device, non_blocking=True).permute(0, 3, 1, 2).to(self.precision.compute)
        channels_first = np.ascontiguousarray(maps.transpose(0, 3, 1, 2))
        return torch.from_numpy(channels_first).to(self.device, self.precision.compute)


def is_small(config: ModelConfig) -> bool:
    """True for a model whose batches of tiles, not its weights, take the memory and keep a processor busy."""
    return config.transformer.width <= 512


def bytes_a_tile(config: ModelConfig) -> int:
    """A rough count of the memory that a tile of a batch takes, in float32 and with both of its labels."""
    cache = 2 * config.transformer.depth * config.transformer.width * sum(config.stage_lengths)
    widest = 12 * config.transformer.width * max(config.stage_lengths)
    return 4 * (2 * (cache + widest) + 64 * config.tile_side**2)


def _maps(tensor: Tensor) -> FloatImage:
    """(T, C, H, W) -> (T, H, W, C) in float32 on the CPU."""
    maps: FloatImage = tensor.float().permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return maps
