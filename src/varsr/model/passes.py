"""The passes of classifier-free guidance through the transformer, and the guidance interval.

Before the interval begins, only the positive label is run. At its first scale the negative one goes on from what the
positive one has seen. In the last scale the negative label may be run for a share of the tokens only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from varsr.model import guidance
from varsr.model.inference import InferenceConfig
from varsr.model.pruning import Selection, disagreeing, gather
from varsr.model.transformer import Transformer


@dataclass(frozen=True)
class Conditions:
    """The conditions that T tiles are predicted from."""

    prefix: Tensor
    """(T, P P, C); of a model without a prefix (T, 0, C)."""
    labels: Tensor
    """The positive label of each tile, (T)."""


class LabelPasses:
    """Runs the scales of T tiles under 1 or 2 labels, and keeps the cache of their keys and values."""

    def __init__(self, transformer: Transformer, inference: InferenceConfig, conditions: Conditions) -> None:
        """Make ready for the T tiles of some conditions."""
        self._transformer = transformer
        self._inference = inference
        self._prefix = conditions.prefix
        self._tiles = len(conditions.prefix)
        self._last_scale = len(transformer.config.scales) - 1
        self._all_labels = guidance.labels(conditions.labels, transformer.config, inference.guidance_scale)
        self._first_guided = guidance.first_scale(inference.guided_scales, len(transformer.config.scales))
        self._labels = self._all_labels[:1] if self._first_guided else self._all_labels
        self._all_cache = transformer.new_cache(self._all_labels.numel(), conditions.prefix)
        self._cache = self._all_cache.of_rows(0, self._labels.numel())
        self._before = conditions.prefix  # all hidden states of the scale before, (G T, L, C)

    def embed_first(self) -> Tensor:
        """The input of the first scale, (G T, P P + 1, C)."""
        return self._transformer.embed_prefix(self._prefix, self._labels)

    def embed(self, vectors: Tensor, scale: int) -> Tensor:
        """Latent vectors (T, K, Z) -> input of a later scale, (G T, K, C)."""
        if scale == self._first_guided and len(self._labels) < len(self._all_labels):
            self._all_cache.follow(self._cache)
            self._labels, self._cache = self._all_labels, self._all_cache
        return self._transformer.embed_scale(vectors, scale, len(self._labels))

    def run(self, x: Tensor, scale: int, selection: Selection) -> Tensor:
        """Input of a scale (G T, K, C) -> hidden states (G, T, K, C)."""
        if self._is_half_guided(scale):
            hidden = self._run_half_guided(x, selection)
        else:
            hidden = self._transformer.stage(x, self._labels, scale, self._cache, selection.positions)
        self._before = selection.scatter(hidden)
        return rearrange(hidden, "(g t) k c -> g t k c", t=self._tiles)

    def guided_logits(self, hidden: Tensor, scale: int) -> Tensor:
        """Hidden states (G, T, K, C) -> logits (T, K, V)."""
        # The head is linear, so guidance may come before it: one projection instead of two.
        weight = guidance.scale_at(self._inference.guidance_scale, scale, self._transformer.config)
        logits: Tensor = self._transformer.head(
            guidance.guide(self._transformer.head_input(hidden, self._labels), weight)
        )
        return logits.float()

    def _is_half_guided(self, scale: int) -> bool:
        return scale == self._last_scale and self._inference.guided_tokens < 1 and len(self._labels) > 1

    def _run_half_guided(self, x: Tensor, selection: Selection) -> Tensor:
        """The last scale, under the negative label only where the labels differed most in the one before.

        Elsewhere they are taken to agree: the hidden state of the positive label stands for both.
        """
        tiles, scale, stage = self._tiles, self._last_scale, self._transformer.stage
        side = self._transformer.config.scales[scale]
        positions = selection.all_positions(tiles, x.device)
        positive = stage(x[:tiles], self._labels[:1], scale, self._cache.of_rows(0, tiles), positions)
        before = self._before
        chosen = disagreeing(before[:tiles], before[tiles:], side, positions, self._inference.guided_tokens)
        negative = stage(
            gather(x[tiles:], chosen),
            self._labels[1:],
            scale,
            self._cache.of_rows(tiles, 2 * tiles),
            positions.gather(1, chosen),
        )
        index = chosen[..., None].expand_as(negative)
        return torch.cat((positive, positive.scatter(1, index, negative)))
