"""Filters that several metrics share, on float64 tensors (B, 1, H, W)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_line(side: int, deviation: float) -> Tensor:
    """A normalized Gaussian (side), float64."""
    line = torch.exp(-0.5 * ((torch.arange(side, dtype=torch.float64) - side // 2) / deviation) ** 2)
    return line / line.sum()


def separable(x: Tensor, line: Tensor) -> Tensor:
    """`x` convolved with a symmetric line along both axes, where it lies within `x`."""
    return F.conv2d(F.conv2d(x, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))


def halved(x: Tensor) -> Tensor:
    """The means of squares of 2 x 2 px. Sides that are odd get a row and a column of zeros."""
    odd = max(x.shape[2] % 2, x.shape[3] % 2)
    return F.avg_pool2d(F.pad(x, (0, odd, 0, odd)), 2)


def gradient(x: Tensor) -> Tensor:
    """The magnitude of the Prewitt gradient, with zeros around `x`."""
    kernel = torch.tensor([[-1.0, 0.0, 1.0]] * 3, dtype=x.dtype) / 3
    return F.conv2d(x, torch.stack((kernel, kernel.T))[:, None], padding=1).square().sum(1, keepdim=True).sqrt()


def similarity(a: Tensor, b: Tensor, constant: float) -> Tensor:
    """1 where two maps are equal, less where they differ; `constant` decides from which magnitude on they count."""
    return (2 * a * b + constant) / (a**2 + b**2 + constant)
