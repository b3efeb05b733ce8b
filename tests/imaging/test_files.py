"""Real files in, real files out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.golden import DATA
from varsr.errors import InputError, OutputError, RequestError
from varsr.imaging.read import read_photo
from varsr.imaging.write import Encoding, check_fits, check_target, write_photo

FORMATS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF"}


@pytest.fixture
def image() -> Image.Image:
    with Image.open(DATA / "dandelion.jpg") as opened:
        return opened.resize((48, 36))


def round_trip(path: Path, target: Path) -> Image.Image:
    write_photo(read_photo(path), target)
    with Image.open(target) as written:
        written.load()
        return written


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_format_comes_back(image: Image.Image, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"in{suffix}"
    image.save(source, quality=100)
    written = round_trip(source, tmp_path / f"out{suffix}")
    assert written.format == FORMATS[suffix]
    assert np.abs(np.asarray(written, int) - np.asarray(image, int)).mean() < 4


def test_orientation_is_applied_and_reset(image: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    exif[0x010F] = "a camera"
    image.save(tmp_path / "in.jpg", exif=exif, quality=95)
    written = round_trip(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert written.size == (36, 48)
    assert written.getexif().get(0x0112, 1) == 1
    assert written.getexif()[0x010F] == "a camera"
    upright = np.asarray(image.transpose(Image.Transpose.ROTATE_270), int)
    assert np.abs(np.asarray(written, int) - upright).mean() < 6


@pytest.mark.parametrize("suffix", FORMATS)
def test_profile_and_density_are_kept(image: Image.Image, tmp_path: Path, suffix: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / f"in{suffix}", icc_profile=profile, dpi=(300, 300))
    written = round_trip(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    assert written.info["icc_profile"] == profile
    if suffix != ".webp":  # which has no place for it
        assert written.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_transparency_is_kept(image: Image.Image, tmp_path: Path, suffix: str) -> None:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / f"in{suffix}", lossless=True)
    written = round_trip(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    assert written.mode == "RGBA"
    assert np.abs(np.asarray(written.getchannel("A"), int) - np.asarray(image.getchannel("A"), int)).max() <= 2


def test_grey_stays_grey(image: Image.Image, tmp_path: Path) -> None:
    image.convert("L").save(tmp_path / "in.jpg")
    assert round_trip(tmp_path / "in.jpg", tmp_path / "out.jpg").mode == "L"


def test_palette_with_transparency(image: Image.Image, tmp_path: Path) -> None:
    image.quantize(16).save(tmp_path / "in.png", transparency=0)
    assert round_trip(tmp_path / "in.png", tmp_path / "out.png").mode == "RGBA"


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "in.png")
    written = np.asarray(round_trip(tmp_path / "in.png", tmp_path / "out.png"), int)
    assert np.abs(written - values // 257).max() <= 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "no picture"), (b"not a picture at all", "no picture"), (None, "does not exist")],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "in.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        read_photo(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_file_is_refused(image: Image.Image, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    image.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"in\."):
        read_photo(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        read_photo(tmp_path)


def test_targets_are_checked_beforehand(tmp_path: Path) -> None:
    (tmp_path / "there.png").touch()
    check_target(tmp_path / "new.png", overwrite=False)
    check_target(tmp_path / "there.png", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["there.png"]
    for path, complaint in (("there.png", "exists"), ("no/folder.png", "no folder")):
        with pytest.raises(OutputError, match=complaint):
            check_target(tmp_path / path, overwrite=False)
    with pytest.raises(RequestError, match="no format"):
        Encoding().of(tmp_path / "new.txt")


def test_limits_of_formats(tmp_path: Path) -> None:
    check_fits(tmp_path / "a.png", (20_000, 70_000), transparent=True)
    with pytest.raises(RequestError, match="transparency"):
        check_fits(tmp_path / "a.jpg", (10, 10), transparent=True)
    with pytest.raises(RequestError, match="at most 16383"):
        check_fits(tmp_path / "a.webp", (10, 16_384), transparent=False)


def test_a_failed_write_leaves_what_was_there(
    image: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image.save(tmp_path / "in.png")
    target = tmp_path / "out.png"
    target.write_bytes(b"before")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match="no space left"):
        write_photo(read_photo(tmp_path / "in.png"), target)
    assert target.read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "out.png"]
