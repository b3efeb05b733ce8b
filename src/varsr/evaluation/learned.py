"""Measures by neural networks, through the package pyiqa where the user has installed it.

Its licence, PolyForm Noncommercial, is not varsr's, and it downloads its weights itself.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from varsr.errors import RequestError
from varsr.evaluation.measures import Measure
from varsr.tiling.array import FloatImage

LEARNED: Mapping[str, Measure] = {
    "lpips": Measure("LPIPS", False),
    "dists": Measure("DISTS", False),
    "musiq": Measure("MUSIQ", True),
    "maniqa": Measure("MANIQA", True),
    "clipiqa": Measure("CLIPIQA", True),
    "fid": Measure("FID", False),
}
WITHOUT_REFERENCE = ("musiq", "maniqa", "clipiqa")
OF_FOLDERS = ("fid",)
"""Measures of all images of a folder together."""


class LearnedMeasures:
    """Networks of pyiqa on a device, loaded when they are first used."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.metrics: dict[str, Any] = {}

    def of_image(self, name: str, result: FloatImage, reference: FloatImage) -> float:
        """A measure of one image (H, W, 3) in [0, 1]."""
        images = (result,) if name in WITHOUT_REFERENCE else (result, reference)
        tensors = [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None] for image in images]
        with torch.inference_mode():
            return float(self.load(name)(*(tensor.float().to(self.device) for tensor in tensors)))

    def of_folders(self, name: str, results: Path, references: Path) -> float:
        """A measure of two folders."""
        return float(self.load(name)(str(results), str(references)))

    def load(self, name: str) -> Any:
        """The network of a measure, which pyiqa may have to download first."""
        if name not in self.metrics:
            self.metrics[name] = importlib.import_module("pyiqa").create_metric(name, device=self.device)
        return self.metrics[name]


def require_pyiqa(names: list[str]) -> None:
    """Raise `RequestError` where measures by networks are asked for and pyiqa is not installed."""
    if names and importlib.util.find_spec("pyiqa") is None:
        raise RequestError(
            f"{', '.join(LEARNED[name].title for name in names)} need the package pyiqa.",
            "Install it with pip install pyiqa, if its licence for noncommercial use suits you.",
        )
