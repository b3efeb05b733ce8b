"""The prefix encoder: the upsampled low-resolution tile to prefix tokens."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varsr.model.config import PrefixConfig
from varsr.model.layers import Conv2d


class PrefixEncoder(nn.Module):
    """A plain convolution stack: at each width one convolution, then one that halves the sides."""

    def __init__(self, config: PrefixConfig, outputs: int) -> None:
        super().__init__()
        self.stem = config.stem
        self.conv_in = Conv2d(3 * config.stem**2, config.widths[0])
        self.blocks = nn.ModuleList()
        for width, wider in pairwise(config.widths):
            self.blocks.extend((Conv2d(width, width), Conv2d(width, wider, stride=2)))
        self.conv_out = Conv2d(config.widths[-1], outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> (B, P P, outputs), row by row."""
        x = F.pixel_unshuffle(pixels, self.stem).contiguous(memory_format=torch.channels_last)
        x = F.silu(self.conv_in(x), inplace=True)
        for block in self.blocks:
            x = F.silu(block(x), inplace=True)
        tokens: Tensor = self.conv_out(x)
        return tokens.flatten(2).transpose(1, 2)
