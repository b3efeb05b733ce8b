"""Second-order degradation of batches on any device (after Real-ESRGAN, Wang et al. 2021, sec. 3).

Blur, resizing, noise and JPEG of the large image, perhaps a second time, then sensor noise, ringing and JPEG of the
small image itself, as cameras and web sites apply them. Images are float32 (B, 3, H, W) in [0, 1]. Sizes, filters and
whether there is a second order are drawn for a whole batch, everything else for each image.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

_LUMA_QUANTIZATION = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
    51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121,
    120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA_QUANTIZATION = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66,
    *(99,) * 38,
)  # fmt: skip
"""The example tables of ITU-T T.81, annex K, that nearly every encoder scales by its quality."""


@dataclass(frozen=True)
class Draws:
    """The random numbers of a degradation: equal ones degrade alike."""

    batch: random.Random
    images: torch.Generator

    @classmethod
    def seeded(cls, seed: int, device: torch.device) -> Draws:
        """Random numbers for images on a device."""
        return cls(random.Random(seed), torch.Generator(device).manual_seed(seed))

    def uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(count), evenly from `low` to `high`."""
        device = self.images.device
        return low + (high - low) * torch.rand(count, generator=self.images, device=device)

    def normal(self, like: Tensor) -> Tensor:
        """Of the shape of `like`, with a deviation of 1."""
        return torch.randn(like.shape, generator=self.images, device=self.images.device)


def degrade(large: Tensor, size: tuple[int, int], strength: Tensor, draws: Draws) -> Tensor:
    """(B, 3, H, W) -> (B, 3, *size), rounded to 8 bits. `strength` (B) in [0, 1] widens every range."""
    x = _for_some(0.85, large, lambda: blur(large, gaussian_kernels(15, 0.3 + 2.8 * strength, draws)), draws)
    batch = draws.batch
    factor = batch.uniform(0.28, 1.1) if batch.random() < 0.75 else batch.uniform(0.5, 1.3)
    x = _resized(x, _near(large.shape[2:], factor, size), draws)
    x = _for_some(0.6, x, lambda: add_noise(x, strength, draws), draws)
    x = _for_some(0.7, x, lambda: jpeg(x, _between(95 - 60 * strength, 98, draws), draws), draws)
    if batch.random() < 0.6:
        kernels = gaussian_kernels(11, 0.2 + 1.6 * strength, draws)
        x = _for_some(0.5 + 0.3 * strength, x, lambda: blur(x, kernels), draws)
        x = _resized(x, _near(size, batch.uniform(0.6, 1.6), size), draws)
    x = _resized(x, size, draws)
    x = _for_some(0.55, x, lambda: add_noise(x, 0.8 * strength, draws), draws)
    x = _for_some(0.15 * strength, x, lambda: blur(x, sinc_kernels(11, len(x), draws)), draws)
    x = _for_some(0.65, x, lambda: jpeg(x, _between(94 - 62 * strength, 98, draws), draws), draws)
    return eight_bits(x.clamp(0, 1))


