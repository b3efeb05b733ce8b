"""Token pruning: leave out the tokens that change least. It needs no training, and changes the image a little.

By the last scales most of an image is settled, so only the tokens that still change are computed there (after FastVAR,
Guo et al. 2025, which prunes each layer; here a token that is left out adds nothing to the latent, as its scale codes
what the scales before it lack). In the last scale guidance, too, can be left out where the 2 labels agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PRUNED_SCALES = 2
"""The last scales, in which tokens are pruned."""


@dataclass(frozen=True)
class Selection:
    """The tokens of a scale that are computed, of `length` in all."""

    length: int
    positions: Tensor | None = None
    """In rising order, (T, K); None for all."""

    def gather(self, tokens: Tensor) -> Tensor:
        """The selected ones of all tokens: (T, L, C) -> (T, K, C)."""
        return tokens if self.positions is None else gather(tokens, self.positions)

    def scatter(self, tokens: Tensor) -> Tensor:
        """All tokens from the selected ones, zero elsewhere: (T, K, C) -> (T, L, C). T may be a multiple."""
        if self.positions is None:
            return tokens
        groups = len(tokens) // len(self.positions)
        return scatter(tokens, self.positions.repeat(groups, 1), self.length)

    def all_positions(self, tiles: int, device: torch.device) -> Tensor:
        """The positions as a tensor (T, K), also where all tokens are selected."""
        if self.positions is not None:
            return self.positions
        return torch.arange(self.length, device=device).expand(tiles, self.length)


def select(keep_ratio: float, so_far: Tensor, scale: int, scales: int) -> Selection:
    """Select a share of the tokens of a scale: those farthest from the tile's mean in the latent so far (T, L, Z)."""
    length = so_far.shape[1]
    if keep_ratio == 1 or scale < scales - PRUNED_SCALES:
        return Selection(length)
    distances = (so_far - so_far.mean(1, keepdim=True)).square().sum(-1)
    return Selection(length, _highest(distances, math.ceil(keep_ratio * length)))


def disagreeing(positive: Tensor, negative: Tensor, side: int, positions: Tensor, share: float) -> Tensor:
    """The `share` of `positions` (T, K) in a map of `side` that the labels see most differently, as indices into them.

    `positive` and `negative`, (T, l, C), are the hidden states of the 2 labels in the scale before.
    """
    before = math.isqrt(positive.shape[1])
    distance = (positive - negative).float().square().sum(-1).unflatten(1, (1, before, before))
    here = F.interpolate(distance, size=(side, side), mode="nearest").flatten(1)
    return _highest(here.gather(1, positions), math.ceil(share * positions.shape[1]))


def _highest(values: Tensor, count: int) -> Tensor:
    return values.topk(count, dim=1).indices.sort(dim=1).values


def gather(tokens: Tensor, positions: Tensor) -> Tensor:
    """The tokens at some positions: (T, L, C), (T, K) -> (T, K, C)."""
    return tokens.gather(1, positions[..., None].expand(*positions.shape, tokens.shape[-1]))


def scatter(tokens: Tensor, positions: Tensor, length: int) -> Tensor:
    """The reverse of `gather`, zero elsewhere: (T, K, C), (T, K) -> (T, length, C)."""
    whole = tokens.new_zeros(len(tokens), length, tokens.shape[-1])
    return whole.scatter(1, positions[..., None].expand_as(tokens), tokens)
