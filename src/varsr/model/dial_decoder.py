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
ADAPTED_BELOW = 0.9
"""Realism at which the adapters are off; towards 0 they come in evenly."""


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


class Adaptation(NamedTuple):
    """The estimates of images and the realism as the convolutions use them."""

    share: Tensor
    """Of the expert (B, 1), in [0, 1]."""
    shared_estimates: Tensor
    """The estimates times the share (B, V)."""
    faithful: Tensor | None
    """Share of the adapters (B, 1), in [0, 1]; None where none is on."""

    @classmethod
    def of(cls, estimates: Tensor, share: Tensor, realism: Tensor | float) -> Adaptation:
        """From estimates (B, V), shares (B, 1) and a realism (B, 1, 1, 1) or of all."""
        lacking = torch.as_tensor(1 - realism / ADAPTED_BELOW).clamp(min=0).view(-1, 1)
        return cls(share, share * estimates, share * lacking.to(share) if lacking.any() else None)


class Kernel(nn.Module):
    """The weights of a convolution (D, C, 3, 3) by themselves."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))


class Adapter(nn.Module):
    """A low-rank change of a convolution and its bias (LoRA; Hu et al. 2022)."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.down = Kernel(inputs, min(rank, outputs))
        self.up = Linear(min(rank, outputs), outputs)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Its part of a weight (D, C, 3, 3) and of a bias (D), in float32."""
        return torch.einsum("dr,rchw->dchw", self.up.weight.float(), self.down.weight.float()), self.up.bias.float()


class AdaptedConv(nn.Module):
    """A convolution of 3 x 3, changed by an adapter where an image is degraded and shall be restored faithfully."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.adapter = Adapter(inputs, outputs, rank)

    def forward(self, x: Tensor, adaptation: Adaptation, added: Tensor | None = None) -> Tensor:
        """(B, C, h, w) -> (B, D, h, w), with biases of each image (1 or B, D) added to the convolution's."""
        weights, biases = self.adapted(adaptation)
        return convolved(x, weights.to(x.dtype), biases if added is None else biases + added)

    def adapted(self, adaptation: Adaptation) -> tuple[Tensor, Tensor]:
        """Weights (B, D, C, 3, 3) and biases (B, D) of each image; B = 1: of all."""
        if adaptation.faithful is None:
            return self.weight[None], self.bias[None]
        weight, bias = self.adapter()
        return self.weight + _each(adaptation.faithful) * weight, self.bias + adaptation.faithful * bias


class ExpertConv(AdaptedConv):
    """With the weights of an expert too, for degraded images at any realism (CondConv; Yang et al. 2019)."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__(inputs, outputs, rank)
        self.expert = Kernel(inputs, outputs)

    def adapted(self, adaptation: Adaptation) -> tuple[Tensor, Tensor]:
        """As `AdaptedConv.adapted`."""
        weights, biases = super().adapted(adaptation)
        return weights + _each(adaptation.share) * self.expert.weight, biases


class DialBlock(nn.Module):
    """Two convolutions beside an identity. The dial and the estimates bias what lies between them."""

    def __init__(self, width: int, estimates: int, rank: int) -> None:
        super().__init__()
        self.conv1 = ExpertConv(width, width, rank)
        self.conv2 = ExpertConv(width, width, rank)
        self.dial = nn.Parameter(torch.empty(width))
        self.condition = nn.Parameter(torch.empty(width, estimates))

    def forward(self, x: Tensor, realism: Tensor | float, adaptation: Adaptation) -> Tensor:
        """(B, C, h, w), at a realism of each (B, 1) or of all, -> (B, C, h, w)."""
        added = realism * self.dial + F.linear(adaptation.shared_estimates, self.condition.float())
        return self.conv2(F.silu(self.conv1(x, adaptation, added), inplace=True), adaptation).add_(x)


def _each(values: Tensor) -> Tensor:
    """Values of images (B, 1) as they multiply weights (D, C, 3, 3)."""
    return values[:, :, None, None, None]


def convolved(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """Images (B, C, h, w) by weights (B, D, C, 3, 3) and biases (B, D), of both either one for each or one for all."""
    if len(weights) > 1:
        images = zip(x.split(1), weights, biases.to(x.dtype).expand(len(x), -1), strict=True)
        return torch.cat([F.conv2d(image, weight, bias, padding=1) for image, weight, bias in images])
    if len(biases) > 1:
        return F.conv2d(x, weights[0], padding=1) + biases[:, :, None, None]
    return F.conv2d(x, weights[0], biases[0].to(x.dtype), padding=1)


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
        self.conv_in = AdaptedConv(3 * FOLD**2, config.width, config.rank)
        self.estimator = DegradationEstimator(config.estimates)
        self.router = Linear(config.estimates, 1)
        self.blocks = nn.ModuleList(
            DialBlock(config.width, config.estimates, config.rank) for _ in range(config.blocks)
        )
        self.latent = LatentPath(tokenizer.channels, config.width, (tokenizer.stride // FOLD).bit_length() - 1)
        self.conv_mid = AdaptedConv(config.width, config.width, config.rank)
        self.up1 = AdaptedConv(config.width, config.half, config.rank)
        self.up2 = AdaptedConv(config.half, config.full, config.rank)
        self.conv_out = AdaptedConv(config.full, 3, config.rank)

    def forward(self, latent: Tensor, upsampled: Tensor, realism: float) -> Tensor:
        """(B, Z, P, P) with its upsampled input (B, 3, H, W) in [-1, 1] -> pixels (B, 3, H, W) in [-1, 1]."""
        folded = F.pixel_unshuffle(upsampled, FOLD).contiguous(memory_format=torch.channels_last)
        adaptation = self._adaptation(folded, realism)
        x = first = self.conv_in(folded, adaptation)
        for number, block in enumerate(cast("Iterable[DialBlock]", self.blocks)):
            if number == self.join:
                x = x + self.latent(latent.contiguous(memory_format=torch.channels_last))
            x = block(x, realism, adaptation)
        x = F.silu(self.conv_mid(x, adaptation).add_(first), inplace=True)
        x = F.silu(self.up1(F.interpolate(x, scale_factor=2), adaptation), inplace=True)
        x = F.silu(self.up2(F.interpolate(x, scale_factor=2), adaptation), inplace=True)
        pixels: Tensor = self.conv_out(x, adaptation)
        return pixels.add_(upsampled).clamp_(-1, 1)

    def _adaptation(self, folded: Tensor, realism: float) -> Adaptation:
        estimates = self.estimator(folded)
        return Adaptation.of(estimates.float(), self.router(estimates).sigmoid().float(), realism)
