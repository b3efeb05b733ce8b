"""GAN training: a discriminator of photographs and restored images, and the gradient that it gives the decoder."""

from __future__ import annotations

import itertools
import random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from training.tokenizer import pixel_loss

WIDTHS = (48, 96, 144, 192)
STRIDE = 16  # of the discriminator's scores, in pixels


class Discriminator(nn.Module):
    """A convolution stack that scores patches of an image beside the input it was made from (Isola et al. 2017).

    Spectral norms keep it smooth (Miyato et al. 2018). Squares of two pixels are folded first: what matters here is
    fine texture, and full resolution is slow. `GanLoss` shows it every image from another corner: looked at from the
    same one always, it teaches the decoder a checkerboard at the places of its own grid.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), spectral_norm(nn.Conv2d(24, WIDTHS[0], 3, padding=1))]
        for inputs, outputs in itertools.pairwise(WIDTHS):
            layers += [
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(outputs, outputs, 3, padding=1)),
            ]
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Conv2d(WIDTHS[-1], 1, 3, padding=1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, upsampled: Tensor) -> Tensor:
        """(B, 3, S, S) twice, in [-1, 1] -> scores (B, 1, S / 16, S / 16): high for photographs."""
        with torch.autocast(images.device.type, torch.bfloat16):
            scores: Tensor = self.layers(torch.cat((images, upsampled), dim=1))
        return scores.float()


class GanLoss:
    """The discriminator and its training."""

    def __init__(self, device: torch.device) -> None:
        self.discriminator = Discriminator().to(device)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=2e-4, betas=(0.5, 0.99))

    def learn(self, restored: Tensor, truth: Tensor, upsampled: Tensor) -> Tensor:
        """One step of the hinge loss; returns it: 2 for an ignorant discriminator, 0 for a perfect one."""
        truth, restored, upsampled = shifted(truth, restored.detach(), upsampled)
        images = torch.cat((truth, restored))
        real, made = self.discriminator(images, torch.cat((upsampled, upsampled))).chunk(2)
        loss = F.relu(1 - real).mean() + F.relu(1 + made).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def gradient(self, restored: Tensor, truth: Tensor, upsampled: Tensor, realism: float) -> Tensor:
        """The gradient at `restored`: of the pixel loss, and `realism` times as long of the GAN loss.

        Both are measured at the pixels, so that neither the scale of the scores nor their growth matters (in the
        manner of Esser et al. 2021, eq. 7).
        """
        shown = restored.detach().requires_grad_(True)
        (to_truth,) = torch.autograd.grad(pixel_loss(shown, truth), shown)
        if not realism:
            return to_truth
        (to_discriminator,) = torch.autograd.grad(-self.discriminator(*shifted(shown, upsampled)).mean(), shown)
        return to_truth + realism * to_discriminator * (to_truth.norm() / to_discriminator.norm().clamp(min=1e-12))

    def state(self) -> dict[str, Any]:
        """All that `load` needs."""
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])


def shifted(*images: Tensor) -> list[Tensor]:
    """The same random part of images (B, C, S, S), one stride of the discriminator smaller: (B, C, S - 16, S - 16)."""
    side = images[0].shape[-1] - STRIDE
    top, left = random.randrange(STRIDE), random.randrange(STRIDE)
    return [p[..., top : top + side, left : left + side] for p in images]
