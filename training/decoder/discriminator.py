"""The discriminator, which tells photographs from results, each seen beside the enlarged input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Discriminator(nn.Module):
    """Maps of scores at a half, a quarter and an eighth of the resolution; spectral norms keep it steady."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        w = width
        self.layers = nn.ModuleList(
            (
                _conv(6, w), _conv(w, 2 * w, halve=True), _conv(2 * w, 2 * w), _conv(2 * w, 4 * w, halve=True),
                _conv(4 * w, 4 * w), _conv(4 * w, 4 * w, halve=True), _conv(4 * w, 4 * w),
            )
        )  # fmt: skip
        self.scores = nn.ModuleDict(
            {
                str(layer): nn.Conv2d(channels, 1, 3, padding=1)
                for layer, channels in ((2, 2 * w), (4, 4 * w), (6, 4 * w))
            }
        )

    def forward(self, images: Tensor, enlarged: Tensor) -> list[Tensor]:
        """(B, 3, H, W) twice, in [0, 1] -> three maps (B, 1, h, w), high where an image looks like a photograph."""
        x = torch.cat((images, enlarged), 1) - 0.5
        maps = []
        for number, layer in enumerate(self.layers):
            x = F.leaky_relu(layer(x), 0.2)
            if str(number) in self.scores:
                maps.append(self.scores[str(number)](x).float())
        return maps


def hinge_loss(discriminator: Discriminator, real: Tensor, fake: Tensor, enlarged: Tensor) -> Tensor:
    """The discriminator's loss on photographs and on results of the same inputs, (B, 3, H, W) each."""
    maps = discriminator(torch.cat((real, fake)), torch.cat((enlarged, enlarged)))
    halves = [scores.chunk(2) for scores in maps]
    return torch.stack([F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in halves]).mean()


def realism_loss(discriminator: Discriminator, fake: Tensor, enlarged: Tensor) -> Tensor:
    """Per image (B): low where the discriminator takes `fake` for photographs."""
    return -torch.stack([scores.mean((1, 2, 3)) for scores in discriminator(fake, enlarged)]).sum(0)


def _conv(inputs: int, outputs: int, halve: bool = False) -> nn.Module:
    kernel, stride = (4, 2) if halve else (3, 1)
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2))
