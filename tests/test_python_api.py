"""The Python interface: images as Pillow has them, and clear errors for what it does not take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.golden import DATA
from varsr import Options, Upscaler
from varsr.errors import RequestError

FAULTS = DATA / "faults"


@pytest.fixture(scope="module")
def upscaler(identity: Path) -> Upscaler:
    """It changes nothing at scale 1."""
    return Upscaler.from_pretrained(str(identity), device="cpu", dtype="fp32")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_an_opened_file_keeps_what_belongs_to_it(upscaler: Upscaler, tmp_path: Path, suffix: str) -> None:
    """Orientation, profile and EXIF: as simply as the README has it."""
    with Image.open(FAULTS / "adobe_rgb.jpg") as image:
        exif, profile = Image.Exif(), image.info["icc_profile"]
        exif[0x0112], exif[0x010F] = 6, "a camera"
        image.save(tmp_path / "in.jpg", exif=exif, icc_profile=profile, quality=95, dpi=(300, 300))
    upscaler.upscale(Image.open(tmp_path / "in.jpg"), scale=1).save(tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as written, Image.open(tmp_path / "in.jpg") as given:
        assert written.size == (48, 64)
        assert written.info["icc_profile"] == profile
        assert written.getexif()[0x010F] == "a camera"
        assert written.getexif().get(0x0112, 1) == 1
        upright = np.asarray(given.transpose(Image.Transpose.ROTATE_270).convert("RGB"), int)
        assert np.abs(np.asarray(written.convert("RGB"), int) - upright).mean() < 8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "I", "F"])
def test_every_mode(upscaler: Upscaler, mode: str) -> None:
    with Image.open(DATA / "dandelion.jpg") as opened:
        photo = opened.resize((24, 20))
    grey = np.asarray(photo.convert("L"))
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode in ("I", "F"):
        image = Image.fromarray(grey.astype(np.int32 if mode == "I" else np.float32))
    else:
        image = photo.convert(mode)
    result = upscaler.upscale(image, scale=1)
    expected = np.asarray(photo.convert(mode).convert("RGB") if mode not in ("I;16", "I", "F") else photo.convert("L"))
    shown = np.asarray(result.convert("RGB" if expected.ndim == 3 else "L"), int)
    assert np.abs(shown - expected.astype(int)).max() <= 2


def test_a_lab_image_is_that_of_its_colours(upscaler: Upscaler) -> None:
    with Image.open(DATA / "dandelion.jpg") as opened:
        photo = opened.resize((24, 20)).convert("RGB")
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.applyTransform(photo, ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))
    assert image is not None
    difference = np.asarray(upscaler.upscale(image, scale=1), int) - np.asarray(photo, int)
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize(
    "what",
    ["photo.jpg", Path("photo.jpg"), np.zeros((8, 8, 3), np.uint8), None, b"bytes"],
    ids=lambda w: type(w).__name__,
)
def test_what_is_no_image(upscaler: Upscaler, what: Any) -> None:
    with pytest.raises(RequestError, match="takes a Pillow image, not"):
        upscaler.upscale(what)


def test_values_that_are_no_numbers(upscaler: Upscaler) -> None:
    with pytest.raises(RequestError, match="not numbers"):
        upscaler.upscale(Image.fromarray(np.full((8, 8), np.nan, np.float32)))


@pytest.mark.parametrize(
    "values",
    [
        {"speed": "turbo"}, {"color_fix": "bogus"}, {"cfg": float("nan")}, {"cfg": float("inf")}, {"cfg": -1},
        {"fidelity": 2}, {"keep_ratio": -0.1}, {"guided_tokens": float("nan")}, {"corrector_steps": 0},
        {"batch_size": 0}, {"seed": -1}, {"cfg": "strong"},
    ],
    ids=str,
)  # fmt: skip
def test_options_that_cannot_be(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(RequestError, match=f"{name} cannot be"):
        Options(**values)


def test_a_type_that_there_is_not(identity: Path) -> None:
    with pytest.raises(RequestError, match="'fp8' is not a type"):
        Upscaler.from_pretrained(str(identity), dtype="fp8")  # type: ignore[arg-type]
