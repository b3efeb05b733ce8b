"""How near a result is to the truth."""

from __future__ import annotations

import torch
from torch import Tensor


def luma(x: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1] -> the Y of BT.601 in [0, 1], (B, H, W)."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=x.device)
    return ((x.float() + 1) / 2 * weights[:, None, None]).sum(1)


def psnr_y(result: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of the luma in decibels, (B)."""
    error = (luma(result.clamp(-1, 1)) - luma(truth)).square().mean((1, 2))
    return -10 * torch.log10(error.clamp(min=1e-10))