def reduce(large: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 3, H, W) -> (B, 3, *size) by bicubic interpolation alone, rounded to 8 bits."""
    return eight_bits(F.interpolate(large, size, mode="bicubic", antialias=True).clamp(0, 1))


def eight_bits(x: Tensor) -> Tensor:
    """`x` rounded to 256 steps."""
    return (x * 255).round() / 255


def blur(x: Tensor, kernels: Tensor) -> Tensor:
    """Each image with its kernel (B, K, K), borders repeated."""
    batch, channels, height, width = x.shape
    margin = kernels.shape[-1] // 2
    padded = F.pad(x, (margin,) * 4, mode="replicate").reshape(
        1, batch * channels, *(n + 2 * margin for n in x.shape[2:])
    )
    blurred = F.conv2d(padded, kernels.repeat_interleave(channels, 0)[:, None], groups=batch * channels)
    return blurred.reshape(batch, channels, height, width)


def gaussian_kernels(side: int, largest: Tensor, draws: Draws) -> Tensor:
    """Turned, stretched and flattened or peaked Gaussians (B, side, side), deviations up to `largest` (B) pixels."""
    count, device = len(largest), largest.device
    first = (draws.uniform(count, 0.1, 1) * largest).clamp(min=0.12)
    other = (draws.uniform(count, 0.1, 1) * largest).clamp(min=0.12)
    second = torch.where(draws.uniform(count) < 0.5, first, other)
    angle = draws.uniform(count, 0, math.pi)
    cos, sin = angle.cos(), angle.sin()
    rows, columns = _offsets(side, device)
    across = cos.view(-1, 1, 1) * columns + sin.view(-1, 1, 1) * rows
    along = cos.view(-1, 1, 1) * rows - sin.view(-1, 1, 1) * columns
    distance = (across / first.view(-1, 1, 1)) ** 2 + (along / second.view(-1, 1, 1)) ** 2
    is_gaussian = draws.uniform(count) < 0.7
    exponent = torch.where(is_gaussian, torch.ones_like(first), draws.uniform(count, 0.6, 2))
    kernels = torch.exp(-0.5 * distance.clamp(min=1e-12) ** exponent.view(-1, 1, 1))
    return kernels / kernels.sum((1, 2), keepdim=True)


def sinc_kernels(side: int, count: int, draws: Draws) -> Tensor:
    """Round low-pass filters (count, side, side): the ringing of sharpening and of compression."""
    rows, columns = _offsets(side, draws.images.device)
    radius = (rows**2 + columns**2).sqrt().clamp(min=1e-6)
    cutoff = draws.uniform(count, math.pi / 3, math.pi).view(-1, 1, 1)
    kernels = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    kernels[:, side // 2, side // 2] = cutoff[:, 0, 0] ** 2 / (4 * math.pi)
    return kernels / kernels.sum((1, 2), keepdim=True)


def add_noise(x: Tensor, strength: Tensor, draws: Draws) -> Tensor:
    """Noise of up to 25 of 255 steps at strength 1."""
    return add_noise_of(x, strength * draws.uniform(len(x), 0.2, 1) * 25 / 255, draws)


def add_noise_of(x: Tensor, deviation: Tensor, draws: Draws, grey: float = 0.4, shot: float = 0.5) -> Tensor:
    """Gaussian noise of a standard deviation (B) in [0, 1].

    For shares of the images it is `grey` instead of coloured, and grows with the root of the light (`shot`).
    """
    count = len(x)
    is_grey = (draws.uniform(count) < grey).view(-1, 1, 1, 1)
    noise = torch.where(is_grey, draws.normal(x[:, :1]), draws.normal(x))
    is_shot = (draws.uniform(count) < shot).view(-1, 1, 1, 1)
    light = (1.6 * x.mean(1, keepdim=True)).clamp(min=0.02).sqrt()
    return (x + noise * torch.where(is_shot, light, torch.ones_like(light)) * deviation.view(-1, 1, 1, 1)).clamp(0, 1)


def jpeg(x: Tensor, quality: Tensor, draws: Draws) -> Tensor:
    """Baseline JPEG at `quality` (B) in [1, 100], 7 of 10 images with halved chroma."""
    height, width = x.shape[2:]
    padded = F.pad(x, (0, -width % 16, 0, -height % 16), mode="replicate")
    to_ycc, to_rgb, luma_table, chroma_table, _ = _jpeg_constants(x.device)
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, (padded * 255).round())
    percent = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).view(-1, 1, 1)
    luma_steps, chroma_steps = (
        ((table * percent + 50) / 100).floor().clamp(1, 255).view(-1, 1, 1, 1, 8, 8)
        for table in (luma_table, chroma_table)
    )
    luma = _quantized(ycc[:, :1] - 128, luma_steps) + 128
    chroma = _quantized(ycc[:, 1:], chroma_steps)
    halved = F.interpolate(_quantized(F.avg_pool2d(ycc[:, 1:], 2), chroma_steps), scale_factor=2, mode="bilinear")
    is_halved = (draws.uniform(len(x)) < 0.7).view(-1, 1, 1, 1)
    decoded = torch.cat((luma, torch.where(is_halved, halved, chroma)), 1)
    return (torch.einsum("ij,bjhw->bihw", to_rgb, decoded) / 255)[:, :, :height, :width].clamp(0, 1)


def _quantized(planes: Tensor, steps: Tensor) -> Tensor:
    """(B, C, H, W) with the cosine coefficients of each 8 x 8 block rounded to multiples of `steps`."""
    batch, channels, height, width = planes.shape
    cosines = _jpeg_constants(planes.device)[4]
    blocks = planes.view(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    coefficients = ((cosines @ blocks @ cosines.T) / steps).round() * steps
    return (cosines.T @ coefficients @ cosines).transpose(3, 4).reshape(planes.shape)


@lru_cache
def _jpeg_constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """RGB to YCbCr and back, the two quantization tables, the cosine transform."""
    to_ycc = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    luma = torch.tensor(_LUMA_QUANTIZATION, dtype=torch.float32).view(8, 8)
    chroma = torch.tensor(_CHROMA_QUANTIZATION, dtype=torch.float32).view(8, 8)
    cosines = torch.tensor(
        [
            [math.sqrt((2 if u else 1) / 8) * math.cos((2 * x + 1) * u * math.pi / 16) for x in range(8)]
            for u in range(8)
        ]
    )
    constants = to_ycc, torch.linalg.inv(to_ycc), luma, chroma, cosines
    on_device = tuple(constant.to(device) for constant in constants)
    return on_device[0], on_device[1], on_device[2], on_device[3], on_device[4]


def _for_some(share: float | Tensor, x: Tensor, change: Callable[[], Tensor], draws: Draws) -> Tensor:
    """`x`, of a `share` of the images what `change` makes of them."""
    chosen = draws.uniform(len(x)) < share
    return torch.where(chosen.view(-1, 1, 1, 1), change(), x)


def _near(sides: Sequence[int], factor: float, size: tuple[int, int]) -> tuple[int, int]:
    """Even sides `factor` times `sides`, at least half of `size`."""
    height, width = (max(least // 2, int(side * factor)) // 2 * 2 for side, least in zip(sides, size, strict=True))
    return max(height, 2), max(width, 2)


def _resized(x: Tensor, size: tuple[int, int], draws: Draws) -> Tensor:
    mode = draws.batch.choice(("area", "bilinear", "bicubic"))
    if mode == "area":
        return F.interpolate(x, size, mode="area")
    return F.interpolate(x, size, mode=mode, antialias=True).clamp(0, 1)


def _between(low: Tensor, high: float, draws: Draws) -> Tensor:
    return low + draws.uniform(len(low)) * (high - low)


def _offsets(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns (side, side) from the middle."""
    line = torch.arange(side, device=device, dtype=torch.float32) - side // 2
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return rows, columns
