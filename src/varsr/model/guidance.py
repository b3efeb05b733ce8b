"""Image-based classifier-free guidance (SPEC 4): away from what the low-quality label predicts."""

from __future__ import annotations

import torch
from torch import Tensor

POSITIVE, NEGATIVE = 0, 1


def labels(strength: float, device: torch.device) -> Tensor:
    """The labels to run: without guidance the negative rows would be multiplied by zero, so none are made."""
    return torch.arange(2 if strength else 1, device=device)  # POSITIVE, NEGATIVE


def first_scale(guided: int, scales: int) -> int:
    """The first of so many scales that is predicted under both labels, where the last `guided` are."""
    return max(0, scales - guided)


def strength_at(strength: float, scale: int, scales: int) -> float:
    """Strength at a scale: it rises in equal steps from none at the first to all at the last."""
    return strength * scale / (scales - 1)


def guide(groups: Tensor, strength: float) -> Tensor:
    """(G, ...) positive and negative values -> (1 + t) positive - t negative, (...)."""
    if len(groups) == 1:
        return groups[0]
    return (1 + strength) * groups[POSITIVE] - strength * groups[NEGATIVE]
