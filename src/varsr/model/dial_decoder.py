"""A decoder with a realism dial: it restores the upsampled input by itself, and the latent joins it half-way.

All work is done at a quarter of the side. Pixels are repeated and convolved on the way out, not shuffled: every phase
of a shuffle has weights of its own, so that a checkerboard pattern on its grid is the cheapest texture for a GAN loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varsr.model.config import DialConfig, TokenizerConfig
from varsr.model.layers import Conv2d, Linear

FOLD = 4  # pixels along the side of a square that is folded into channels
DETAIL_GAIN = 8.0
"""Of what the estimator sees: noise and blocks are small beside the image that they lie on."""
LOWEST_ESTIMATE, HIGHEST_ESTIMATE = -1.0, 2.0
"""Images of training have estimates of about 0 to 1."""


class DegradationEstimator(nn.Module):
    """Estimates how an image is degraded, by noise, by compression or otherwise, from its finest detail.

    Features are averaged over the image. The values have no units: they are what the blocks learned to adapt to.
    They are bounded, so that an image unlike any of training changes the blocks little more than those did.
    """

    def __init__(self, estimates: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(3 * FOLD**2, 32)
        self.conv2 = Conv2d(32, 64, stride=2)
        self.conv3 = Conv2d(64, 64, stride=2)
        self.out = Linear(64, estimates)

    def forward(self, folded: Tensor) -> Tensor:
        """(B, 48, h, w) -> (B, V)."""
        detail = folded - F.avg_pool2d(folded, 3, 1, 1, count_include_pad=False)
        x = F.silu(self.conv1(detail.mul_(DETAIL_GAIN)), inplace=True)
        x = F.silu(self.conv2(x), inplace=True)
        estimate: Tensor = self.out(F.silu(self.conv3(x), inplace=True).mean((2, 3)))
        return estimate.clamp(LOWEST_ESTIMATE, HIGHEST_ESTIMATE)


class Degradation(NamedTuple):
    """The estimates of images as the blocks use them."""

    shares: Tensor
    """Of each expert (B, K), in [0, 1]."""
    shared_estimates: Tensor
    """The estimates times each share (B, K V)."""

    @classmethod
    def of(cls, estimates: Tensor, shares: Tensor) -> Degradation:
        """From estimates (B, V) and shares (B, K)."""
        return cls(shares, (shares[:, :, None] * estimates[:, None]).flatten(1))


class Experts(nn.Module):
    """Weights of which an image's degradation adds shares to those of a convolution (CondConv; Yang et al. 2019)."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts * width, width, 3, 3))

    def added_to(self, weight: Tensor, shares: Tensor) -> Tensor:
        """(C, C, 3, 3) and (B, K) -> a weight for each image (B, C, C, 3, 3), in the type of the shares."""
        experts = self.weight.float().unflatten(0, (shares.shape[1], -1))
        return (weight.float() + torch.einsum("bk,koihw->boihw", shares.float(), experts)).to(shares.dtype)


class DialBlock(nn.Module):
    """Two convolutions beside an identity. The dial is a learned bias between them, folded into the first one's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(width, width)
        self.conv2 = Conv2d(width, width)
        self.dial = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor, realism: float, _degradation: Degradation | None) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w), whatever the degradation."""
        bias = self.conv1.bias + realism * self.dial
        hidden = F.conv2d(x, self.conv1.weight.to(x.dtype), bias.to(x.dtype), padding=1)
        changed: Tensor = self.conv2(F.silu(hidden, inplace=True))
        return changed.add_(x)


class AdaptiveBlock(DialBlock):
    """A block whose weights and biases are each image's own: what its degradation makes of them."""

    def __init__(self, width: int, estimates: int, experts: int) -> None:
        super().__init__(width)
        self.condition = nn.Parameter(torch.empty(width, experts * estimates))
        self.experts1 = Experts(width, experts)
        self.experts2 = Experts(width, experts)

    def forward(self, x: Tensor, realism: float, degradation: Degradation | None) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        assert degradation is not None
        bias = self.conv1.bias + realism * self.dial + F.linear(degradation.shared_estimates, self.condition)
        hidden = convolved_each(x, self.experts1.added_to(self.conv1.weight, degradation.shares), bias)
        weights = self.experts2.added_to(self.conv2.weight, degradation.shares)
        return convolved_each(F.silu(hidden, inplace=True), weights, self.conv2.bias.expand(len(x), -1)).add_(x)


