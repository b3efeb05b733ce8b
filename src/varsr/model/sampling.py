"""Choosing tokens from logits, and the random numbers of a tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """Token sampling: from the `top_k` most likely tokens (0: all), of these from the fewest with mass `top_p`.

    `top_k` 1 is argmax and draws nothing.
    """

    top_k: int = 1
    top_p: float = 1.0
    temperature: float = 1.0


ARGMAX = Sampling()


class Noise(Protocol):
    """Random numbers of the T tiles of a batch, on whatever device."""

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (T, *shape)."""

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (T, *shape)."""


class TileNoise:
    """Random numbers of the tiles of a batch, from one CPU generator a tile.

    A tile's numbers depend on the seed and on the tile's place in the image, never on the other tiles
    of its batch nor on the device.
    """

    def __init__(self, seed: int | Sequence[int], tiles: Sequence[int]) -> None:
        """Make generators for tiles at these places, of one seed or of a seed each."""
        seeds = [seed] * len(tiles) if isinstance(seed, int) else seed
        self._generators = [_generator(*pair) for pair in zip(seeds, tiles, strict=True)]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (T, *shape)."""
        return torch.stack([torch.randn(shape, generator=g) for g in self._generators])

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (T, *shape)."""
        return torch.stack([torch.rand(shape, generator=g) for g in self._generators])


def _generator(seed: int, tile: int) -> torch.Generator:
    state = np.random.SeedSequence((seed, tile)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


def choose(logits: Tensor, sampling: Sampling, noise: Noise) -> Tensor:
    """Tokens (T, L) from logits (T, L, V)."""
    if sampling.top_k == 1:
        return logits.argmax(-1)
    count = min(sampling.top_k or logits.shape[-1], logits.shape[-1])
    scores, candidates = (logits.float() / sampling.temperature).topk(count, dim=-1)  # sorted, most likely first
    mass = scores.softmax(-1).cumsum(-1)
    # The candidate that crosses top_p still belongs; what lies past it is out of the shortened draw's reach.
    draw = noise.uniform(logits.shape[1], 1).to(mass.device) * _mass_up_to(mass, sampling.top_p)
    index = torch.searchsorted(mass, draw, right=True).clamp_(max=count - 1)
    return candidates.gather(-1, index).squeeze(-1)


def _mass_up_to(mass: Tensor, top_p: float) -> Tensor:
    """The cumulative mass at the first candidate that reaches `top_p`: (..., 1)."""
    first = (mass < top_p).sum(-1, keepdim=True).clamp_(max=mass.shape[-1] - 1)
    return mass.gather(-1, first)
