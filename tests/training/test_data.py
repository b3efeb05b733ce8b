from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.golden import DATA
from training.crops import Crops, Mix, degrade_target
from training.photographs import is_photographic, licence_of, split_of
from varsr.evaluation.degradation import convolve, degrade, from_image
from varsr.evaluation.metrics import MEASURES, Naturalness, checkerboard
from varsr.images.resize import resize
from varsr.tiling.array import FloatImage


@pytest.fixture(scope="module")
def photograph() -> FloatImage:
    return from_image(Image.open(DATA / "dandelion.jpg"))


@pytest.mark.parametrize("name", MEASURES)
def test_measures_rank_degradations(photograph: FloatImage, name: str) -> None:
    function, sign = MEASURES[name]
    size = photograph.shape[:2]
    blurred = {factor: resize(resize(photograph, (256 // factor,) * 2), size).clip(0, 1) for factor in (2, 4)}
    same, little, much = (sign * function(x, photograph) for x in (photograph, blurred[2], blurred[4]))
    assert same > little > much


@pytest.mark.parametrize(("name", "value"), [("SSIM", 1), ("HaarPSI", 1), ("GMSD", 0), ("MDSI", 0)])
def test_identical_images(photograph: FloatImage, name: str, value: float) -> None:
    assert MEASURES[name][0](photograph, photograph) == pytest.approx(value, abs=1e-6)


def test_naturalness_prefers_the_sharp(photograph: FloatImage) -> None:
    natural = Naturalness([photograph, photograph[::-1], photograph[:, ::-1]])
    blurred = resize(resize(photograph, (64, 64)), photograph.shape[:2]).clip(0, 1)
    assert natural(photograph) < natural(blurred)


def test_dots_are_told_from_sharpness(photograph: FloatImage) -> None:
    """Faint ones at edges, which leave PSNR above 45 dB, are seen; sharpening and enlarging are not taken for them."""
    large = resize(photograph, tuple(4 * n for n in photograph.shape[:2])).clip(0, 1)
    edges = np.abs(np.gradient(large, axis=0))
    columns = np.where(np.arange(large.shape[1]) % 2, 1, -1)[:, None]
    dotted = (large + 0.3 * edges * columns).clip(0, 1)
    sharpened = (large + 2 * (large - resize(photograph[::2, ::2], large.shape[:2]))).clip(0, 1)
    assert MEASURES["PSNR-Y"][0](dotted, large) > 45
    assert checkerboard(dotted) > 4 * checkerboard(large)
    assert checkerboard(sharpened) < 1.5 * checkerboard(large)


def test_degradation_is_seeded_and_keeps_its_promise(photograph: FloatImage) -> None:
    first, again, other = (degrade(photograph, (64, 48), 0.8, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape == (64, 48, 3)
    assert 0 <= first.min() <= first.max() <= 1
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_convolution_with_an_impulse_moves_the_image(photograph: FloatImage) -> None:
    kernel = np.zeros((21, 21), np.float32)
    kernel[10, 11] = 1
    np.testing.assert_allclose(convolve(photograph, kernel)[:, 1:], photograph[:, :-1], atol=1e-5)


def test_crops_are_aligned_pairs_the_same_for_the_same_seed(photograph: FloatImage, tmp_path: Path) -> None:
    Image.open(DATA / "dandelion.jpg").save(tmp_path / "a.png")
    mix = Mix(clean=1, negative=0, scales=(2,))
    first, again = (next(iter(Crops(tmp_path, 64, 4, seed=3, mix=mix))) for _ in range(2))
    assert torch.equal(first.sharp, again.sharp)
    assert first.sharp.shape == first.upsampled.shape == (4, 3, 64, 64)
    assert (first.sharp - first.upsampled).abs().mean() < 0.1
    assert first.labels.tolist() == [0, 0, 0, 0]


def test_spoilt_targets_differ(photograph: FloatImage) -> None:
    for seed in range(6):
        assert np.abs(degrade_target(photograph, np.random.default_rng(seed)) - photograph).mean() > 0.005


def test_what_is_photographic(photograph: FloatImage) -> None:
    assert is_photographic(Image.open(DATA / "dandelion.jpg"))
    assert not is_photographic(Image.linear_gradient("L").convert("RGB"))
    assert not is_photographic(Image.new("RGB", (400, 400), "red"))


def test_splits_are_by_name_alone() -> None:
    names = [f"photo {i}" for i in range(1000)]
    counts = {split: sum(split_of(n) == split for n in names) for split in ("train", "validation", "test")}
    assert counts["train"] > 700
    assert min(counts.values()) > 60


def test_licences_are_those_of_the_last_stanza_that_names_the_file() -> None:
    text = "Format: x\n\nFiles: *\nLicense: GPL-2+\n\nFiles: 16.04/a.jpg\n 16.04/b.jpg\nLicense: CC0-1.0\n"
    assert licence_of(text, "usr/share/backgrounds/b.jpg") == "CC0-1.0"
    assert licence_of(text, "usr/share/backgrounds/c.jpg") == "GPL-2+"
