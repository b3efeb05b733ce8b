"""Training crops: a sharp tile, the degraded tile upsampled to its size, and the label of its quality."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from varsr.evaluation.degradation import convolve, degrade, from_image, gaussian_kernel, jpeg, resized, to_image
from varsr.images.resize import resize
from varsr.model.guidance import NEGATIVE, POSITIVE
from varsr.tiling.array import FloatImage

MARGIN = 16  # pixels around a crop that the degradation and the upsampling see, as they would in a whole image


class Batch(NamedTuple):
    """B pairs."""

    sharp: Tensor
    """(B, 3, S, S) in [-1, 1]."""
    upsampled: Tensor
    """(B, 3, S, S) in [-1, 1]."""
    labels: Tensor
    """(B)."""

    def on(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(values.to(device, non_blocking=True) for values in self))


@dataclass(frozen=True)
class Mix:
    """Proportions of crops. `clean` is the share that is only reduced by bicubic x4, `negative` of bad targets."""

    clean: float = 0.25
    negative: float = 0.2
    smallest_zoom: float = 0.5
    scales: tuple[float, ...] = (4, 4, 4, 4, 3, 2)


class Crops(IterableDataset[Batch]):
    """An endless stream of batches, the same for the same seed."""

    def __init__(self, folder: Path, side: int, batch: int, seed: int, mix: Mix = Mix()) -> None:
        super().__init__()
        self.files = sorted(folder.glob("*.png"))
        if not self.files:
            raise FileNotFoundError(f"no photographs in {folder}: run python -m training.photographs")
        self.side = side
        self.batch = batch
        self.seed = seed
        self.mix = mix

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        rng = np.random.default_rng((self.seed, worker.id) if worker else self.seed)
        photographs = [np.asarray(Image.open(file)) for file in self.files]
        weights = np.array([np.sqrt(p.size) for p in photographs])
        while True:
            chosen = rng.choice(len(photographs), self.batch, p=weights / weights.sum())
            yield _stack([self._pair(photographs[i], rng) for i in chosen])

    def _pair(self, photograph: np.ndarray, rng: np.random.Generator) -> tuple[FloatImage, FloatImage, int]:
        whole = self.side + 2 * MARGIN
        sharp = self._detailed_crop(photograph, whole, rng)
        low = self._reduced(sharp, rng)
        upsampled = np.clip(resize(low, (whole, whole)), 0, 1)
        label = NEGATIVE if rng.random() < self.mix.negative else POSITIVE
        target = degrade_target(sharp, rng) if label == NEGATIVE else sharp
        inner = slice(MARGIN, MARGIN + self.side)
        return target[inner, inner], upsampled[inner, inner], label

    def _detailed_crop(self, photograph: np.ndarray, side: int, rng: np.random.Generator) -> FloatImage:
        """The more detailed of two random crops, zoomed out and turned at random."""
        crops = [self._crop(photograph, side, rng) for _ in range(2)]
        crop = max(crops, key=lambda c: np.abs(np.diff(c.mean(-1), axis=0)).mean())
        turned = np.rot90(crop, int(rng.integers(4)))
        return np.ascontiguousarray(turned[:, ::-1] if rng.random() < 0.5 else turned)

    def _crop(self, photograph: np.ndarray, side: int, rng: np.random.Generator) -> FloatImage:
        zoom = rng.uniform(self.mix.smallest_zoom, 1) if rng.random() < 0.5 else 1.0
        taken = min(round(side / zoom), *photograph.shape[:2])
        top, left = (int(rng.integers(length - taken + 1)) for length in photograph.shape[:2])
        crop = photograph[top : top + taken, left : left + taken]
        return resized(crop.astype(np.float32) / np.float32(255), (side, side), Image.Resampling.LANCZOS)

    def _reduced(self, sharp: FloatImage, rng: np.random.Generator) -> FloatImage:
        low = round(len(sharp) / self.mix.scales[rng.integers(len(self.mix.scales))])
        if rng.random() < self.mix.clean:
            small = resized(sharp, (low, low), Image.Resampling.BICUBIC)
        else:
            small = degrade(sharp, (low, low), rng.random(), rng)
        return from_image(to_image(small))


def degrade_target(sharp: FloatImage, rng: np.random.Generator) -> FloatImage:
    """A target of low quality: out of focus or strongly compressed.

    All that is bad here lacks detail, so that guidance, which leads away from it, has one direction: spoilt by
    over-sharpening and by noise as well, the directions cancelled each other and guidance did nothing.
    """
    if rng.random() < 0.6:
        return convolve(sharp, gaussian_kernel(rng, 3.0))
    return jpeg(sharp, int(rng.integers(8, 30)))


def _stack(pairs: list[tuple[FloatImage, FloatImage, int]]) -> Batch:
    sharp, upsampled, labels = zip(*pairs, strict=True)
    return Batch(to_tensor(np.stack(sharp)), to_tensor(np.stack(upsampled)), torch.tensor(labels))


def to_tensor(images: np.ndarray) -> Tensor:
    """(B, H, W, 3) in [0, 1] -> (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).mul(2).sub(1).contiguous()


def stream(crops: Crops, device: torch.device) -> Iterator[Batch]:
    """Batches on a device, made by processes of their own: one beside a CPU that trains, several to feed a GPU."""
    on_gpu = device.type == "cuda"
    workers = max(1, (os.cpu_count() or 2) - 2) if on_gpu else 1
    # Workers use one thread each.
    loader = DataLoader(crops, batch_size=None, num_workers=workers, prefetch_factor=8, pin_memory=on_gpu)
    return (batch.on(device) for batch in loader)


def validation_sets(folder: Path, side: int, count: int, device: torch.device) -> dict[str, list[Batch]]:
    """Clean and degraded batches, the same at every call, all x4 with good targets."""
    sets = {}
    for name, clean in (("clean", 1.0), ("hard", 0.0)):
        batches = iter(Crops(folder, side, 16, seed=7, mix=Mix(clean=clean, negative=0, scales=(4,))))
        sets[name] = [next(batches).on(device) for _ in range(count)]
    return sets


def averaged(sets: Mapping[str, Sequence[Batch]], measure: Callable[[Batch], Mapping[str, Tensor]]) -> dict[str, float]:
    """The mean of what `measure` returns for the batches of each set, under SET_NAME."""
    means: dict[str, float] = {}
    for name, batches in sets.items():
        rows = [measure(batch) for batch in batches]
        means |= {f"{name}_{key}": float(torch.stack([row[key] for row in rows]).mean()) for key in rows[0]}
    return means
