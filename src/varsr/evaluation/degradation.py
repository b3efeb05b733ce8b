"""Degradation: the second-order model of Real-ESRGAN (Wang et al. 2021, sec. 3).

Blur, resizing, noise and JPEG, twice, from mild to strong, all drawn from one generator. Images are float32
arrays (H, W, 3) in [0, 1].
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from varsr.images.resize import resize
from varsr.tiling.array import FloatImage

_MODES = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)


def degrade(sharp: FloatImage, size: tuple[int, int], strength: float, rng: np.random.Generator) -> FloatImage:
    """A low-resolution version of `sharp`, (height, width) = `size`; `strength` in [0, 1] widens every range."""
    x = _one_order(sharp, strength, rng, shrink=True)
    if rng.random() < 0.3 + 0.5 * strength:
        x = _one_order(x, 0.7 * strength, rng, shrink=False)
    x = resized(x, size, _MODES[rng.integers(3)])
    if rng.random() < 0.4 * strength:
        x = convolve(x, sinc_kernel(rng.uniform(1.2, np.pi), 11))
    if rng.random() < 0.6:
        x = jpeg(x, int(rng.integers(int(92 - 55 * strength), 97)))
    return x


def _one_order(x: FloatImage, strength: float, rng: np.random.Generator, shrink: bool) -> FloatImage:
    if rng.random() < 0.8:
        x = convolve(x, gaussian_kernel(rng, 0.2 + 2.8 * strength))
    low, high = (0.3, 1.2) if shrink else (0.6, 1.2)
    factor = rng.uniform(1 - (1 - low) * strength, 1 + (high - 1) * strength)
    height, width = x.shape[:2]
    x = resized(x, (max(8, round(height * factor)), max(8, round(width * factor))), _MODES[rng.integers(3)])
    x = noisy(x, strength, rng)
    if rng.random() < 0.7:
        x = jpeg(x, int(rng.integers(int(95 - 60 * strength), 98)))
    return x


def resized(x: FloatImage, size: tuple[int, int], mode: Image.Resampling) -> FloatImage:
    """(H, W, 3) -> (*size, 3) by Pillow's filters, which widen when they reduce."""
    return np.clip(resize(x, size, mode), 0, 1)


def gaussian_kernel(rng: np.random.Generator, most: float) -> NDArray[np.float32]:
    """An isotropic or turned anisotropic Gaussian of 21 x 21, deviations up to `most` pixels."""
    first, second = rng.uniform(0.2, max(0.3, most), 2)
    if rng.random() < 0.5:
        second = first
    angle = rng.uniform(0, np.pi)
    rows, columns = np.mgrid[-10:11, -10:11]
    u = columns * np.cos(angle) + rows * np.sin(angle)
    v = rows * np.cos(angle) - columns * np.sin(angle)
    kernel = np.exp(-0.5 * ((u / first) ** 2 + (v / second) ** 2))
    return (kernel / kernel.sum()).astype(np.float32)


def sinc_kernel(cutoff: float, side: int) -> NDArray[np.float32]:
    """The low-pass filter that rings as strong sharpening and compression do (separable form)."""
    place = np.arange(side) - side // 2
    line = np.sinc(cutoff * place / np.pi) * np.hamming(side)
    line /= line.sum()
    return np.outer(line, line).astype(np.float32)


def convolve(x: FloatImage, kernel: NDArray[np.float32]) -> FloatImage:
    """Each channel with one odd square kernel, borders reflected, by way of the spectrum."""
    margin = len(kernel) // 2
    height, width = x.shape[:2]
    padded = np.pad(
        x, ((margin, margin), (margin, margin), (0, 0)), mode="reflect" if min(x.shape[:2]) > margin else "edge"
    )
    size = padded.shape[:2]
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * np.fft.rfft2(kernel, size)[..., None]
    whole = np.fft.irfft2(spectrum, size, axes=(0, 1))
    valid = whole[2 * margin : 2 * margin + height, 2 * margin : 2 * margin + width]
    return np.clip(valid, 0, 1).astype(np.float32)


def noisy(x: FloatImage, strength: float, rng: np.random.Generator) -> FloatImage:
    """Gaussian or Poisson noise, in colour or in grey."""
    channels = 1 if rng.random() < 0.4 else 3
    shape = (*x.shape[:2], channels)
    if rng.random() < 0.5:
        noise = rng.standard_normal(shape) * rng.uniform(0, 25 * strength) / 255
    else:
        light = x.mean(-1, keepdims=True) if channels == 1 else x
        noise = rng.standard_normal(shape) * np.sqrt(np.maximum(light, 0)) * rng.uniform(0, 0.1 * strength)
    return np.clip(x + noise, 0, 1).astype(np.float32)


def jpeg(x: FloatImage, quality: int) -> FloatImage:
    """The image after JPEG compression at `quality`."""
    buffer = io.BytesIO()
    to_image(x).save(buffer, "JPEG", quality=quality)
    return from_image(Image.open(buffer))


def to_image(x: FloatImage) -> Image.Image:
    """Round to eight bits."""
    return Image.fromarray((x * 255).round().astype(np.uint8))


def from_image(image: Image.Image) -> FloatImage:
    """Eight bits to [0, 1]."""
    return np.asarray(image, dtype=np.float32) / np.float32(255)
