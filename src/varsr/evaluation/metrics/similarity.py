"""Perceptual similarity to a reference image: HaarPSI, GMSD, MDSI.

All take images (H, W, 3) in [0, 1] and compute in float64 on values up to 255. They agree with piq 0.8.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from varsr.evaluation.metrics.filters import gradient, halved, similarity
from varsr.tiling.array import FloatImage

_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
_LHM = ((0.2989, 0.587, 0.114), (0.3, 0.04, -0.35), (0.34, -0.6, 0.17))
_HAAR_CONSTANT, _HAAR_SHARPNESS = 30.0, 4.2
_HAAR_SCALES = (2, 4, 8)


def gmsd(result: FloatImage, reference: FloatImage) -> float:
    """Gradient magnitude similarity deviation (Xue et al. 2014); 0 for equal images."""
    x, y = (gradient(halved(_planes(image, _YIQ)[:1])) for image in (result, reference))
    return float(similarity(x, y, 170).std(correction=0))


def mdsi(result: FloatImage, reference: FloatImage) -> float:
    """Mean deviation similarity index (Nafchi et al. 2016), eq. 10 with q = 1/4; 0 for equal images."""
    (l1, *chroma1), (l2, *chroma2) = (
        _reduced(_planes(image, _LHM), round(min(image.shape[:2]) / 256)).split(1) for image in (result, reference)
    )
    g1, g2, mixed = gradient(l1), gradient(l2), gradient((l1 + l2) / 2)
    structure = similarity(g1, g2, 140) + similarity(g1, mixed, 55) - similarity(g2, mixed, 55)
    products = sum(a * b for a, b in zip(chroma1, chroma2, strict=True))
    squares = sum(c**2 for c in (*chroma1, *chroma2))
    chroma = (2 * products + 550) / (squares + 550)
    root = (0.6 * structure + 0.4 * chroma).to(torch.complex128) ** 0.25
    return float((root - root.mean()).abs().mean() ** 0.25)


def haarpsi(result: FloatImage, reference: FloatImage) -> float:
    """Haar wavelet-based perceptual similarity index (Reisenhofer et al. 2018); 1 for equal images."""
    x, y = (halved(_planes(image, _YIQ)) for image in (result, reference))
    waves_x, waves_y = ([_haar(planes[:1], side) for side in _HAAR_SCALES] for planes in (x, y))
    fine = [similarity(a, b, _HAAR_CONSTANT) for a, b in zip(waves_x[:2], waves_y[:2], strict=True)]
    weights = torch.maximum(waves_x[2], waves_y[2])
    chroma = [F.avg_pool2d(F.pad(planes[1:], (0, 1, 0, 1)), 2, stride=1).abs() for planes in (x, y)]
    chroma_map = similarity(chroma[0], chroma[1], _HAAR_CONSTANT).mean(0, keepdim=True)
    maps = torch.cat(((fine[0] + fine[1]) / 2, chroma_map), 1)
    weights = torch.cat((weights, weights.mean(1, keepdim=True)), 1)
    tiny = torch.finfo(torch.float64).eps
    score = (((_HAAR_SHARPNESS * maps).sigmoid() * weights).sum() + tiny) / (weights.sum() + tiny)
    return (math.log(float(score / (1 - score))) / _HAAR_SHARPNESS) ** 2


def _planes(image: FloatImage, weights: tuple[tuple[float, ...], ...]) -> Tensor:
    """(H, W, 3) in [0, 1] -> (C, 1, H, W) in 255ths."""
    pixels = torch.from_numpy(np.asarray(image, np.float64)) * 255
    return torch.einsum("hwi,ci->chw", pixels, torch.tensor(weights, dtype=torch.float64))[:, None]


def _reduced(x: Tensor, factor: int) -> Tensor:
    """The means of squares of `factor` px, zeros around."""
    if factor <= 1:
        return x
    before, after = (factor - 1) // 2, factor // 2
    return F.avg_pool2d(F.pad(x, (before, after, before, after)), factor)


def _haar(x: Tensor, side: int) -> Tensor:
    """Magnitudes of the responses to the two Haar wavelets of a side: (1, 1, H, W) -> (1, 2, H, W)."""
    kernel = torch.full((side, side), 1 / side, dtype=x.dtype)
    kernel[side // 2 :] *= -1
    padded = F.pad(x, (side // 2 - 1, side // 2, side // 2 - 1, side // 2))
    return F.conv2d(padded, torch.stack((kernel, kernel.T))[:, None]).abs()
