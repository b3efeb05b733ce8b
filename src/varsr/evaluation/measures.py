"""The measures that an evaluation can make, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from varsr.choices import ChannelsName
from varsr.errors import RequestError
from varsr.evaluation.metrics.fidelity import psnr, ssim
from varsr.evaluation.metrics.niqe import load_pristine, niqe
from varsr.evaluation.metrics.similarity import gmsd, haarpsi, mdsi
from varsr.tiling.array import FloatImage


@dataclass(frozen=True)
class Convention:
    """Settings on which papers differ, and which belong beside every figure."""

    channels: ChannelsName = "y"
    """Channels of PSNR and SSIM."""
    crop_border: int = 0
    """Pixels that are left out at each border."""
    niqe_model: Path | None = None
    """Model of sharp photographs for NIQE; None is the authors'."""


@dataclass(frozen=True)
class Measure:
    """A measure's title for tables, and whether more of it is better."""

    title: str
    higher_is_better: bool


MEASURES: Mapping[str, Measure] = {
    "psnr": Measure("PSNR", True),
    "ssim": Measure("SSIM", True),
    "haarpsi": Measure("HaarPSI", True),
    "gmsd": Measure("GMSD", False),
    "mdsi": Measure("MDSI", False),
    "niqe": Measure("NIQE", False),
}
"""Those that varsr computes itself."""
_SIMILARITY: Mapping[str, Callable[[FloatImage, FloatImage], float]] = {"haarpsi": haarpsi, "gmsd": gmsd, "mdsi": mdsi}


def measure(
    names: Sequence[str], result: FloatImage, reference: FloatImage, convention: Convention
) -> dict[str, float]:
    """The measures of a result against its reference, images (H, W, 3) in [0, 1] of equal sizes.

    Raises `RequestError` where the sizes differ or the border leaves nothing.
    """
    if result.shape != reference.shape:
        (height, width), (other_height, other_width) = result.shape[:2], reference.shape[:2]
        raise RequestError(
            f"It has {width} x {height} pixels, its reference {other_width} x {other_height}.",
            "Results must have the size of the reference.",
        )
    border = convention.crop_border
    if border:
        result, reference = (image[border:-border, border:-border] for image in (result, reference))
    if min(reference.shape[:2]) < 16:
        raise RequestError("It is smaller than 16 pixels within the border.", "Leave it out.")
    return {name: _measured(name, result, reference, convention) for name in names}


def _measured(name: str, result: FloatImage, reference: FloatImage, convention: Convention) -> float:
    if name == "psnr":
        return psnr(result, reference, convention.channels)
    if name == "ssim":
        return ssim(result, reference, convention.channels)
    if name == "niqe":
        return niqe(result, load_pristine(convention.niqe_model) if convention.niqe_model else None)
    return _SIMILARITY[name](result, reference)
