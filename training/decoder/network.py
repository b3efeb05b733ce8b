"""The decoder by itself: an enlarged image becomes a restored one, as faithful or as realistic as its dial says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varsr.model.dial_decoder import DETAIL_GAIN, HIGHEST_ESTIMATE, LOWEST_ESTIMATE

SCALE = 4


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
    """Values that are estimated of an image's compression, by which the blocks are biased."""
    experts: int = 1
    """Sets of weights of which an image's degradation adds shares to those of the blocks from `join` on."""
    join: int = 8
    """The block before which the latent of tokens will join."""


class Experts(nn.Module):
    """Weights of which an image's degradation adds shares to those of a convolution, at first none."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(experts * width, width, 3, 3))

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        """Convolve images, each with its shares of these weights: (B, C, h, w) and (B, K) -> (B, C, h, w)."""
        each = F.conv2d(x, self.weight, padding=1).unflatten(1, (shares.shape[1], -1))
        return (each * shares.to(each.dtype)[:, :, None, None, None]).sum(1)


class Block(nn.Module):
    """Two convolutions beside an identity. The dial and the estimated degradation bias what lies between them.

    With experts, each image has convolutions of its own: shares of the experts are added to the weights.
    """

    def __init__(self, width: int, estimates: int, experts: int) -> None:
        super().__init__()
        self.conv1 = _conv(width, width)
        self.conv2 = _conv(width, width)
        self.dial = nn.Parameter(torch.zeros(width))
        self.condition = nn.Parameter(torch.zeros(width, estimates))
        self.experts1 = Experts(width, experts) if experts else None
        self.experts2 = Experts(width, experts) if experts else None
        for conv, gain in ((self.conv1, 1.0), (self.conv2, 0.1)):
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data *= gain
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor, realism: Tensor, estimate: Tensor, shares: Tensor) -> Tensor:
        """(B, C, h, w), (B, 1, 1, 1), (B, V) and (B, K) -> (B, C, h, w)."""
        bias = realism * self.dial.view(1, -1, 1, 1) + F.linear(estimate, self.condition)[:, :, None, None]
        hidden = _convolved(x, self.conv1, self.experts1, shares) + bias.to(x.dtype)
        return x + _convolved(F.silu(hidden, inplace=True), self.conv2, self.experts2, shares)


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
        self.blocks = nn.ModuleList(
            Block(config.width, config.estimates, config.experts if number >= config.join else 0)
            for number in range(config.blocks)
        )
        self.conv_mid = _conv(config.width, config.width)
        self.up1 = _conv(config.width, config.half)
        self.up2 = _conv(config.half, config.full)
        self.conv_out = _conv(config.full, 3)
        nn.init.constant_(self.router.weight, 3.0)
        nn.init.constant_(self.router.bias, -3.5)  # the share of an image that is only reduced is small then
        self.conv_out.weight.data *= 0.1
        assert self.conv_out.bias is not None
        nn.init.zeros_(self.conv_out.bias)

    def estimate(self, enlarged: Tensor) -> Tensor:
        """The degradation (B, V) of enlarged images (B, 3, 4h, 4w) in [0, 1]."""
        estimate: Tensor = self.estimator(folded(enlarged))
        return estimate

    def forward(self, enlarged: Tensor, realism: Tensor) -> Tensor:
        """(B, 3, 4h, 4w) in [0, 1] and (B, 1, 1, 1) in [0, 1] -> restored (B, 3, 4h, 4w)."""
        squares = folded(enlarged)
        estimate = self.estimator(squares)
        shares = self.router(estimate).sigmoid()
        x = first = self.conv_in(squares)
        for block in self.blocks:
            x = block(x, realism, estimate, shares)
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


def _convolved(x: Tensor, conv: nn.Conv2d, experts: Experts | None, shares: Tensor) -> Tensor:
    convolved: Tensor = conv(x)
    return convolved if experts is None else convolved + experts(x, shares)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)
