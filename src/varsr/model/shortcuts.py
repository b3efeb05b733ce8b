"""Ways to compute less of a tile, none of which needs training; all of them change the picture a little.

By the last scales most of a picture is settled. There only the tokens that still change need to be computed (after
FastVAR, Guo et al. 2025, which prunes each layer; here a token that is left out adds nothing to the latent, as its
scale codes what the scales before it lack). Guidance is weak in the first scales, for it rises from none (SPEC 4):
there it can be left out. And in the last it need only be computed where the two labels disagree.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

THINNED_SCALES = 2  # the last ones


def disputed(positive: Tensor, negative: Tensor, side: int, places: Tensor, share: float) -> Tensor:
    """The `share` of `places` (T, K) in a map of `side` that the labels see most differently, as indices into them.

    `positive` and `negative`, (T, l, C), are what the labels made of the scale before.
    """
    before = math.isqrt(positive.shape[1])
    dispute = (positive - negative).float().square().sum(-1).unflatten(1, (1, before, before))
    here = F.interpolate(dispute, size=(side, side), mode="nearest").flatten(1)
    return _highest(here.gather(1, places), math.ceil(share * places.shape[1]))


def places_of(kept: float, vectors: Tensor, scale: int, scales: int) -> Tensor | None:
    """Which tokens of a scale are computed where a share is kept, in order (T, K); None for all.

    They are those whose latent so far, `vectors` (T, L, Z), is farthest from the tile's mean.
    """
    if kept == 1 or scale < scales - THINNED_SCALES:
        return None
    distances = (vectors - vectors.mean(1, keepdim=True)).square().sum(-1)
    return _highest(distances, math.ceil(kept * vectors.shape[1]))


def _highest(values: Tensor, count: int) -> Tensor:
    return values.topk(count, dim=1).indices.sort(dim=1).values


def pick(tokens: Tensor, places: Tensor) -> Tensor:
    """The tokens at some places: (T, L, C), (T, K) -> (T, K, C)."""
    return tokens.gather(1, places[..., None].expand(*places.shape, tokens.shape[-1]))


def put(tokens: Tensor, places: Tensor, length: int) -> Tensor:
    """The reverse of `pick`, zero elsewhere: (T, K, C), (T, K) -> (T, length, C)."""
    whole = tokens.new_zeros(len(tokens), length, tokens.shape[-1])
    return whole.scatter(1, places[..., None].expand_as(tokens), tokens)


def everywhere(tiles: int, length: int, device: torch.device) -> Tensor:
    """The places of all tokens, (T, length)."""
    return torch.arange(length, device=device).expand(tiles, length)
