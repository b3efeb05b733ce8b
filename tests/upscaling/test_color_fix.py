from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.disk import small_disk
from tests.golden import DATA
from varsr.choices import ColorFix
from varsr.errors import OutputError
from varsr.images.read import read_photo
from varsr.tiling.array import FloatImage
from varsr.upscaling.color_fix import fixed_bands, low_frequencies


@pytest.fixture
def image() -> FloatImage:
    return read_photo(DATA / "dandelion.jpg").color


def fix_colors(result: FloatImage, reference: FloatImage, fix: ColorFix, rows: int = 20) -> FloatImage:
    bands = (result[top : top + rows] for top in range(0, len(result), rows))
    return np.concatenate(
        [b for b in fixed_bands(bands, lambda top, bottom: reference[top:bottom], fix) if b is not None]
    )


@pytest.mark.parametrize("fix", ["adain", "wavelet", "none"])
@pytest.mark.parametrize("rows", [1, 7, 31, 64, 300])
def test_bands_make_no_difference(image: FloatImage, fix: ColorFix, rows: int) -> None:
    result = np.random.default_rng(0).random(image.shape, np.float32)
    whole = fix_colors(result, image, fix, len(image))
    np.testing.assert_allclose(fix_colors(result, image, fix, rows), whole, atol=1e-5)


def test_adain_brings_back_mean_and_spread(image: FloatImage) -> None:
    gain, offset = np.array([[0.5, 1.2, 0.8], [0.1, -0.1, 0.2]], np.float32)
    shifted = image * gain + offset
    fixed = fix_colors(shifted, image, "adain")
    np.testing.assert_allclose(fixed.mean((0, 1)), image.mean((0, 1)), atol=1e-4)
    np.testing.assert_allclose(fixed.std((0, 1)), image.std((0, 1)), atol=1e-3)
    np.testing.assert_allclose(fixed, image, atol=2e-3)  # a linear shift is undone entirely


def test_wavelet_takes_low_frequencies_from_the_input_and_high_ones_from_the_result(image: FloatImage) -> None:
    shifted = image + np.float32(0.2)
    np.testing.assert_allclose(fix_colors(shifted, image, "wavelet"), image, atol=1e-5)
    noisy = image + np.random.default_rng(0).normal(0, 0.1, image.shape).astype(np.float32)
    fixed = fix_colors(noisy, image, "wavelet")
    assert np.abs(low_frequencies(fixed) - low_frequencies(image)).max() < 0.02
    assert (fixed - image).std() > 0.09


def test_wavelet_kernel_is_binomial_with_growing_distance() -> None:
    impulse = np.zeros((129, 129, 1), np.float32)
    impulse[64, 64] = 1
    response = low_frequencies(impulse)[..., 0]
    assert response.sum() == pytest.approx(1)
    assert np.flatnonzero(response[64])[[0, -1]].tolist() == [64 - 31, 64 + 31]  # 1 + 2 + 4 + 8 + 16


def test_none_changes_nothing(image: FloatImage) -> None:
    np.testing.assert_array_equal(fix_colors(image, image * 0, "none"), image)


def test_a_full_disk_for_temporary_files_is_told(
    image: FloatImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("varsr.upscaling.color_fix.IN_MEMORY", 1000)
    with small_disk(tmp_path / "small", "256k") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(OutputError, match="temporary files"):
            fix_colors(image, image, "adain")
        monkeypatch.undo()


@pytest.mark.parametrize("fix", ["adain", "wavelet", "none"])
def test_steps_without_a_band_are_passed_on_while_bands_are_computed(image: FloatImage, fix: ColorFix) -> None:
    asked = []

    def steps() -> Iterator[FloatImage | None]:
        for row in range(4):
            asked.append(row)
            yield None
        yield image

    found = fixed_bands(steps(), lambda top, bottom: image[top:bottom], fix)
    assert next(found) is None
    assert asked == [0], "nothing is computed ahead of a step"
    assert sum(len(step) for step in found if step is not None) == len(image)
