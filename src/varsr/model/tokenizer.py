"""The tokenizer's two halves: an encoder from pixels to the latent and a decoder back.

Both work on pixels in [-1, 1]. They are separate modules because upscaling needs the decoder alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise, zip_longest
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varsr.model.config import TokenizerConfig
from varsr.model.layers import Conv2d, GroupNorm


class ResidualBlock(nn.Module):
    """Two normalized convolutions around a shortcut, which is a 1x1 convolution where the width changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(inputs)
        self.conv1 = Conv2d(inputs, outputs)
        self.norm2 = GroupNorm(outputs)
        self.conv2 = Conv2d(outputs, outputs)
        self.shortcut = Conv2d(inputs, outputs, side=1, padding=0) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        h: Tensor = self.conv1(F.silu(self.norm1(x), inplace=True))
        h = self.conv2(F.silu(self.norm2(h), inplace=True))
        return h.add_(self.shortcut(x))


class SpatialAttention(nn.Module):
    """Single-head attention between all positions of a feature map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = GroupNorm(width)
        self.qkv = Conv2d(width, 3 * width, side=1, padding=0)
        self.proj = Conv2d(width, width, side=1, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        h = F.scaled_dot_product_attention(q, k, v)  # (B, 1, H W, C)
        projected: Tensor = self.proj(h.squeeze(1).transpose(1, 2).unflatten(2, x.shape[2:]))
        return projected.add_(x)


class Downsample(nn.Module):
    """Halve the sides: zeros on the right and at the bottom, then a 3x3 convolution of stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = Conv2d(width, width, stride=2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / 2, W / 2)."""
        halved: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return halved


class Upsample(nn.Module):
    """Double the sides by nearest neighbour, then a 3x3 convolution.

    Repeated pixels meet the same input under several taps, so each of the four output phases is a 2x2
    convolution of the small map with summed taps: 16 products per position instead of 36, the same result.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = Conv2d(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 2 H, 2 W)."""
        height, width = x.shape[2:]
        padded = F.pad(x, (1, 1, 1, 1))
        bias = self.conv.bias.to(x.dtype)
        out = torch.empty(
            x.shape[0], self.conv.weight.shape[0], 2 * height, 2 * width, dtype=x.dtype, device=x.device
        ).to(memory_format=torch.channels_last)
        rows = _phase_taps(self.conv.weight.float(), dim=2)
        for i, row in enumerate(rows):
            for j, kernel in enumerate(_phase_taps(row, dim=3)):
                window = padded[:, :, i : i + height + 1, j : j + width + 1]
                out[:, :, i::2, j::2] = F.conv2d(window, kernel.to(x.dtype), bias)
        return out


def _phase_taps(kernel: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Sum the three taps along `dim` into the two that the even and the odd output positions see."""
    first, middle, last = kernel.split(1, dim)
    return torch.cat((first, middle + last), dim), torch.cat((first + middle, last), dim)


class Level(nn.Module):
    """Residual blocks at one resolution, each followed by attention where `attention`, then `resample`."""

    def __init__(self, inputs: int, outputs: int, blocks: int, attention: bool, resample: nn.Module) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * blocks
        self.blocks = nn.ModuleList(map(ResidualBlock, widths, widths[1:]))
        self.attentions = nn.ModuleList(SpatialAttention(outputs) for _ in self.blocks if attention)
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        resampled: Tensor = self.resample(self.refine(x))
        return resampled

    def refine(self, x: Tensor) -> Tensor:
        """The level without its resampling: (B, inputs, H, W) -> (B, outputs, H, W)."""
        for block, attention in zip_longest(self.blocks, self.attentions, fillvalue=nn.Identity()):
            x = attention(block(x))
        return x


def _middle(width: int, attention: bool) -> nn.Sequential:
    blocks = ResidualBlock(width, width), ResidualBlock(width, width)
    return nn.Sequential(blocks[0], SpatialAttention(width), blocks[1]) if attention else nn.Sequential(*blocks)


def _falling(config: TokenizerConfig, attention: bool) -> Iterator[Level]:
    """The levels from the highest resolution to the lowest."""
    widths = [config.width * m for m in config.multipliers]
    lowest = len(widths) - 1
    for i, (inputs, outputs) in enumerate(pairwise([config.width, *widths])):
        resample = nn.Identity() if i == lowest else Downsample(outputs)
        yield Level(inputs, outputs, config.encoder_blocks, attention and i == lowest, resample)


