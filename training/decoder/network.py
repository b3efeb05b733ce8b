"""The decoder by itself: an enlarged image becomes a restored one, as faithful or as realistic as its dial says."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

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


class Block(nn.Module):
    """Two convolutions beside an identity. The dial biases what lies between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _conv(width, width)
        self.conv2 = _conv(width, width)
        self.dial = nn.Parameter(self.conv1.weight.new_zeros(width))
        for conv, gain in ((self.conv1, 1.0), (self.conv2, 0.1)):
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data *= gain
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor, realism: Tensor) -> Tensor:
        """(B, C, h, w) and (B, 1, 1, 1) -> (B, C, h, w)."""
        hidden = self.conv1(x) + (realism * self.dial.view(1, -1, 1, 1)).to(x.dtype)
        return x + self.conv2(F.silu(hidden, inplace=True))


class Decoder(nn.Module):
    """Residual blocks at a quarter of the result's side, then two doublings that repeat pixels and convolve.

    Repeated pixels rather than pixel shuffles: every phase of a shuffle has weights of its own, so that a
    checkerboard pattern on its grid is the cheapest texture for a GAN loss.
    """

    def __init__(self, config: DecoderConfig = DecoderConfig()) -> None:
        super().__init__()
        self.config = config
        self.conv_in = _conv(3 * SCALE**2, config.width)
        self.blocks = nn.ModuleList(Block(config.width) for _ in range(config.blocks))
        self.conv_mid = _conv(config.width, config.width)
        self.up1 = _conv(config.width, config.half)
        self.up2 = _conv(config.half, config.full)
        self.conv_out = _conv(config.full, 3)
        self.conv_out.weight.data *= 0.1
        assert self.conv_out.bias is not None
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, enlarged: Tensor, realism: Tensor) -> Tensor:
        """(B, 3, 4h, 4w) in [0, 1] and (B, 1, 1, 1) in [0, 1] -> restored (B, 3, 4h, 4w)."""
        x = first = self.conv_in(F.pixel_unshuffle(enlarged - 0.5, SCALE))
        for block in self.blocks:
            x = block(x, realism)
        x = F.silu(first + self.conv_mid(x), inplace=True)
        x = F.silu(self.up1(F.interpolate(x, scale_factor=2)), inplace=True)
        x = F.silu(self.up2(F.interpolate(x, scale_factor=2)), inplace=True)
        return enlarged + self.conv_out(x)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
