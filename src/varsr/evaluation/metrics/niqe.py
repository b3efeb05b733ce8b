"""NIQE: how far an image's local statistics are from those of sharp photographs (Mittal et al. 2013).

As in the authors' program: blocks of 96 px, the image at full and at half size, and their model of 125 photographs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from varsr.errors import RequestError, describe
from varsr.evaluation.metrics.channels import channels_of
from varsr.tiling.array import FloatImage

BLOCK = 96
PUBLISHED = "niqe_pris_params.npz"
"""The authors' model as the package basicsr 1.4.2 has it (Apache-2.0, see NOTICE beside it)."""

_SHAPES = torch.arange(0.2, 10.001, 0.001, dtype=torch.float64)
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class PristineModel:
    """Statistics of sharp photographs: the features' mean (36) and covariance (36, 36), and the window (7, 7)."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    window: NDArray[np.float64]


@lru_cache
def load_pristine(path: Path) -> PristineModel:
    """Read a model with the arrays `mu_pris_param`, `cov_pris_param` and `gaussian_window`.

    Raises `RequestError` where `path` is not one.
    """
    try:
        arrays = np.load(path, allow_pickle=False)
        model = PristineModel(
            *(np.asarray(arrays[name], np.float64) for name in ("mu_pris_param", "cov_pris_param", "gaussian_window"))
        )
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(
            f"{path} is not a model for NIQE ({describe(error)}).", "Give an .npz file as the package basicsr has it."
        ) from error
    if model.mean.size != 36 or model.covariance.shape != (36, 36):
        raise RequestError(f"{path} is not a model for NIQE with blocks of {BLOCK} px.", "Give another file.")
    return model


@lru_cache
def published_model() -> PristineModel:
    """The authors' model."""
    with as_file(files("varsr.evaluation.metrics") / PUBLISHED) as path:
        return load_pristine(path)


def niqe(image: FloatImage, model: PristineModel | None = None) -> float:
    """NIQE of an image (H, W, 3) in [0, 1], on the Y of BT.601; lower is more natural. NaN below 2 blocks."""
    model = model or published_model()
    luma = channels_of(image, "y").round()  # as MATLAB's
    rows, columns = (length // BLOCK for length in image.shape[:2])
    if rows * columns < 2:
        return math.nan
    luma = luma[None, :, : rows * BLOCK, : columns * BLOCK]
    features = torch.cat((_features(luma, BLOCK, model), _features(_half(luma), BLOCK // 2, model)), 1).numpy()
    whole = features[~np.isnan(features).any(1)]
    covariance = np.cov(whole, rowvar=False) if len(whole) > 1 else np.full((36, 36), np.nan)
    if np.isnan(covariance).any():
        return math.nan
    difference = model.mean.ravel() - np.nanmean(features, 0)
    distance = difference @ np.linalg.pinv((model.covariance + covariance) / 2) @ difference
    return math.sqrt(distance)


def _features(luma: Tensor, side: int, model: PristineModel) -> Tensor:
    """18 numbers of each block of `side` px: (1, 1, H, W) -> (N, 18)."""
    window = torch.from_numpy(model.window)[None, None]
    margin = window.shape[-1] // 2
    mean, square = (F.conv2d(F.pad(x, (margin,) * 4, mode="replicate"), window) for x in (luma, luma**2))
    normalized = (luma - mean) / ((square - mean**2).abs().sqrt() + 1)
    blocks = rearrange(normalized, "1 1 (r h) (c w) -> (r c) h w", h=side, w=side)
    shape, left, right = _asymmetric(blocks)
    found = [shape, (left + right) / 2]
    for shift in _NEIGHBOURS:
        shape, left, right = _asymmetric(blocks * blocks.roll(shift, (1, 2)))
        mean_product = (right - left) * (torch.lgamma(2 / shape) - torch.lgamma(1 / shape)).exp()
        found += [shape, mean_product, left, right]
    return torch.stack(found, 1)


def _asymmetric(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape and both scales of asymmetric generalized Gaussians fitted to blocks (N, H, W), by their moments."""
    values = blocks.flatten(1)
    left, right = (_deviation(values, values < 0), _deviation(values, values > 0))
    gamma = left / right
    ratio = values.abs().mean(1) ** 2 / values.square().mean(1)
    ratio = ratio * (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1) ** 2
    log_gammas = [torch.lgamma(n / _SHAPES) for n in (1, 2, 3)]
    table = (2 * log_gammas[1] - log_gammas[0] - log_gammas[2]).exp()
    shape = _SHAPES[(table - ratio[:, None]).square().argmin(1)]
    shape = torch.where(ratio.isnan(), torch.nan, shape)
    scale = (torch.lgamma(1 / shape) / 2 - torch.lgamma(3 / shape) / 2).exp()
    return shape, left * scale, right * scale


def _deviation(values: Tensor, chosen: Tensor) -> Tensor:
    return ((values**2 * chosen).sum(1) / chosen.sum(1)).sqrt()


def _half(luma: Tensor) -> Tensor:
    """Half the size as by MATLAB's imresize: bicubic (a = -0.5) widened to 8 px, borders mirrored."""
    distance = (torch.arange(8, dtype=torch.float64) - 3.5).abs() / 2
    near, far = 1.5 * distance**3 - 2.5 * distance**2 + 1, -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    line = torch.where(distance <= 1, near, far)
    line = line / line.sum()
    padded = torch.from_numpy(np.pad(luma[0, 0].numpy(), 3, mode="symmetric"))[None, None]
    rows = F.conv2d(padded, line.view(1, 1, -1, 1), stride=(2, 1))
    return F.conv2d(rows, line.view(1, 1, 1, -1), stride=(1, 2))
