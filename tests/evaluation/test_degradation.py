"""The degradation of training and evaluation."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.evaluation.pairs import photograph
from varsr.errors import RequestError
from varsr.evaluation.degradation import Draws, add_noise_of, degrade, gaussian_kernels, jpeg, reduce, sinc_kernels
from varsr.evaluation.inputs import make_input

CPU = torch.device("cpu")


@pytest.fixture
def image() -> torch.Tensor:
    """(1, 3, 160, 200)."""
    return torch.from_numpy(photograph((160, 200))).permute(2, 0, 1)[None].contiguous()


def test_equal_seeds_degrade_alike(image: torch.Tensor) -> None:
    first, again, other = (degrade(image, (40, 50), torch.ones(1), Draws.seeded(seed, CPU)) for seed in (1, 1, 2))
    assert first.shape == (1, 3, 40, 50)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first, (first * 255).round() / 255)


def test_reduction_is_pillows_bicubic(image: torch.Tensor) -> None:
    found = reduce(image, (40, 50))[0].permute(1, 2, 0).numpy() * 255
    pixels = Image.fromarray((image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    assert np.abs(found - np.asarray(pixels.resize((50, 40), Image.Resampling.BICUBIC), np.float32)).max() <= 1


@pytest.mark.parametrize("quality", [30, 50, 75])
def test_compression_is_that_of_jpeg(image: torch.Tensor, quality: int) -> None:
    """Two encoders round differently; what they lose is the same."""
    buffer = io.BytesIO()
    Image.fromarray((image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(
        buffer, "JPEG", quality=quality, subsampling=2
    )
    reference = torch.from_numpy(np.asarray(Image.open(buffer), np.float32) / 255).permute(2, 0, 1)
    many = jpeg(image.repeat(8, 1, 1, 1), torch.full((8,), float(quality)), Draws.seeded(0, CPU))
    nearest = (many - reference).abs().mean((1, 2, 3)).min()  # some have halved chroma
    assert nearest < 0.5 * (image[0] - reference).abs().mean()


@pytest.mark.parametrize("grey", [0.0, 1.0])
@pytest.mark.parametrize("shot", [0.0, 1.0])
def test_noise_is_grey_or_coloured_and_even_or_as_of_photons(grey: float, shot: float) -> None:
    halves = torch.tensor([0.3, 0.6]).repeat_interleave(64).expand(2, 3, 128, 128)  # dark and bright
    noise = add_noise_of(halves, torch.full((2,), 0.04), Draws.seeded(0, CPU), grey, shot) - halves
    assert torch.allclose(noise[:, 0], noise[:, 1], atol=1e-6) == bool(grey)
    dark, bright = noise.split(64, dim=3)
    assert float(bright.std() / dark.std()) == pytest.approx(2**0.5 if shot else 1, rel=0.03)


def test_kernels_keep_the_brightness() -> None:
    draws = Draws.seeded(0, CPU)
    for kernels in (gaussian_kernels(15, torch.tensor([0.3, 3.0]), draws), sinc_kernels(11, 2, draws)):
        torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(2))


@pytest.mark.parametrize("kind", ["bicubic", "realesrgan", "noise-jpeg"])
def test_inputs_have_a_whole_share_of_the_reference(kind: str) -> None:
    reference = photograph((130, 101))
    small, cropped = make_input(reference, kind, 4, seed=3)  # type: ignore[arg-type]
    assert small.shape == (32, 25, 3)
    assert np.array_equal(cropped, reference[:128, :100])
    again, _ = make_input(reference, kind, 4, seed=3)  # type: ignore[arg-type]
    assert np.array_equal(small, again)


def test_a_reference_that_is_too_small_is_refused() -> None:
    with pytest.raises(RequestError, match="too small"):
        make_input(photograph((20, 20)), "bicubic", 4, seed=0)
