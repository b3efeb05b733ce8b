"""Inputs of an evaluation made from its reference images, by the degradation that training uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from varsr.choices import DegradationName
from varsr.errors import RequestError, VarsrError, as_varsr_error
from varsr.evaluation.datasets import Pair
from varsr.evaluation.degradation import Draws, degrade, eight_bits, jpeg, reduce
from varsr.images.pillow import image_of
from varsr.images.read import read_color
from varsr.images.size import Size
from varsr.tiling.array import FloatImage

STRENGTH = 0.6
"""Strength of the degradation, in the middle of what training uses."""
NOISE, QUALITY = 8.0, 50.0
"""Deviation in 255ths and quality of a small image with noise and JPEG alone."""


def make_input(reference: FloatImage, kind: DegradationName, scale: int, seed: int) -> tuple[FloatImage, FloatImage]:
    """An input (h, w, 3) for a reference (H, W, 3) in [0, 1], and the reference cropped to a multiple of the scale.

    Equal seeds give equal inputs. Raises `RequestError` for a reference that is smaller than 8 px of input.
    """
    height, width = (length // scale for length in reference.shape[:2])
    if min(height, width) < 8:
        raise RequestError(f"It is too small for inputs at 1/{scale} of its size.", "Leave it out.")
    cropped = reference[: height * scale, : width * scale]
    large = torch.from_numpy(np.ascontiguousarray(cropped.transpose(2, 0, 1)))[None]
    small = _degraded(large, (height, width), kind, Draws.seeded(seed, large.device))
    return small[0].permute(1, 2, 0).numpy(), cropped


def _degraded(large: Tensor, size: Size, kind: DegradationName, draws: Draws) -> Tensor:
    if kind == "realesrgan":
        return degrade(large, size, torch.full((1,), STRENGTH, device=large.device), draws)
    small = reduce(large, size)
    if kind == "bicubic":
        return small
    noisy = eight_bits((small + NOISE / 255 * draws.normal(small)).clamp(0, 1))
    return eight_bits(jpeg(noisy, torch.full((1,), QUALITY, device=large.device), draws))


def make_inputs(
    references: Sequence[Path], folder: Path, kind: DegradationName, scale: int, seed: int
) -> Iterator[Pair | tuple[Path, VarsrError]]:
    """Write inputs and cropped references into a folder; what cannot be read or is too small comes with its error."""
    for number, path in enumerate(references):
        pair = Pair(path.stem, folder / "inputs" / f"{path.stem}.png", folder / "references" / f"{path.stem}.png")
        try:
            small, cropped = make_input(read_color(path), kind, scale, seed + number)
            write_png(small, pair.image)
            write_png(cropped, pair.partner)
        except Exception as error:
            yield path, as_varsr_error(error)
        else:
            yield pair


def write_png(image: FloatImage, path: Path) -> None:
    """Write an image (H, W, 3) in [0, 1] with 8 bits a channel, as papers measure it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image_of([image]).save(path, compress_level=1)
