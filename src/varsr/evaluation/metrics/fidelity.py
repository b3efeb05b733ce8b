"""Fidelity to a reference image: PSNR and SSIM."""

from __future__ import annotations

import math

from torch import Tensor

from varsr.choices import ChannelsName
from varsr.evaluation.metrics.channels import channels_of
from varsr.evaluation.metrics.filters import gaussian_line, separable
from varsr.tiling.array import FloatImage

PEAK = 255.0


def psnr(result: FloatImage, reference: FloatImage, channels: ChannelsName = "y") -> float:
    """Peak signal-to-noise ratio in dB of two images (H, W, 3) in [0, 1]; infinite where they are equal."""
    error = (channels_of(result, channels) - channels_of(reference, channels)).square().mean()
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / float(error))


def ssim(result: FloatImage, reference: FloatImage, channels: ChannelsName = "y") -> float:
    """Structural similarity (Wang et al. 2004) of two images (H, W, 3) in [0, 1], at most 1.

    The window is a Gaussian of 11 px with a deviation of 1.5 px, taken where it lies within the image.
    """
    x, y = (channels_of(image, channels)[:, None] for image in (result, reference))
    return float(ssim_map(x, y, PEAK).mean())


def ssim_map(x: Tensor, y: Tensor, peak: float) -> Tensor:
    """Structural similarity around each place of two batches (B, 1, H, W), whose values go from 0 to `peak`."""
    window = gaussian_line(11, 1.5).to(x)
    return ssim_of_means(*(separable(z, window) for z in (x, y, x * x, y * y, x * y)), peak=peak)


def ssim_of_means(x: Tensor, y: Tensor, xx: Tensor, yy: Tensor, xy: Tensor, *, peak: float) -> Tensor:
    """Structural similarity by the local means of two images and of their products."""
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    luminance = (2 * x * y + c1) / (x**2 + y**2 + c1)
    structure = (2 * (xy - x * y) + c2) / (xx - x**2 + yy - y**2 + c2)
    return luminance * structure