class Encoder(nn.Module):
    """Pixels to the latent that the quantizer codes."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        lowest = config.width * config.multipliers[-1]
        self.stem = config.stem
        self.conv_in = Conv2d(3 * config.stem**2, config.width)
        self.levels = nn.Sequential(*_falling(config, config.attention))
        self.middle = _middle(lowest, config.attention)
        self.norm_out = GroupNorm(lowest)
        self.conv_out = Conv2d(lowest, config.channels)
        self.project = Conv2d(config.channels, config.channels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels in [-1, 1], or what the input lacks of them, (B, 3, H, W) -> (B, Z, H / stride, W / stride)."""
        x = self.middle(self.levels(self.conv_in(F.pixel_unshuffle(pixels, self.stem))))
        latent: Tensor = self.project(self.conv_out(F.silu(self.norm_out(x), inplace=True)))
        return latent


class PlainBlock(nn.Module):
    """Two convolutions around a shortcut, without a norm: restoring needs true contrasts (EDSR, Lim et al. 2017)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(width, width)
        self.conv2 = Conv2d(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        h: Tensor = self.conv2(F.silu(self.conv1(x), inplace=True))
        return h.add_(x)


class InputPath(nn.Module):
    """The upsampled input as feature maps, one for each level of the decoder, and what they show by themselves.

    What it shows need not be coded, so that a small latent is left to what the input lacks (the idea of the
    controllable feature wrapping of StableSR, Wang et al. 2023).
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.width * m for m in config.multipliers]
        self.stem = config.stem
        self.conv_in = Conv2d(3 * config.stem**2, config.width)
        self.trunk = nn.Sequential(*(PlainBlock(config.width) for _ in range(config.input_blocks)))
        self.restored = Conv2d(config.width, 3 * config.stem**2)
        self.levels = nn.ModuleList(_falling(config, attention=False))
        self.joins = nn.ModuleList(
            Conv2d(width, entered, side=1, padding=0) for width, entered in pairwise([*widths, widths[-1]])
        )

    def forward(self, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
        """(B, 3, H, W) in [-1, 1] -> what enters each level of the decoder, highest resolution first, and its end."""
        x = self.conv_in(F.pixel_unshuffle(pixels, self.stem).contiguous(memory_format=torch.channels_last))
        x = self.trunk(x)
        restored = self.restored(x)
        joined = []
        for level, join in zip(cast("Iterable[Level]", self.levels), self.joins, strict=True):
            x = level.refine(x)
            joined.append(join(x))
            x = level.resample(x)
        return joined, restored


class Decoder(nn.Module):
    """The latent back to pixels."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.width * m for m in config.multipliers]
        lowest = len(widths) - 1
        self.residual = config.residual
        self.stem = config.stem
        self.project = Conv2d(config.channels, config.channels)
        self.conv_in = Conv2d(config.channels, widths[-1])
        self.input_path = InputPath(config) if config.input_path else None
        self.middle = _middle(widths[-1], config.attention)
        self.levels = nn.ModuleList(  # highest resolution first, as in the encoder; run from the lowest
            Level(
                inputs,
                outputs,
                config.decoder_blocks,
                attention=config.attention and i == lowest,
                resample=nn.Identity() if i == 0 else Upsample(outputs),
            )
            for i, (outputs, inputs) in enumerate(pairwise([*widths, widths[-1]]))
        )
        self.norm_out = GroupNorm(widths[0])
        self.conv_out = Conv2d(widths[0], 3 * config.stem**2)

    def forward(self, latent: Tensor, upsampled: Tensor) -> Tensor:
        """(B, Z, H, W) with its upsampled input (B, 3, H stride, W stride) -> pixels like it, in [-1, 1]."""
        # Convolutions are a third faster on channels-last maps, on the CPU and on CUDA alike.
        latent = latent.contiguous(memory_format=torch.channels_last)
        joined, restored = self.input_path(upsampled) if self.input_path else ([None] * len(self.levels), None)
        x = self.middle(_join(self.conv_in(self.project(latent)), joined[-1]))
        x = self.levels[-1](x)
        for level, features in zip(reversed(self.levels[:-1]), reversed(joined[:-1]), strict=True):
            x = level(_join(x, features))
        folded = _join(self.conv_out(F.silu(self.norm_out(x), inplace=True)), restored)
        pixels = F.pixel_shuffle(folded, self.stem)
        return (pixels + upsampled if self.residual else pixels).clamp_(-1, 1)


def _join(x: Tensor, features: Tensor | None) -> Tensor:
    return x if features is None else x + features
