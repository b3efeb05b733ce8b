"""Metrics agree with piq 0.8, scikit-image and basicsr (references.json, by make_references.py), and rank images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.pairs import pairs, photograph
from varsr.errors import RequestError
from varsr.evaluation.metrics.fidelity import psnr, ssim
from varsr.evaluation.metrics.lattice import PERIODS, lattice
from varsr.evaluation.metrics.niqe import load_pristine, niqe
from varsr.evaluation.metrics.similarity import gmsd, haarpsi, mdsi
from varsr.tiling.array import FloatImage

REFERENCES: dict[str, dict[str, float]] = json.loads(Path(__file__).with_name("references.json").read_text())
METRICS: dict[str, Callable[[FloatImage, FloatImage], float]] = {
    "psnr y": lambda x, y: psnr(x, y, "y"),
    "psnr y-full": lambda x, y: psnr(x, y, "y-full"),
    "psnr rgb": lambda x, y: psnr(x, y, "rgb"),
    "ssim y": lambda x, y: ssim(x, y, "y"),
    "ssim y-full": lambda x, y: ssim(x, y, "y-full"),
    "ssim rgb": lambda x, y: ssim(x, y, "rgb"),
    "haarpsi": haarpsi,
    "gmsd": gmsd,
    "mdsi": mdsi,
}


def test_there_are_twenty_pairs() -> None:
    assert len(pairs()) == len(REFERENCES) == 20


@pytest.mark.parametrize("name", REFERENCES)
def test_metrics_agree_with_other_implementations(name: str) -> None:
    result, reference = pairs()[name]
    for metric, function in METRICS.items():
        assert function(result, reference) == pytest.approx(REFERENCES[name][metric], rel=1e-3), metric
    assert niqe(result) == pytest.approx(REFERENCES[name]["niqe"], rel=0.01)


def test_equal_images_have_the_best_values() -> None:
    image = photograph((96, 128))
    assert math.isinf(psnr(image, image))
    assert ssim(image, image) == pytest.approx(1)
    assert haarpsi(image, image) == pytest.approx(1, abs=1e-6)
    assert gmsd(image, image) == pytest.approx(0, abs=1e-6)
    assert mdsi(image, image) == pytest.approx(0, abs=1e-3)


def test_an_image_of_one_block_has_no_niqe() -> None:
    assert math.isnan(niqe(photograph((100, 100))))


@pytest.mark.parametrize("damage", ["missing", "not an archive", "other arrays"])
def test_a_wrong_model_for_niqe_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.npz"
    if damage == "not an archive":
        path.write_bytes(b"no archive")
    elif damage == "other arrays":
        np.savez(path, mean=np.zeros(3))
    with pytest.raises(RequestError, match="is not a model for NIQE"):
        load_pristine(path)


@pytest.mark.parametrize("period", PERIODS)
def test_a_faint_pattern_is_told_from_a_photograph(period: int) -> None:
    """Photographs have more power at low frequencies, so that a coarse pattern must be stronger to be seen."""
    image = photograph((256, 256))
    strength = 0.02 * max(1.0, period / 5)
    rows, columns = np.indices(image.shape[:2]) % period < period // 2
    for pattern in (columns, rows == columns):
        patterned = (image + strength * pattern[..., None]).clip(0, 1)
        assert psnr(patterned, image) > 28
        assert lattice(patterned, period) > 1.3 * lattice(image, period)