def convolved_each(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """Images (B, C, h, w), each by its own weight (B, C, C, 3, 3) and bias (B, C)."""
    images = zip(x.split(1), weights, biases.to(x.dtype), strict=True)
    convolved = [F.conv2d(image, weight, bias, padding=1) for image, weight, bias in images]
    return torch.cat(convolved) if len(convolved) > 1 else convolved[0]  # a window alone needs no copy


class LatentPath(nn.Module):
    """The latent at the resolution of the blocks, through a gate that is zero before it is trained."""

    def __init__(self, channels: int, width: int, doublings: int) -> None:
        super().__init__()
        self.conv_in = Conv2d(channels, width)
        self.doublings = nn.ModuleList(Conv2d(width, width) for _ in range(doublings))
        self.gate = nn.Parameter(torch.empty(width))

    def forward(self, latent: Tensor) -> Tensor:
        """(B, Z, P, P) -> (B, C, h, w)."""
        x = F.silu(self.conv_in(latent), inplace=True)
        for conv in self.doublings:
            x = F.silu(conv(F.interpolate(x, scale_factor=2)), inplace=True)
        return x * self.gate.to(x.dtype).view(1, -1, 1, 1)


class DialDecoder(nn.Module):
    """The upsampled input and the latent to pixels, at a realism from 0, faithful, to 1, realistic."""

    def __init__(self, config: DialConfig, tokenizer: TokenizerConfig) -> None:
        super().__init__()
        self.join = config.join
        self.conv_in = Conv2d(3 * FOLD**2, config.width)
        self.estimator = DegradationEstimator(config.estimates) if config.estimates else None
        self.router = Linear(config.estimates, config.experts) if config.estimates and config.experts else None
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.blocks))
        self.latent = LatentPath(tokenizer.channels, config.width, (tokenizer.stride // FOLD).bit_length() - 1)
        self.conv_mid = Conv2d(config.width, config.width)
        self.up1 = Conv2d(config.width, config.half)
        self.up2 = Conv2d(config.half, config.full)
        self.conv_out = Conv2d(config.full, 3)

    def forward(self, latent: Tensor, upsampled: Tensor, realism: float) -> Tensor:
        """(B, Z, P, P) with its upsampled input (B, 3, H, W) in [-1, 1] -> pixels (B, 3, H, W) in [-1, 1]."""
        folded = F.pixel_unshuffle(upsampled, FOLD).contiguous(memory_format=torch.channels_last)
        degradation = self._degradation(folded)
        x = first = self.conv_in(folded)
        for number, block in enumerate(cast("Iterable[DialBlock]", self.blocks)):
            if number == self.join:
                x = x + self.latent(latent.contiguous(memory_format=torch.channels_last))
            x = block(x, realism, degradation)
        x = F.silu(self.conv_mid(x).add_(first), inplace=True)
        x = F.silu(self.up1(F.interpolate(x, scale_factor=2)), inplace=True)
        x = F.silu(self.up2(F.interpolate(x, scale_factor=2)), inplace=True)
        pixels: Tensor = self.conv_out(x)
        return pixels.add_(upsampled).clamp_(-1, 1)

    def _degradation(self, folded: Tensor) -> Degradation | None:
        if self.estimator is None or self.router is None:
            return None
        estimate = self.estimator(folded)
        return Degradation.of(estimate, self.router(estimate).sigmoid())


def _block(config: DialConfig) -> DialBlock:
    if config.estimates and config.experts:
        return AdaptiveBlock(config.width, config.estimates, config.experts)
    return DialBlock(config.width)
