"""The built-in model: there, the default, and better than what it starts from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Run
from tests.golden import DATA
from varsr import Options, Upscaler
from varsr.weights.registry import load_registry
from varsr.weights.store import resolve_model


@pytest.fixture(scope="module")
def mini() -> Upscaler:
    return Upscaler.from_pretrained("mini", device="cpu")


def psnr(result: Image.Image, ground_truth: Image.Image) -> float:
    difference = np.asarray(result.convert("L"), float) - np.asarray(ground_truth.convert("L"), float)
    return float(20 * np.log10(255) - 10 * np.log10(np.square(difference).mean()))


@pytest.fixture(scope="module")
def ground_truth() -> Image.Image:
    """Part of a photograph that no training saw."""
    with Image.open(DATA / "dandelion.jpg") as image:
        return image.crop((32, 32, 224, 224))


def test_it_is_the_default_and_fits_in_a_wheel() -> None:
    assert load_registry().default == "mini"
    assert resolve_model("mini").stat().st_size <= 30_000_000


def test_it_is_nearer_to_a_clean_photograph_than_bicubic(mini: Upscaler, ground_truth: Image.Image) -> None:
    low = ground_truth.resize((48, 48), Image.Resampling.BICUBIC)
    bicubic = low.resize(ground_truth.size, Image.Resampling.BICUBIC)
    assert psnr(mini.upscale(low, options=Options(realism=0)), ground_truth) > psnr(bicubic, ground_truth)


@pytest.mark.xfail(
    reason="strong noise on so fine a texture is still beyond mini: 0.53 dB below bicubic at realism 0, 0.32 by default"
)
def test_it_restores_what_compression_took(mini: Upscaler, ground_truth: Image.Image, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 6, (48, 48, 3))
    noisy = np.asarray(ground_truth.resize((48, 48), Image.Resampling.BICUBIC), float) + noise
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / "low.jpg", quality=60)
    with Image.open(tmp_path / "low.jpg") as low:
        bicubic = low.resize(ground_truth.size, Image.Resampling.BICUBIC)
        assert psnr(mini.upscale(low), ground_truth) > psnr(bicubic, ground_truth) + 0.5


def test_it_restores_a_cropped_jpeg_as_the_whole_one(mini: Upscaler, ground_truth: Image.Image, tmp_path: Path) -> None:
    """Wherever the blocks of JPEG begin, it reads as much compression."""
    noise = np.random.default_rng(0).normal(0, 8, (96, 96, 3))
    noisy = np.asarray(ground_truth.resize((96, 96), Image.Resampling.BICUBIC), float) + noise
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / "low.jpg", quality=50)
    with Image.open(tmp_path / "low.jpg") as low:
        whole = mini.upscale(low)
        middle = whole.crop((96, 96, 288, 288))
        for left, top in ((1, 0), (2, 3), (5, 6)):
            cropped = mini.upscale(low.crop((left, top, 96, 96)))
            box = 96 - 4 * left, 96 - 4 * top, 288 - 4 * left, 288 - 4 * top
            assert psnr(cropped.crop(box), middle) > 45


def test_flat_images_stay_flat(mini: Upscaler) -> None:
    """No texture, no seam and no shift of colour where there is nothing to see."""
    for color in ((128, 128, 128), (30, 90, 200), (250, 250, 245)):
        result = np.asarray(mini.upscale(Image.new("RGB", (70, 50), color)), int)
        assert np.abs(result - color).max() <= 12
        assert np.abs(result.mean((0, 1)) - color).max() <= 3


def test_a_first_run_needs_no_network_and_says_that_there_is_more(varsr: Run, photo: Path) -> None:
    first = varsr("upscale", photo)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("--model varsr") == 1
    with Image.open(photo.with_name("photo_x4.jpg")) as image:
        assert image.size == (160, 120)
    assert "--model varsr" not in varsr("upscale", photo, "--overwrite").stderr


def test_it_is_listed_as_built_in_and_stays(varsr: Run) -> None:
    listing = next(line for line in varsr("models").stdout.splitlines() if " mini " in line)
    assert listing.startswith("*")
    assert "built in" in listing
    assert varsr("models", "remove", "mini").returncode == 2
    assert json.loads(varsr("models", "info", "mini").stdout)["parameters"] > 9_000_000
