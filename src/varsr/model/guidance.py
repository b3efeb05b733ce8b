"""Classifier-free guidance: away from what the negative label predicts.

Of a super-resolution model that is the label of low quality, of a class-to-image model that of no class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from varsr.model.config import ModelConfig

POSITIVE, NEGATIVE = 0, 1
"""Rows of guidance; of a super-resolution model its labels too."""


def labels(positive: Tensor, config: ModelConfig, guidance_scale: float) -> Tensor:
    """Positive labels (T) -> all labels to run, (G, T).

    Without guidance the negative pass would be multiplied by zero, so it is left out.
    """
    if not guidance_scale:
        return positive[None]
    return torch.stack((positive, torch.full_like(positive, config.labels - 1)))


def first_scale(guided: int, scales: int) -> int:
    """The first of so many scales that is predicted under both labels, where the last `guided` are."""
    return max(0, scales - guided)


def scale_at(guidance_scale: float, scale: int, config: ModelConfig) -> float:
    """The guidance scale at a scale of a model: it rises linearly (`ModelConfig.guides_first_scale`)."""
    return guidance_scale * (scale + config.guides_first_scale) / (len(config.scales) - 1)


def guide(groups: Tensor, weight: float) -> Tensor:
    """(G, ...) positive and negative values -> (1 + w) positive - w negative, (...)."""
    if len(groups) == 1:
        return groups[0]
    return (1 + weight) * groups[POSITIVE] - weight * groups[NEGATIVE]
