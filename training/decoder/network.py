"""The decoder by itself: an enlarged image becomes a restored one, as faithful or as realistic as its dial says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varsr.model.dial_decoder import (
    DETAIL_GAIN,
    HIGHEST_ESTIMATE,
    LOWEST_ESTIMATE,
    Adaptation,
    AdaptedConv,
    DialBlock,
)

Conv = TypeVar("Conv", bound=AdaptedConv)

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
        self.conv_in = begun(AdaptedConv(3 * SCALE**2, config.width, config.rank))
        self.estimator = DegradationEstimator(config.estimates)
        self.router = nn.Linear(config.estimates, 1)
        self.blocks = nn.ModuleList(
            begun_block(DialBlock(config.width, config.estimates, config.rank)) for _ in range(config.blocks)
        )
        self.conv_mid = begun(AdaptedConv(config.width, config.width, config.rank))
        self.up1 = begun(AdaptedConv(config.width, config.half, config.rank))
        self.up2 = begun(AdaptedConv(config.half, config.full, config.rank))
        self.conv_out = begun(AdaptedConv(config.full, 3, config.rank))
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
            x = block(x, realism.view(-1, 1), adaptation)
        x = F.silu(first + self.conv_mid(x, adaptation), inplace=True)
        x = F.silu(self.up1(F.interpolate(x, scale_factor=2), adaptation), inplace=True)
        x = F.silu(self.up2(F.interpolate(x, scale_factor=2), adaptation), inplace=True)
        return enlarged + self.conv_out(x, adaptation)


def begun(conv: Conv) -> Conv:
    """A convolution as PyTorch begins one, with an adapter and an expert that add nothing."""
    outputs, inputs = conv.weight.shape[:2]
    plain, down = (nn.Conv2d(inputs, count, 3) for count in (outputs, len(conv.adapter.down.weight)))
    nothing = {name: torch.zeros_like(values) for name, values in conv.state_dict().items()}
    begin = {"weight": plain.weight, "bias": plain.bias, "adapter.down.weight": down.weight}
    conv.load_state_dict(nothing | begin)
    return conv


def begun_block(block: DialBlock) -> DialBlock:
    """A block that adds little to what it is given, whatever the realism and the estimates."""
    for conv, gain in ((begun(block.conv1), 1.0), (begun(block.conv2), 0.1)):
        nn.init.kaiming_normal_(conv.weight)
        conv.weight.data *= gain
        nn.init.zeros_(conv.bias)
    nn.init.zeros_(block.dial)
    nn.init.zeros_(block.condition)
    return block


def folded(enlarged: Tensor) -> Tensor:
    """(B, 3, 4h, 4w) in [0, 1] -> (B, 48, h, w) about zero."""
    return F.pixel_unshuffle(enlarged - 0.5, SCALE)


def load_weights(decoder: Decoder, weights: Mapping[str, Tensor]) -> None:
    """Load weights of other runs; what they lack, as those from before the estimator do, stays as it is."""
    decoder.load_state_dict({**decoder.state_dict(), **weights})


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)
