"""The Python interface: images as Pillow has them, and clear errors for what it does not take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from tests.conftest import Run
from tests.golden import DATA
from tests.sixteen_bit import write_sixteen_bit
from varsr import Options, Request, Upscaler, VarsrError, upscale_file
from varsr.errors import InputError, OutputError, RequestError
from varsr.images.metadata import Metadata
from varsr.images.read import read_photo
from varsr.images.size import TargetSize
from varsr.upscaling.request import Result

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
    wide = mode in ("I;16", "I", "F")
    expected = np.asarray(photo.convert(mode).convert("RGB") if not wide else photo.convert("L"))
    shown = np.asarray(result if wide else result.convert("RGB" if expected.ndim == 3 else "L"), int)
    assert result.mode == mode or not wide
    assert np.abs(shown // (257 if mode == "I;16" else 1) - expected.astype(int)).max() <= 2


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
    ["photo.jpg", Path("photo.jpg"), None, b"bytes"],
    ids=lambda w: type(w).__name__,
)
def test_what_is_no_image(upscaler: Upscaler, what: Any) -> None:
    with pytest.raises(RequestError, match="takes a Pillow image or an array, not"):
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
    with pytest.raises(RequestError, match=f"`{name}` cannot be"):
        Options(**values)


def test_a_type_that_there_is_not(identity: Path) -> None:
    with pytest.raises(RequestError, match="'fp8' is not a type"):
        Upscaler.from_pretrained(str(identity), dtype="fp8")  # type: ignore[arg-type]


GREY = np.linspace(0, 1, 24 * 20).reshape(20, 24)
COLOR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], -1)
CUT_OUT = np.concatenate((COLOR, (GREY > 0.5)[..., None]), -1)


@pytest.mark.parametrize("values", [GREY, COLOR, CUT_OUT], ids=["grey", "colour", "transparent"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_an_array_for_an_array(upscaler: Upscaler, values: np.ndarray, dtype: type) -> None:
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    given: np.ndarray = (values * white).astype(dtype)
    found = upscaler.upscale(given, scale=1)
    assert (found.dtype, found.shape) == (given.dtype, given.shape)
    visible = values[..., 3] > 0 if values.shape[-1] == 4 else ...
    assert np.abs(found[visible] / white - given[visible] / white).max() < (0.005 if white in (1, 255) else 0.001)
    assert upscaler.upscale(given, scale=2).shape == (40, 48, *given.shape[2:])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8, 2), np.uint8), np.zeros(8, np.uint8), np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.int32), np.zeros((8, 8), bool), np.full((8, 8), 2.0), np.full((8, 8), np.nan),
        np.array([["a"]]),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)  # fmt: skip
def test_arrays_that_are_not_images(upscaler: Upscaler, array: np.ndarray) -> None:
    with pytest.raises(RequestError, match="array"):
        upscaler.upscale(array)


def test_many_images_come_out_in_order_and_as_they_would_alone(nano: Path) -> None:
    upscaler = Upscaler.from_pretrained(str(nano), device="cpu", dtype="fp32")
    images = [Image.effect_noise((10 + n, 12), 40).convert("RGB") for n in range(6)]
    small = Request(images[0], TargetSize(width=20), Options(seed=5))
    given: list[Any] = [*images, small, "anything else", np.asarray(images[1])]
    found = [item.image() if isinstance(item, Result) else item for item in upscaler.upscale_many(given)]
    assert found[7] == "anything else"
    for image, result in zip(images, found, strict=False):
        assert np.array_equal(np.asarray(result), np.asarray(upscaler.upscale(image)))
    assert np.asarray(found[6]).shape == (24, 20, 3)
    assert np.array_equal(np.asarray(found[8]), np.asarray(found[1]))


def test_a_request_that_cannot_be_costs_itself_alone(upscaler: Upscaler) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    results = upscaler.upscale_many(Request(image, TargetSize(scale=scale)) for scale in (1, 9, 2))
    assert np.asarray(next(results).image()).shape == (8, 8, 3)
    with pytest.raises(RequestError, match="cannot be scaled by 9"):
        next(results).image()
    assert np.asarray(next(results).image()).shape == (16, 16, 3)


def test_all_frames_of_a_photo_are_upscaled(upscaler: Upscaler) -> None:
    photo = read_photo(FAULTS / "plays_once.gif")
    result = upscaler.upscale_photo(photo, TargetSize(scale=2))
    assert len(photo.frames) > 1
    assert [frame.size for frame in result.frames] == [(2 * h, 2 * w) for h, w in (f.size for f in photo.frames)]
    assert [frame.duration for frame in result.frames] == [frame.duration for frame in photo.frames]


def test_a_file_keeps_all_that_belongs_to_it(upscaler: Upscaler, tmp_path: Path) -> None:
    """A rotated photo of 16 bits with a P3 profile."""
    values = (COLOR * 65535).astype(np.uint16)
    profile = (FAULTS / "adobe_rgb.jpg").read_bytes()
    with Image.open(FAULTS / "adobe_rgb.jpg") as image:
        profile = image.info["icc_profile"]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    metadata = Metadata(exif=exif.tobytes(), icc_profile=profile, dpi=(300.0, 300.0))
    write_sixteen_bit(values.astype(np.float32) / np.float32(65535), tmp_path / "in.png", "PNG", metadata)
    outcome = upscale_file(tmp_path / "in.png", tmp_path / "out.tif", upscaler, scale=1)
    assert (outcome.status, outcome.size, outcome.target_size) == ("done", (24, 20), (24, 20))
    written = tifffile.imread(tmp_path / "out.tif")
    assert written.dtype == np.uint16
    assert np.abs(written.astype(int) - np.rot90(values, -1)).max() <= 66  # 0.1 %
    with Image.open(tmp_path / "out.tif") as image:
        assert image.info["icc_profile"] == profile
        assert image.getexif()[0x010F] == "a camera"


def test_a_file_is_what_the_command_writes(varsr: Run, nano: Path, photo: Path, tmp_path: Path) -> None:
    upscaler = Upscaler.from_pretrained(str(nano))
    upscale_file(photo, tmp_path / "python.png", upscaler, width=100, options=Options(seed=3, speed="fast"))
    varsr("upscale", photo, "-o", "command.png", "-m", nano, "--width", 100, "--seed", 3, "--speed", "fast")
    assert (tmp_path / "python.png").read_bytes() == (tmp_path / "command.png").read_bytes()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scale": 9}, RequestError), ({"scale": 2, "width": 8}, RequestError), ({"target": "out.xyz"}, RequestError),
        ({"source": "absent.jpg"}, InputError), ({"target": "nowhere/out.png"}, OutputError),
        ({"target": "photo.jpg"}, OutputError), ({"format": "doc", "target": "out"}, RequestError),
        ({"quality": 0}, RequestError), ({"background": (1, 2, 300)}, RequestError),
    ],
    ids=str,
)  # fmt: skip
def test_files_that_cannot_be(
    upscaler: Upscaler, photo: Path, changes: dict[str, Any], error: type[VarsrError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo.parent)
    given: dict[str, Any] = {"source": "photo.jpg", "target": "out.png", "upscaler": upscaler}
    with pytest.raises(error):
        upscale_file(**given | changes)
    assert sorted(path.name for path in photo.parent.iterdir()) == ["photo.jpg"]


def test_help_tells_a_stranger_all_they_need() -> None:
    import inspect

    doc = inspect.getdoc(upscale_file)
    assert doc is not None
    assert all(f"{name}:" in doc or f"`{name}`" in doc for name in inspect.signature(upscale_file).parameters)
    assert all(error.__name__ in doc for error in (RequestError, InputError, OutputError))


def test_every_option_is_documented_in_place() -> None:
    import ast
    import inspect

    (options,) = ast.parse(inspect.getsource(Options)).body
    assert isinstance(options, ast.ClassDef)
    for field, after in zip(options.body, options.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(after, ast.Expr), ast.unparse(field)
