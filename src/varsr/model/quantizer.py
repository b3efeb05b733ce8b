"""The multi-scale residual quantizer: a latent as a pyramid of token maps.

The latent is the sum of what its scales add: the codes of a scale, upsampled bicubically and refined by
a convolution (phi). Its arithmetic is always float32: it is small and decides which token is nearest.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from varsr.model.config import ModelConfig
from varsr.model.layers import Conv2d


class Quantizer(nn.Module):
    """Codebook and refinements of a model's scales."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        tokenizer = config.tokenizer
        self.scales = config.scales
        self.codebook = nn.Parameter(torch.empty(tokenizer.codes, tokenizer.channels))
        self.refinements = nn.ModuleList(
            Conv2d(tokenizer.channels, tokenizer.channels) for _ in range(tokenizer.refinements)
        )
        self.refinement_of_scale = [
            _nearest_tick(k / (len(self.scales) - 1), tokenizer.refinements) for k in range(len(self.scales))
        ]

    def codes(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L) -> their codes (B, L, Z)."""
        return F.embedding(tokens, self.codebook)

    def expected_codes(self, logits: Tensor) -> Tensor:
        """The mean code under the probabilities of logits (B, L, V): (B, L, Z)."""
        return logits.softmax(-1) @ self.codebook

    def vectors(self, tokens: Tensor, logits: Tensor, fidelity: float) -> Tensor:
        """The codes (B, L, Z) of tokens, or by `fidelity` up to 1 the expected ones under their logits (B, L, V)."""
        codes = self.codes(tokens)
        return codes.lerp(self.expected_codes(logits), fidelity) if fidelity else codes

    def contribution(self, vectors: Tensor, scale: int) -> Tensor:
        """The part of the latent (B, Z, P, P) that the vectors (B, p p, Z) of a scale add."""
        last = self.scales[-1]
        h = rearrange(vectors, "b (h w) z -> b z h w", h=self.scales[scale])
        if scale == len(self.scales) - 1:
            return h
        h = F.interpolate(h, size=(last, last), mode="bicubic")
        refined: Tensor = self.refinements[self.refinement_of_scale[scale]](h)
        return 0.5 * h + 0.5 * refined

    def at_scale(self, latent: Tensor, scale: int) -> Tensor:
        """The latent (B, Z, P, P), averaged over areas to the side of a scale, row by row: (B, p p, Z)."""
        side = self.scales[scale]
        return rearrange(F.interpolate(latent, size=(side, side), mode="area"), "b z h w -> b (h w) z")

    def encode(self, latent: Tensor) -> tuple[list[Tensor], Tensor]:
        """A latent (B, Z, P, P) -> the nearest tokens of every scale, [(B, p p)], and what they decode to."""
        steps = list(self.approach(latent))
        return [tokens for tokens, _ in steps], steps[-1][1]

    def approach(self, latent: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Scale by scale, the tokens (B, p p) nearest to what is left of a latent and the latent so far."""
        rest = latent.float()
        total = torch.zeros_like(rest)
        for scale in range(len(self.scales)):
            vectors = self.at_scale(rest, scale)
            distances = self.codebook.square().sum(1) - 2 * vectors @ self.codebook.T  # |v|^2 is the same for all
            tokens = distances.argmin(-1)
            added = self.contribution(self.codes(tokens), scale)
            total, rest = total + added, rest - added
            yield tokens, total


def _nearest_tick(position: float, count: int) -> int:
    """Index of the tick nearest to `position`; ticks stand evenly from 1/(3 count) to 1 - 1/(3 count)."""
    margin = 1 / (3 * count)
    ticks = np.linspace(margin, 1 - margin, count)
    return int(np.abs(ticks - position).argmin())
