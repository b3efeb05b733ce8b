"""The decoder by itself: an enlarged image becomes a restored one, as faithful or as realistic as its dial says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varsr.model.dial_decoder import DETAIL_GAIN, HIGHEST_ESTIMATE, LOWEST_ESTIMATE, Degradation, convolved_each

SCALE = 4
ROUTER_WEIGHT, ROUTER_BIAS = 4.0, -6.0
"""Shares of about 0.01 for images that are only reduced, 0.3 for mildly compressed, 0.99 for most compressed ones."""


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder."""

    width: int = 96
    """Channels at a quarter of the result's side, where nearly all of the work is done."""
    blocks: int = 16
    half: int = 48
    """Channels at half of the result's side."""
    full: int = 24
    """Channels at the result's side."""
    estimates: int = 3
    """Values that are estimated of an image's noise and compression."""
    experts: int = 1
    """Sets of weights of which these values add shares to those of the blocks."""


class Experts(nn.Module):
    """Weights of which an image's degradation adds shares to those of a convolution, at first none."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(experts * width, width, 3, 3))

    def added_to(self, weight: Tensor, shares: Tensor) -> Tensor:
        """(C, C, 3, 3) and (B, K) -> a weight for each image (B, C, C, 3, 3); B = 1: for all."""
        return weight + torch.einsum("bk,koihw->boihw", shares, self.weight.unflatten(0, (shares.shape[1], -1)))


class Block(nn.Module):
    """Two convolutions beside an identity. The dial biases what lies between them.

    Weights and biases, at first alike, become each image's own by its degradation: as much as the experts' shares say.
    """

    def __init__(self, width: int, estimates: int, experts: int) -> None:
        super().__init__()
        self.conv1 = _conv(width, width)
        self.conv2 = _conv(width, width)
        self.dial = nn.Parameter(torch.zeros(width))
        self.condition = nn.Parameter(torch.zeros(width, experts * estimates))
        self.experts1 = Experts(width, experts)
        self.experts2 = Experts(width, experts)
        for conv, gain in ((self.conv1, 1.0), (self.conv2, 0.1)):
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data *= gain
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor, realism: Tensor, degradation: Degradation) -> Tensor:
        """(B, C, h, w) and (B, 1, 1, 1) -> (B, C, h, w)."""
        assert self.conv1.bias is not None
        assert self.conv2.bias is not None
        shares, shared_estimates = degradation
        biases = self.conv1.bias + realism.view(-1, 1) * self.dial + F.linear(shared_estimates, self.condition)
        hidden = _convolved(x, self.experts1.added_to(self.conv1.weight, shares), biases)
        weights = self.experts2.added_to(self.conv2.weight, shares)
        return x + _convolved(F.silu(hidden, inplace=True), weights, self.conv2.bias[None])


class DegradationEstimator(nn.Module):
    """Estimates how an image is degraded from features of its finest detail, averaged over the image."""

    def __init__(self, estimates: int) -> None:
        super().__init__()
        self.conv1 = _conv(3 * SCALE**2, 32)
        self.conv2 = _conv(32, 64, stride=2)
        self.conv3 = _conv(64, 64, stride=2)
        self.out = nn.Linear(64, estimates)

    def forward(self, folded: Tensor) -> Tensor:
        """(B, 48, h, w) -> (B, V)."""
        detail = folded - F.avg_pool2d(folded, 3, 1, 1, count_include_pad=False)
        x = F.silu(self.conv1(DETAIL_GAIN * detail))
        x = F.silu(self.conv2(x))
        estimate: Tensor = self.out(F.silu(self.conv3(x)).float().mean((2, 3)))
        return estimate.clamp(LOWEST_ESTIMATE, HIGHEST_ESTIMATE)


class Decoder(nn.Module):
    """Residual blocks at a quarter of the result's side, then two doublings that repeat pixels and convolve.

    Repeated pixels rather than pixel shuffles: every phase of a shuffle has weights of its own, so that a
    checkerboard pattern on its grid is the cheapest texture for a GAN loss.
    """

    def __init__(self, config: DecoderConfig = DecoderConfig()) -> None:
        super().__init__()
        self.config = config
        self.conv_in = _conv(3 * SCALE**2, config.width)
        self.estimator = DegradationEstimator(config.estimates)
        self.router = nn.Linear(config.estimates, config.experts)
        self.blocks = nn.ModuleList(Block(config.width, config.estimates, config.experts) for _ in range(config.blocks))
        self.conv_mid = _conv(config.width, config.width)
        self.up1 = _conv(config.width, config.half)
        self.up2 = _conv(config.half, config.full)
        self.conv_out = _conv(config.full, 3)
        nn.init.constant_(self.router.weight, ROUTER_WEIGHT)
        nn.init.constant_(self.router.bias, ROUTER_BIAS)
        self.conv_out.weight.data *= 0.1
        assert self.conv_out.bias is not None
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, enlarged: Tensor, realism: Tensor) -> Tensor:
        """(B, 3, 4h, 4w) in [0, 1] and (B, 1, 1, 1) in [0, 1] -> restored (B, 3, 4h, 4w)."""
        estimates = self.estimator(folded(enlarged))
        return self.restore(enlarged, realism, Degradation.of(estimates, self.shares(estimates)))

    def degraded_alike(self, enlarged: Tensor) -> Degradation:
        """The degradation of images (B, 3, 4h, 4w) which share their weights: a third less time to learn from them."""
        estimates = self.estimator(folded(enlarged))
        return Degradation.of(estimates, self.shares(estimates).mean(0, keepdim=True))

    def shares(self, estimates: Tensor) -> Tensor:
        """Of the experts in the weights (B, K), by the estimates (B, V)."""
        shares: Tensor = self.router(estimates).sigmoid()
        return shares

    def restore(self, enlarged: Tensor, realism: Tensor, degradation: Degradation) -> Tensor:
        """As `forward`, for a known degradation."""
        x = first = self.conv_in(folded(enlarged))
        for block in self.blocks:
            x = block(x, realism, degradation)
        x = F.silu(first + self.conv_mid(x), inplace=True)
        x = F.silu(self.up1(F.interpolate(x, scale_factor=2)), inplace=True)
        x = F.silu(self.up2(F.interpolate(x, scale_factor=2)), inplace=True)
        return enlarged + self.conv_out(x)


def folded(enlarged: Tensor) -> Tensor:
    """(B, 3, 4h, 4w) in [0, 1] -> (B, 48, h, w) about zero."""
    return F.pixel_unshuffle(enlarged - 0.5, SCALE)


def load_weights(decoder: Decoder, weights: Mapping[str, Tensor]) -> None:
    """Load weights of other runs; what they lack, as those from before the estimator do, stays as it is."""
    decoder.load_state_dict({**decoder.state_dict(), **weights})


def _convolved(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """Images (B, C, h, w) by weights (B, C, C, 3, 3) and biases (B, C), of both either one for each or one for all."""
    if len(weights) > 1:
        return convolved_each(x, weights, biases.expand(len(x), -1))
    if len(biases) == 1:
        return F.conv2d(x, weights[0], biases[0], padding=1)
    return F.conv2d(x, weights[0], padding=1) + biases[:, :, None, None]


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)
