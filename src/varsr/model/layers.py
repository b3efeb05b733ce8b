"""Linear and convolution layers whose weights may be narrower than the arithmetic.

A processor without bfloat16 instructions computes in float32 but need not hold the weights so: they are
widened, exactly, as they are used. Where both types are the same nothing is converted.
"""

from __future__ import annotations

import threading

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varsr.model.config import NORM_GROUPS

NORM_EPSILON = 1e-6


class _Scratch(threading.local):
    """One buffer a thread for widened weights; fresh memory for each would cost ten times the conversion."""

    def __init__(self) -> None:
        self.buffer = torch.empty(0)

    def widen(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """`weight` in `dtype`, valid until the next call in this thread."""
        if self.buffer.numel() < weight.numel() or self.buffer.dtype != dtype:
            with torch.inference_mode(False):  # a buffer made in that mode could not be written to outside of it
                self.buffer = torch.empty(weight.numel(), dtype=dtype)
        return self.buffer[: weight.numel()].view(weight.shape).copy_(weight)


_scratch = _Scratch()


def _as(parameter: Tensor, like: Tensor) -> Tensor:
    """The parameter in the type of the activations it meets."""
    if parameter.dtype == like.dtype:
        return parameter
    if parameter.device.type == "cpu" and parameter.dim() == 2:
        return _scratch.widen(parameter, like.dtype)
    return parameter.to(like.dtype)


class Linear(nn.Module):
    """y = x W^T + b, computed in the type of x."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return F.linear(x, _as(self.weight, x), self.bias.to(x.dtype))


class Conv2d(nn.Module):
    """A square convolution, zero-padded by `padding`, computed in the type of x."""

    def __init__(self, inputs: int, outputs: int, side: int = 3, stride: int = 1, padding: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.stride = stride
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        return F.conv2d(x, _as(self.weight, x), self.bias.to(x.dtype), self.stride, self.padding)


class LayerNorm(nn.Module):
    """Layer normalization over the last dimension with learned scale and shift."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., width)."""
        return F.layer_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.bias.to(x.dtype), NORM_EPSILON)


class GroupNorm(nn.Module):
    """Group normalization with 32 groups."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> (B, width, H, W)."""
        if x.device.type == "cuda":
            return self.by_moments(x)
        return F.group_norm(x, NORM_GROUPS, self.weight.to(x.dtype), self.bias.to(x.dtype), NORM_EPSILON)

    def by_moments(self, x: Tensor) -> Tensor:
        """The same from sums and squares of each channel, which leaves maps in the order of memory that they have.

        PyTorch's kernel for CUDA turns channels-last maps around, and the convolution after it turns them back.
        """
        size = x.shape[1] // NORM_GROUPS * x.shape[2] * x.shape[3]

        def mean(sums: Tensor) -> Tensor:  # (B, C) -> (B, groups, 1)
            return sums.unflatten(1, (NORM_GROUPS, -1)).sum(-1, keepdim=True) / size

        first = mean(x.sum((2, 3), dtype=torch.float32))
        second = mean(torch.linalg.vector_norm(x, dim=(2, 3), dtype=torch.float32).square())
        scale = self.weight.float().view(NORM_GROUPS, -1) * (second - first.square() + NORM_EPSILON).rsqrt()
        shift = self.bias.float().view(NORM_GROUPS, -1) - first * scale
        scale, shift = (values.flatten(1)[..., None, None].to(x.dtype) for values in (scale, shift))
        return torch.addcmul(shift, x, scale)


def modulated_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Adaptive layer normalization: LN(x) (1 + scale) + shift, LN without learned parameters."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON), 1 + scale)
