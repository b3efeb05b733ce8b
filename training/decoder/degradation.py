"""Second-order degradation of batches on any device (after Real-ESRGAN, Wang et al. 2021, sec. 3).

Blur, resizing, noise and JPEG of the large image, perhaps a second time, then sensor noise, ringing and JPEG of the
small image itself, as cameras and web sites apply them. Images are float32 (B, 3, H, W) in [0, 1]. What is chosen for
each image comes from the device's generator of PyTorch, what is chosen for a whole batch (sizes, filters, whether
there is a second order) from `random`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
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


def degrade(large: Tensor, side: int, strength: Tensor, clean: Tensor) -> Tensor:
    """(B, 3, S, S) -> (B, 3, side, side), rounded to eight bits.

    `strength` (B) in [0, 1] widens every range. Where `clean` (B) is true there is bicubic reduction alone.
    """
    x = _for_some(0.85, large, lambda: blur(large, gaussian_kernels(15, 0.3 + 2.8 * strength)))
    factor = random.uniform(0.28, 1.1) if random.random() < 0.75 else random.uniform(0.5, 1.3)
    x = _resized(x, max(side // 2, int(large.shape[-1] * factor)) // 2 * 2)
    x = _for_some(0.6, x, lambda: add_noise(x, strength))
    x = _for_some(0.7, x, lambda: jpeg(x, _between(95 - 60 * strength, 98)))
    if random.random() < 0.6:
        x = _for_some(0.5 + 0.3 * strength, x, lambda: blur(x, gaussian_kernels(11, 0.2 + 1.6 * strength)))
        x = _resized(x, max(side // 2, int(side * random.uniform(0.6, 1.6))) // 2 * 2)
    x = _resized(x, side)
    x = _for_some(0.55, x, lambda: add_noise(x, 0.8 * strength))
    x = _for_some(0.15 * strength, x, lambda: blur(x, sinc_kernels(11, len(x), x.device)))
    x = _for_some(0.65, x, lambda: jpeg(x, _between(94 - 62 * strength, 98)))
    reduced = F.interpolate(large, (side, side), mode="bicubic", antialias=True)
    return eight_bits(torch.where(clean.view(-1, 1, 1, 1), reduced, x).clamp(0, 1))


def eight_bits(x: Tensor) -> Tensor:
    """`x` rounded to 256 steps."""
    return (x * 255).round() / 255


def blur(x: Tensor, kernels: Tensor) -> Tensor:
    """Each image with its kernel (B, K, K), borders reflected."""
    batch, channels, height, width = x.shape
    margin = kernels.shape[-1] // 2
    padded = F.pad(x, (margin,) * 4, mode="reflect").reshape(
        1, batch * channels, *(n + 2 * margin for n in x.shape[2:])
    )
    blurred = F.conv2d(padded, kernels.repeat_interleave(channels, 0)[:, None], groups=batch * channels)
    return blurred.reshape(batch, channels, height, width)


def gaussian_kernels(side: int, largest: Tensor) -> Tensor:
    """Turned, stretched and flattened or peaked Gaussians (B, side, side), deviations up to `largest` (B) pixels."""
    count, device = len(largest), largest.device
    first = (_uniform(count, 0.1, 1, device) * largest).clamp(min=0.12)
    other = (_uniform(count, 0.1, 1, device) * largest).clamp(min=0.12)
    second = torch.where(_uniform(count, 0, 1, device) < 0.5, first, other)
    angle = _uniform(count, 0, math.pi, device)
    cos, sin = angle.cos(), angle.sin()
    rows, columns = _offsets(side, device)
    across = cos.view(-1, 1, 1) * columns + sin.view(-1, 1, 1) * rows
    along = cos.view(-1, 1, 1) * rows - sin.view(-1, 1, 1) * columns
    distance = (across / first.view(-1, 1, 1)) ** 2 + (along / second.view(-1, 1, 1)) ** 2
    is_gaussian = _uniform(count, 0, 1, device) < 0.7
    exponent = torch.where(is_gaussian, torch.ones_like(first), _uniform(count, 0.6, 2, device))
    kernels = torch.exp(-0.5 * distance.clamp(min=1e-12) ** exponent.view(-1, 1, 1))
    return kernels / kernels.sum((1, 2), keepdim=True)


def sinc_kernels(side: int, count: int, device: torch.device) -> Tensor:
    """Round low-pass filters (count, side, side): the ringing of sharpening and of compression."""
    rows, columns = _offsets(side, device)
    radius = (rows**2 + columns**2).sqrt().clamp(min=1e-6)
    cutoff = _uniform(count, math.pi / 3, math.pi, device).view(-1, 1, 1)
    kernels = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    kernels[:, side // 2, side // 2] = cutoff[:, 0, 0] ** 2 / (4 * math.pi)
    return kernels / kernels.sum((1, 2), keepdim=True)


def add_noise(x: Tensor, strength: Tensor) -> Tensor:
    """Gaussian noise of up to 25 of 255 steps at strength 1, grey or coloured, for half the images as of photons."""
    count, device = len(x), x.device
    deviation = strength * _uniform(count, 0.2, 1, device) * 25 / 255
    is_grey = (_uniform(count, 0, 1, device) < 0.4).view(-1, 1, 1, 1)
    noise = torch.where(is_grey, torch.randn_like(x[:, :1]), torch.randn_like(x))
    is_shot = (_uniform(count, 0, 1, device) < 0.5).view(-1, 1, 1, 1)
    light = (1.6 * x.mean(1, keepdim=True)).clamp(min=0.02).sqrt()
    return (x + noise * torch.where(is_shot, light, torch.ones_like(light)) * deviation.view(-1, 1, 1, 1)).clamp(0, 1)


def jpeg(x: Tensor, quality: Tensor) -> Tensor:
    """Baseline JPEG at `quality` (B) in [1, 100], seven in ten images with halved chroma."""
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
    is_halved = (torch.rand(len(x), device=x.device) < 0.7).view(-1, 1, 1, 1)
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


def _for_some(share: float | Tensor, x: Tensor, change: Callable[[], Tensor]) -> Tensor:
    """`x`, of a `share` of the images what `change` makes of them."""
    chosen = torch.rand(len(x), device=x.device) < share
    return torch.where(chosen.view(-1, 1, 1, 1), change(), x)


def _resized(x: Tensor, side: int) -> Tensor:
    mode = random.choice(("area", "bilinear", "bicubic"))
    if mode == "area":
        return F.interpolate(x, (side, side), mode="area")
    return F.interpolate(x, (side, side), mode=mode, antialias=True).clamp(0, 1)


def _between(low: Tensor, high: float) -> Tensor:
    return low + torch.rand_like(low) * (high - low)


def _uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    return torch.empty(count, device=device).uniform_(low, high)


def _offsets(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns (side, side) from the middle."""
    line = torch.arange(side, device=device, dtype=torch.float32) - side // 2
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return rows, columns
