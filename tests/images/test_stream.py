"""Row by row or at once: the same file content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.exif import camera_exif
from tests.golden import DATA
from varsr.images.codecs import tiff
from varsr.images.codecs.tiff import strips
from varsr.images.encoding import Encoding
from varsr.images.metadata import Metadata
from varsr.images.photo import Photo, from_channels
from varsr.images.read import read_photo
from varsr.images.resize import resize
from varsr.images.sixteen_bit import read_pixels
from varsr.images.write import write_bands, write_photo
from varsr.tiling.array import FloatImage

SIZE = (150, 130)


def in_bands(image: FloatImage) -> Iterator[FloatImage]:
    for top in range(0, len(image), 37):
        yield image[top : top + 37]


KINDS = [(".png", 1), (".png", 2), (".png", 3), (".png", 4), (".tif", 1), (".tif", 3), (".tif", 4)]
"""Grey with transparency is apart: in a TIFF written row by row it becomes RGBA."""


@pytest.mark.parametrize(("suffix", "planes"), KINDS)
@pytest.mark.parametrize("sixteen_bit", [False, True])
def test_bands_and_wholes_are_written_alike(tmp_path: Path, suffix: str, sixteen_bit: bool, planes: int) -> None:
    channels = np.random.default_rng(0).random((50, 43, planes), np.float32)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    metadata = Metadata(icc_profile=profile if planes > 2 else None, dpi=(300.0, 300.0))
    photo = from_channels(channels, metadata=metadata, sixteen_bit=sixteen_bit)
    color = resize(photo.color, SIZE).clip(0, 1)
    at_once, by_rows = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_photo(photo.with_color(color), at_once)
    write_bands(photo, SIZE, in_bands(color), by_rows, Encoding())
    first, second = read_photo(at_once), read_photo(by_rows)
    assert first.sixteen_bit == second.sixteen_bit == sixteen_bit
    np.testing.assert_allclose(first.channels(), second.channels(), atol=2e-5 if sixteen_bit else 0)
    assert second.metadata.icc_profile == metadata.icc_profile
    assert second.metadata.dpi == pytest.approx((300, 300), abs=0.1)
    if sixteen_bit:
        format = "PNG" if suffix == ".png" else "TIFF"
        np.testing.assert_allclose(read_pixels(at_once, format), read_pixels(by_rows, format), atol=2e-5)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".avif"])
def test_formats_without_rows_come_out_the_same(tmp_path: Path, suffix: str) -> None:
    photo = from_channels(np.random.default_rng(0).random((50, 43, 3), np.float32))
    color = resize(photo.color, SIZE).clip(0, 1)
    write_photo(photo.with_color(color), tmp_path / f"a{suffix}")
    write_bands(photo, SIZE, in_bands(color), tmp_path / f"b{suffix}", Encoding())
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_an_interrupted_stream_leaves_nothing(tmp_path: Path) -> None:
    def breaking() -> Iterator[FloatImage]:
        yield np.zeros((10, 20, 3), np.float32)
        raise KeyboardInterrupt

    photo = Photo(np.zeros((5, 10, 3), np.float32))
    with pytest.raises(KeyboardInterrupt):
        write_bands(photo, (20, 20), breaking(), tmp_path / "a.png", Encoding())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("suffix", "sixteen_bit"), [(".png", False), (".tif", False), (".tif", True)])
def test_metadata_of_a_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, sixteen_bit: bool, big: bool
) -> None:
    monkeypatch.setattr(tiff, "BIGTIFF_ABOVE_BYTES", 0 if big else 2**32)
    with Image.open(DATA / "dandelion.jpg") as image:
        image.save(tmp_path / "in.jpg", exif=camera_exif(), xmp=b"<x/>")
    photo = replace(read_photo(tmp_path / "in.jpg"), sixteen_bit=sixteen_bit)
    target = tmp_path / f"out{suffix}"
    write_bands(photo, photo.size, in_bands(photo.color), target, Encoding())
    assert read_photo(target).metadata.xmp == b"<x/>"
    with Image.open(target) as written:
        exif = written.getexif()
        assert exif[0x010F] == "a camera"
        assert exif.get_ifd(0x8769)[0x829A] == pytest.approx(1 / 250)
        assert exif.get_ifd(0x8769)[0x9003] == "2024:05:01 12:00:00"
        assert exif.get_ifd(0x8825)[2] == (48, 8, 30)


def test_metadata_of_sixteen_bits(tmp_path: Path) -> None:
    color = np.random.default_rng(0).random((20, 30, 3), np.float32)
    photo = Photo(color, sixteen_bit=True, metadata=Metadata(exif=camera_exif().tobytes()))
    write_photo(photo, tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as written:
        assert written.getexif().get_ifd(0x8769)[0x829A] == pytest.approx(1 / 250)
    np.testing.assert_allclose(read_photo(tmp_path / "a.tif").color, color, atol=1e-4)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 16))
def test_strips_are_the_bands(heights: list[int], rows: int) -> None:
    whole = np.arange(sum(heights) * 2, dtype=np.uint16).reshape(-1, 2, 1)
    bands = np.split(whole, np.cumsum(heights)[:-1])
    found = list(strips(bands, rows))
    np.testing.assert_array_equal(np.concatenate(found), whole)
    assert all(len(strip) == rows for strip in found[:-1])
    assert 1 <= len(found[-1]) <= rows
