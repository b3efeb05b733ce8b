"""The engine: batches of tiles to latents, latents to pixels, in the sizes that memory and repeatability allow."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from varsr.model.config import ModelConfig
from varsr.model.inference import DecodeConfig, InferenceConfig
from varsr.model.passes import Conditions
from varsr.model.sampling import Noise
from varsr.model.varsr import VARSR
from varsr.runtime.batch import Batch, ClassBatch, PendingBatch, Step
from varsr.runtime.cuda_graphs import GraphCache
from varsr.runtime.device import Precision
from varsr.runtime.memory import is_about_memory, memory_size
from varsr.runtime.worker import DeviceThread
from varsr.tiling.array import FloatImages

MAX_CPU_BATCH = 64  # tiles
BATCHES_AHEAD = 2  # begun on a GPU, so that it never waits for the program
T = TypeVar("T")


class Engine:
    """A model on its device.

    A GPU works beside the program, in a thread of its own: while pixels of one batch are blended and written, the next
    one is computed. There, batches are `compiled` into CUDA graphs.
    """

    def __init__(self, model: VARSR, device: torch.device, precision: Precision, compiled: bool = True) -> None:
        self.model = model
        self.device = device
        self.precision = precision
        self._graphs = GraphCache() if device.type == "cuda" and compiled else None
        self._worker = DeviceThread() if device.type == "cuda" else None
        if device.type == "cuda" and precision.compute == torch.float32:
            torch.backends.cudnn.allow_tf32 = False  # which PyTorch would round convolutions to

    @property
    def runs_until_ready(self) -> int:
        """Warm-up runs that a batch of a new shape needs until it is as fast as it will be."""
        return 1 if self._graphs is None else 2

    @property
    def batch_size(self) -> int:
        """Default batch size. One tile of a large model already saturates a CPU; slower precisions saturate earlier."""
        small = is_small(self.model.config)
        if self.device.type == "cuda":
            return 32 if small else 8
        if self.precision.int8 or not small:
            return 1
        return 4 if self.device.type == "cpu" and self.precision.compute == torch.float32 else 8

    @property
    def largest_batch(self) -> int:
        """Tiles at a time for which half of the device's memory suffices, by a rough count, at least one.

        More than `MAX_CPU_BATCH` gain nothing on a CPU, where a batch is computed as if it were full.
        """
        fitting = memory_size(self.device) // 2 // bytes_a_tile(self.model.config)
        return max(1, min(fitting, MAX_CPU_BATCH) if self.fills_batches else fitting)

    @property
    def fills_batches(self) -> bool:
        """True where the last batch is computed as large as the others.

        On a CPU the rounding of matrix products depends on the number of their rows alone. So a tile comes out the
        same to the bit whatever its batch is shared with. For a GPU that is not known, and a full batch takes long.
        """
        return self.device.type == "cpu"

    @property
    def has_room(self) -> bool:
        """True while a batch may be begun before it is needed."""
        return self._worker is not None and self._worker.unfinished < BATCHES_AHEAD

    def submit(self, batch: Batch, size: int) -> PendingBatch:
        """Begin a batch of at most `size` tiles, on the device's thread where it has one."""
        return PendingBatch(self.latents(batch, size), self._worker)

    @torch.inference_mode()
    def latents(self, batch: Batch, size: int) -> Generator[Step, None, FloatImages]:
        """Compute the latents (T, P, P, Z) of at most `size` tiles; yield each step, return the latents.

        Where memory does not suffice for all at once, halves are computed one after the other.
        """
        if not batch.inference.tokens:
            return (yield from self._without_tokens(batch))
        try:
            return (yield from self._whole_batch(batch, size if self.fills_batches else len(batch)))
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_about_memory(error):
                raise
        half = size // 2
        parts: list[FloatImages] = []
        for start in range(0, len(batch), half):
            part = yield from _shifted(self.latents(batch.part(start, start + half), half), start)
            parts.append(part)
        return np.concatenate(parts)

    def _whole_batch(self, batch: Batch, size: int) -> Generator[Step, None, FloatImages]:
        """Compute all tiles at once, the batch filled up to `size` with copies of the last one."""
        count, scales = len(batch), len(self.model.config.scales)
        filled = [*range(count), *[count - 1] * (size - count)]
        everything, done = slice(0, count), 0
        try:
            for grown in self.generate(self._given(batch, filled), batch.noise(filled), batch.inference):
                latents = grown
                if done < scales:
                    done += 1
                    yield Step(everything, f"scale {done} of {scales}")
            result = _maps(latents[:count])
        except Exception:
            if done:
                yield Step(everything, "prefix", -done)
            raise
        yield Step(everything, "corrector")
        return result

    def _without_tokens(self, batch: Batch) -> Generator[Step, None, FloatImages]:
        """Latents of zeros, counted as the steps that they save."""
        config = self.model.config
        yield Step(slice(0, len(batch)), "decoder", len(config.scales) + 1)
        return np.zeros((len(batch), config.latent_side, config.latent_side, config.tokenizer.channels), np.float32)

    def _given(self, batch: Batch, chosen: Sequence[int]) -> Tensor:
        """Tiles (T, 3, S, S) or classes (T) of a batch, on the device."""
        if isinstance(batch, ClassBatch):
            return torch.tensor([batch.classes[i] for i in chosen], device=self.device)
        return self.tensor(batch.pixels[list(chosen)] * 2 - 1)

    def generate(self, given: Tensor, noise: Noise, inference: InferenceConfig) -> Iterator[Tensor]:
        """Latents (T, Z, P, P) as they grow, as `VARSR.generate` yields them.

        `given` are tiles (T, 3, S, S) of a super-resolution model, or classes (T) of a class-to-image model.
        """

        def work(given: Tensor, noise: Noise) -> Iterator[Tensor]:
            return self.model.generate(self._conditions(given), inference, noise)

        if self._graphs is None:
            return work(given, noise)
        stages = len(self.model.config.scales) + bool(inference.corrector_steps)
        return self._graphs.run(inference, work, stages, given, noise)

    def _conditions(self, given: Tensor) -> Conditions:
        if self.model.config.classes is None:
            return self.model.conditions_of_tiles(given)
        return self.model.conditions_of_classes(given, self.precision.compute)

    def decode(self, latents: FloatImages, pixels: FloatImages, decoding: DecodeConfig) -> FloatImages:
        """Latents (T, P, P, Z) with the input's tiles (T, S, S, 3) -> restored tiles (T, S, S, 3), all in [0, 1]."""
        if self._worker is None:
            return self._decoded(latents, pixels, decoding)
        return self._worker.run_sync(partial(self._decoded, latents, pixels, decoding))

    @torch.inference_mode()
    def _decoded(self, latents: FloatImages, pixels: FloatImages, decoding: DecodeConfig) -> FloatImages:
        restored = self.model.decode(self.tensor(latents), self.tensor(pixels * 2 - 1), decoding)
        return _maps((restored.float() + 1) / 2)

    def tensor(self, maps: FloatImages) -> Tensor:
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


def _shifted(steps: Generator[Step, None, T], start: int) -> Generator[Step, None, T]:
    """The same steps for tiles that stand `start` further on in a batch."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        yield replace(step, tiles=slice(step.tiles.start + start, step.tiles.stop + start))


def _maps(tensor: Tensor) -> FloatImages:
    """(T, C, H, W) -> (T, H, W, C) in float32 on the CPU."""
    maps: FloatImages = tensor.float().permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return maps
