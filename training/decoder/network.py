"""The decoder by itself: an enlarged image becomes a restored one, as faithful or as realistic as its dial says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varsr.model.dial_decoder import DETAIL_GAIN, HIGHEST_ESTIMATE, LOWEST_ESTIMATE, Adaptation, convolved_each

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
    rank: int = 48
    """Of the changes by which a degraded image is restored faithfully."""


class Kernel(nn.Module):
    """The weights of a convolution (D, C, 3, 3) by themselves."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach())


class Adapter(nn.Module):
    """A low-rank change of a convolution and its bias, which begins as none (LoRA; Hu et al. 2022)."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.down = Kernel(nn.Conv2d(inputs, min(rank, outputs), 3).weight)
        self.up = nn.Linear(min(rank, outputs), outputs)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Its part of a weight (D, C, 3, 3) and of a bias (D)."""
        return torch.einsum("dr,rchw->dchw", self.up.weight, self.down.weight), self.up.bias


class AdaptedConv(nn.Module):
    """A convolution of 3 x 3, changed by an adapter where an image is degraded and shall be restored faithfully."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, 3)
        assert conv.bias is not None
        self.weight, self.bias = conv.weight, conv.bias
        self.adapter = Adapter(inputs, outputs, rank)

    def forward(self, x: Tensor, adaptation: Adaptation, added: Tensor | None = None) -> Tensor:
        """(B, C, h, w) -> (B, D, h, w), with biases of each image (1 or B, D) added to the convolution's."""
        weights, biases = self.adapted(adaptation)
        return _convolved(x, weights, biases if added is None else biases + added)

    def adapted(self, adaptation: Adaptation) -> tuple[Tensor, Tensor]:
        """Weights (B, D, C, 3, 3) and biases (B, D) of each image; B = 1: of all."""
        weight, bias = self.adapter()
        return self.weight + _each(adaptation.faithful) * weight, self.bias + adaptation.faithful * bias


class ExpertConv(AdaptedConv):
    """With the weights of an expert too, for degraded images at any realism."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__(inputs, outputs, rank)
        self.expert = Kernel(torch.zeros_like(self.weight))

    def adapted(self, adaptation: Adaptation) -> tuple[Tensor, Tensor]:
        """As `AdaptedConv.adapted`."""
        weights, biases = super().adapted(adaptation)
        return weights + _each(adaptation.share) * self.expert.weight, biases


class Block(nn.Module):
    """Two convolutions beside an identity. The dial and the estimates bias what lies between them."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.conv1 = ExpertConv(config.width, config.width, config.rank)
        self.conv2 = ExpertConv(config.width, config.width, config.rank)
        self.dial = nn.Parameter(torch.zeros(config.width))
        self.condition = nn.Parameter(torch.zeros(config.width, config.estimates))
        for conv, gain in ((self.conv1, 1.0), (self.conv2, 0.1)):
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data *= gain
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor, realism: Tensor, adaptation: Adaptation) -> Tensor:
        """(B, C, h, w) and (B, 1, 1, 1) -> (B, C, h, w)."""
        added = realism.view(-1, 1) * self.dial + F.linear(adaptation.shared_estimates, self.condition)
        return x + self.conv2(F.silu(self.conv1(x, adaptation, added), inplace=True), adaptation)


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
        self.conv_in = AdaptedConv(3 * SCALE**2, config.width, config.rank)
        self.estimator = DegradationEstimator(config.estimates)
        self.router = nn.Linear(config.estimates, 1)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.conv_mid = AdaptedConv(config.width, config.width, config.rank)
        self.up1 = AdaptedConv(config.width, config.half, config.rank)
        self.up2 = AdaptedConv(config.half, config.full, config.rank)
        self.conv_out = AdaptedConv(config.full, 3, config.rank)
        nn.init.constant_(self.router.weight, ROUTER_WEIGHT)
        nn.init.constant_(self.router.bias, ROUTER_BIAS)
        self.conv_out.weight.data *= 0.1
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, enlarged: Tensor, realism: Tensor) -> Tensor:
        """(B, 3, 4h, 4w) in [0, 1] and (B, 1, 1, 1) in [0, 1] -> restored (B, 3, 4h, 4w)."""
        estimates = self.estimator(folded(enlarged))
        return self.restore(enlarged, realism, Adaptation.of(estimates, self.share(estimates), realism))

    def adapted_alike(self, enlarged: Tensor, realism: float) -> Adaptation:
        """The adaptation of images (B, 3, 4h, 4w) which share their weights: a third less time to learn from them."""
        estimates = self.estimator(folded(enlarged))
        return Adaptation.of(estimates, self.share(estimates).mean(0, keepdim=True), realism)

    def share(self, estimates: Tensor) -> Tensor:
        """Of the expert in the weights (B, 1), by the estimates (B, V)."""
        share: Tensor = self.router(estimates).sigmoid()
        return share

    def restore(self, enlarged: Tensor, realism: Tensor, adaptation: Adaptation) -> Tensor:
        """As `forward`, for a known adaptation."""
        x = first = self.conv_in(folded(enlarged), adaptation)
        for block in self.blocks:
            x = block(x, realism, adaptation)
        x = F.silu(first + self.conv_mid(x, adaptation), inplace=True)
        x = F.silu(self.up1(F.interpolate(x, scale_factor=2), adaptation), inplace=True)
        x = F.silu(self.up2(F.interpolate(x, scale_factor=2), adaptation), inplace=True)
        return enlarged + self.conv_out(x, adaptation)


def folded(enlarged: Tensor) -> Tensor:
    """(B, 3, 4h, 4w) in [0, 1] -> (B, 48, h, w) about zero."""
    return F.pixel_unshuffle(enlarged - 0.5, SCALE)


def load_weights(decoder: Decoder, weights: Mapping[str, Tensor]) -> None:
    """Load weights of other runs; what they lack, as those from before the estimator do, stays as it is."""
    decoder.load_state_dict({**decoder.state_dict(), **weights})


def _each(values: Tensor) -> Tensor:
    """Values of images (B, 1) as they multiply weights (D, C, 3, 3)."""
    return values[:, :, None, None, None]


def _convolved(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """Images (B, C, h, w) by weights (B, C, C, 3, 3) and biases (B, C), of both either one for each or one for all."""
    if len(weights) > 1:
        return convolved_each(x, weights, biases.expand(len(x), -1))
    if len(biases) == 1:
        return F.conv2d(x, weights[0], biases[0], padding=1)
    return F.conv2d(x, weights[0], padding=1) + biases[:, :, None, None]


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)
