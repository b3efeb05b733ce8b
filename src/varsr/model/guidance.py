"""Image-based classifier-free guidance: away from what the low-quality label predicts."""

from __future__ import annotations

import torch
from torch import Tensor

POSITIVE, NEGATIVE = 0, 1


def labels(guidance_scale: float, device: torch.device) -> Tensor:
    """The labels to run: without guidance the negative pass would be multiplied by zero, so it is left out."""
    return torch.arange(2 if guidance_scale else 1, device=device)  # POSITIVE, NEGATIVE


def first_scale(guided: int, scales: int) -> int:
    """The first of so many scales that is predicted under both labels, where the last `guided` are."""
    return max(0, scales - guided)


def scale_at(guidance_scale: float, scale: int, scales: int) -> float:
    """The guidance scale at one of so many scales: it rises linearly from 0 at the first."""
    return guidance_scale * scale / (scales - 1)


def guide(groups: Tensor, weight: float) -> Tensor:
    """(G, ...) positive and negative values -> (1 + w) positive - w negative, (...)."""
    if len(groups) == 1:
        return groups[0]
    return (1 + weight) * groups[POSITIVE] - weight * groups[NEGATIVE]
