"""Ways to compute less of a tile, none of which needs training; all of them change the picture a little.

By the last scales most of a picture is settled. There only the tokens that still change need to be computed (after
FastVAR, Guo et al. 2025, which prunes each layer; here a token that is left out adds nothing to the latent, as its
scale codes what the scales before it lack). Guidance is weak in the first scales, for it rises from none (SPEC 4):
there it can be left out. And in the last it need only be computed where the two labels disagree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from varsr.model.config import ModelConfig

THINNED_SCALES = 2  # the last ones


@dataclass(frozen=True)
class Shortcuts:
    """How much of a tile is computed.

    `kept` is the share of tokens in the last two scales, `guided` the share of these that are also predicted under
    the negative label in the last one, both above 0 and up to 1. `guided_scales` is how many of the last scales are
    guided at all, at least 2, so that the labels can be compared before the last one. `kept`, `guided_scales` and
    `corrector_steps` overrule the model's own.
    """

    kept: float | None = None
    guided: float = 1.0
    guided_scales: int | None = None
    corrector_steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("kept", "guided"):
            if (share := getattr(self, name)) is not None and not 0 < share <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1")
        for name in ("guided_scales", "corrector_steps"):
            if (value := getattr(self, name)) is not None and value < 2:
                raise ValueError(f"{name} must be at least 2")

    def disputed(self, positive: Tensor, negative: Tensor, side: int, places: Tensor) -> Tensor:
        """Which of `places` (T, K) in a map of `side` the labels see most differently, as indices into them.

        `positive` and `negative`, (T, l, C), are what the labels made of the scale before.
        """
        before = math.isqrt(positive.shape[1])
        dispute = (positive - negative).float().square().sum(-1).unflatten(1, (1, before, before))
        here = F.interpolate(dispute, size=(side, side), mode="nearest").flatten(1)
        return _highest(here.gather(1, places), math.ceil(self.guided * places.shape[1]))


EXACT = Shortcuts()


def fast(config: ModelConfig) -> Shortcuts:
    """What fast mode leaves out of a model, or the model by itself where that is more."""
    return Shortcuts(
        kept=min(0.3, config.kept),
        guided=0.5,
        guided_scales=min(3, config.guidance.scales or len(config.scales)),
        corrector_steps=min(5, config.corrector.steps),
    )


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
