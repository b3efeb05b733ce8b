"""Metrics: fidelity to a reference, and NIQE without one.

Images are (H, W, 3) float arrays in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varsr.tiling.array import FloatImage

Plane = NDArray[np.float64]
LUMA = np.array([0.299, 0.587, 0.114])


def luma(x: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1] -> the Y of BT.601 in [0, 1], (B, H, W)."""
    weights = torch.tensor(LUMA, dtype=torch.float32, device=x.device)
    return ((x.float() + 1) / 2 * weights[:, None, None]).sum(1)


def psnr_y(result: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of the luma in decibels, (B), of tensors in [-1, 1]."""
    error = (luma(result.clamp(-1, 1)) - luma(reference)).square().mean((1, 2))
    return -10 * torch.log10(error.clamp(min=1e-10))


def psnr(result: FloatImage, reference: FloatImage) -> float:
    """Peak signal-to-noise ratio of the luma in decibels."""
    return -10 * math.log10(float(np.square((result - reference) @ LUMA).mean()) + 1e-12)


def ssim(result: FloatImage, reference: FloatImage) -> float:
    """Structural similarity of the luma (Wang et al. 2004), Gaussian window of deviation 1.5."""
    x, y = (p @ LUMA for p in (result, reference))
    window = gaussian(11, 1.5)

    def local(z: Plane) -> Plane:
        return separable(z, window)

    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    map_ = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return float(map_.mean())


def gmsd(result: FloatImage, reference: FloatImage) -> float:
    """Gradient magnitude similarity deviation (Xue et al. 2014); 0 is identical."""
    x, y = (gradient(halved(p @ LUMA * 255)) for p in (result, reference))
    similarity = (2 * x * y + 170) / (x**2 + y**2 + 170)
    return float(similarity.std())


def mdsi(result: FloatImage, reference: FloatImage) -> float:
    """Mean deviation similarity index (Nafchi et al. 2016), eq. 10 with q = 1/4; 0 is identical."""
    factor = max(1, round(min(reference.shape[:2]) / 256))
    planes = [[reduced(p * 255 @ w, factor) for w in _MDSI_WEIGHTS] for p in (result, reference)]
    (l1, h1, m1), (l2, h2, m2) = planes
    g1, g2, fused = gradient(l1), gradient(l2), gradient((l1 + l2) / 2)

    def alike(a: Plane, b: Plane, c: float) -> Plane:
        return (2 * a * b + c) / (a**2 + b**2 + c)

    structure = alike(g1, g2, 140) + alike(g2, fused, 55) - alike(g1, fused, 55)
    chroma = (2 * (h1 * h2 + m1 * m2) + 550) / (h1**2 + h2**2 + m1**2 + m2**2 + 550)
    root = (0.6 * structure + 0.4 * chroma[1:-1, 1:-1]).astype(complex) ** 0.25
    return float(np.abs(root - root.mean()).mean() ** 0.25)


_MDSI_WEIGHTS = np.array([[0.2989, 0.587, 0.114], [0.3, 0.04, -0.35], [0.34, -0.6, 0.17]])


def haarpsi(result: FloatImage, reference: FloatImage) -> float:
    """Haar wavelet-based perceptual similarity (Reisenhofer et al. 2018); 1 is identical."""
    yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    x, y = ([halved(p * 255 @ w) for w in yiq] for p in (result, reference))
    similarities: list[Plane] = []
    weights: list[Plane] = []
    for axis in (0, 1):
        a, b = ([np.abs(haar(p[0], scale, axis)) for scale in (1, 2, 3)] for p in (x, y))
        similarities.append((_similar(a[0], b[0]) + _similar(a[1], b[1])) / 2)
        weights.append(np.maximum(a[2], b[2]))
    chroma = [[np.abs(box(np.pad(p[k], (0, 1)), 2)) for k in (1, 2)] for p in (x, y)]
    similarities.append((_similar(chroma[0][0], chroma[1][0]) + _similar(chroma[0][1], chroma[1][1])) / 2)
    weights.append((weights[0] + weights[1]) / 2)
    shaped = sum((_sigmoid(s) * w).sum() for s, w in zip(similarities, weights, strict=True))
    mean = float(shaped / sum(w.sum() for w in weights))
    return (math.log(mean / (1 - mean)) / 4.2) ** 2


def _similar(a: Plane, b: Plane) -> Plane:
    return (2 * a * b + 30) / (a**2 + b**2 + 30)


def _sigmoid(x: Plane) -> Plane:
    return 1 / (1 + np.exp(-4.2 * x))


def haar(x: Plane, scale: int, axis: int) -> Plane:
    """The response to a Haar wavelet of side 2^scale, of the same size as x."""
    side = 2**scale
    padded = np.pad(x, ((side // 2 - 1, side // 2), (side // 2 - 1, side // 2)))
    sums = _sums(padded, side // 2 if axis == 0 else side, side if axis == 0 else side // 2)
    half = side // 2
    lower = sums[half:, :] if axis == 0 else sums[:, half:]
    upper = sums[:-half, :] if axis == 0 else sums[:, :-half]
    return (lower - upper)[: len(x), : x.shape[1]] * 2.0**-scale


def _sums(x: Plane, height: int, width: int) -> Plane:
    table = np.pad(x.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]


def box(x: Plane, side: int) -> Plane:
    """The mean over squares of `side`."""
    return _sums(x, side, side) / side**2


def reduced(x: Plane, factor: int) -> Plane:
    """Box-filtered and subsampled."""
    return box(x, factor)[::factor, ::factor]


def halved(x: Plane) -> Plane:
    """The mean over squares of two, subsampled by two."""
    return reduced(x, 2)


def gradient(x: Plane) -> Plane:
    """The magnitude of the Prewitt gradient inside the borders."""
    rows = (x[2:] - x[:-2]) / 3
    columns = (x[:, 2:] - x[:, :-2]) / 3
    vertical = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    horizontal = columns[:-2] + columns[1:-1] + columns[2:]
    return np.hypot(vertical, horizontal)


def gaussian(side: int, deviation: float) -> Plane:
    """A normalized Gaussian line."""
    line = np.exp(-0.5 * ((np.arange(side) - side // 2) / deviation) ** 2)
    return line / line.sum()


def separable(x: Plane, line: Plane) -> Plane:
    """X convolved with a symmetric line along both axes, where it fits."""
    for axis in (0, 1):
        x = np.apply_along_axis(np.convolve, axis, x, line, mode="valid")
    return x


def checkerboard(image: FloatImage, side: int = 16) -> float:
    """Checkerboard artifacts: power at a period of 2 pixels over that at about 3, which photographs have less of.

    Taken where contrast is highest, in the mean over rows and columns: an upsampling network's own grid shows there.
    """
    grey = image @ LUMA
    window = np.hanning(side + 1)[:side]
    patches = np.lib.stride_tricks.sliding_window_view(grey, (side, side))[:: side // 2, :: side // 2]
    patches = patches.reshape(-1, side, side)
    contrast = patches.std((1, 2))
    chosen = patches[contrast >= np.quantile(contrast, 0.8)]
    windowed = (chosen - chosen.mean((1, 2), keepdims=True)) * window[:, None] * window
    power = (np.abs(np.fft.fft2(windowed)) ** 2).mean(0)
    power = power.sum(0) + power.sum(1)
    half = side // 2
    return float(power[half] / power[half - 3 : half - 1].mean())


class Naturalness:
    """NIQE (Mittal et al. 2013): the distance of local statistics from those of sharp photographs.

    The photographs that set the standard are given, so values compare only with one another.
    """

    PATCH = 48

    def __init__(self, sharp: Sequence[FloatImage]) -> None:
        features = []
        for image in sharp:
            patches, contrast = self._features(image)
            features.append(patches[contrast > 0.75 * contrast.max()])
        self.mean, self.covariance = _normal(np.concatenate(features))

    def __call__(self, image: FloatImage) -> float:
        """The distance; lower is more natural."""
        mean, covariance = _normal(self._features(image)[0])
        difference = self.mean - mean
        return float(math.sqrt(difference @ np.linalg.pinv((self.covariance + covariance) / 2) @ difference))

    def _features(self, image: FloatImage) -> tuple[Plane, Plane]:
        """36 numbers of each patch, and its mean local deviation."""
        grey = image @ LUMA * 255
        columns, contrast = [], None
        for side, plane in ((self.PATCH, grey), (self.PATCH // 2, halved(grey))):
            normalized, deviation = _normalized(plane)
            tiles = _tiles(normalized, side)
            contrast = _tiles(deviation, side).mean((1, 2)) if contrast is None else contrast
            columns.append(np.array([_statistics(tile) for tile in tiles])[: len(contrast)])
        assert contrast is not None
        return np.concatenate(columns, axis=1), contrast


def _normal(features: Plane) -> tuple[Plane, Plane]:
    return features.mean(0), np.cov(features, rowvar=False)


def _normalized(x: Plane) -> tuple[Plane, Plane]:
    line = gaussian(7, 7 / 6)
    mean = separable(np.pad(x, 3, mode="edge"), line)
    square = separable(np.pad(x * x, 3, mode="edge"), line)
    deviation = np.sqrt(np.abs(square - mean**2))
    return (x - mean) / (deviation + 1), deviation


def _tiles(x: Plane, side: int) -> Plane:
    rows, columns = x.shape[0] // side, x.shape[1] // side
    cut = x[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return cut.swapaxes(1, 2).reshape(-1, side, side)


def _statistics(tile: Plane) -> list[float]:
    shape, left, right = _asymmetric(tile)
    found = [shape, (left + right) / 2]
    for rows, columns in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = _asymmetric(tile * np.roll(tile, (rows, columns), (0, 1)))
        mean = (right - left) * math.exp(
            math.lgamma(2 / shape) - 0.5 * (math.lgamma(1 / shape) + math.lgamma(3 / shape))
        )
        found += [shape, mean, left, right]
    return found


_SHAPES = np.arange(0.2, 10, 0.01)
_RATIOS = np.array([math.exp(2 * math.lgamma(2 / s) - math.lgamma(1 / s) - math.lgamma(3 / s)) for s in _SHAPES])


def _asymmetric(x: Plane) -> tuple[float, float, float]:
    """Shape and the two deviations of an asymmetric generalized Gaussian, by its moments."""
    left = math.sqrt((x[x < 0] ** 2).mean()) if (x < 0).any() else 1e-6
    right = math.sqrt((x[x > 0] ** 2).mean()) if (x > 0).any() else 1e-6
    gamma = left / right
    ratio = np.abs(x).mean() ** 2 / max(float((x**2).mean()), 1e-12)
    ratio *= (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1) ** 2
    return float(_SHAPES[np.abs(_RATIOS - ratio).argmin()]), left, right


MEASURES: dict[str, tuple[Callable[[FloatImage, FloatImage], float], int]] = {
    "PSNR-Y": (psnr, 1),
    "SSIM": (ssim, 1),
    "HaarPSI": (haarpsi, 1),
    "GMSD": (gmsd, -1),
    "MDSI": (mdsi, -1),
}
"""Each metric, and 1 where more is better, -1 where less is."""
