"""Formats beyond Pillow's own, and what every pair of formats keeps: read back by decoders that varsr does not use."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.golden import DATA
from tests.images.dng import write_dng
from varsr.choices import TiffCompression
from varsr.errors import InputError, RequestError
from varsr.images import formats
from varsr.images.codecs import png_encoder
from varsr.images.coding import Coding, decoded_srgb, encoded_srgb, matrix_profile
from varsr.images.encoding import Encoding, losses
from varsr.images.header import read_header
from varsr.images.metadata import Metadata
from varsr.images.photo import Photo, from_channels
from varsr.images.read import read_photo
from varsr.images.rounding import rounded
from varsr.images.write import write_bands, write_photo

WIDE = matrix_profile(Coding(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), (0.3127, 0.3290)), 2.2))
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Label="kept"/></rdf:RDF></x:xmpmeta>'
)
EXTRAS = {".heic": "pillow_heif", ".jxl": "pyjpegxl"}
SUFFIXES = [".jpg", ".png", ".webp", ".tif", ".avif", ".heic", ".jxl"]
DEEP = {".png": 16, ".tif": 16, ".jxl": 16, ".heic": 10}
"""Bits a channel of formats with more than 8."""
CLEAR = {".png", ".webp", ".tif", ".avif", ".heic", ".jxl"}


def exif() -> bytes:
    block = Image.Exif()
    block[0x010E] = "a ramp"
    block[0x8769] = {0x9003: "2020:01:02 03:04:05"}
    return block.tobytes()


def ramp(planes: int) -> NDArray[np.float32]:
    """Smooth channels (48, 64, planes) in [0, 1], every 16-bit value apart."""
    across, down = np.meshgrid(np.linspace(0.1, 0.9, 64), np.linspace(0.2, 0.8, 48))
    return np.stack([across, down, (across + down) / 2, np.linspace(0.3, 1, 48)[:, None] + 0 * across], -1)[
        ..., :planes
    ].astype(np.float32)


@pytest.fixture
def photo() -> Photo:
    return from_channels(ramp(4), "PNG", Metadata(exif=exif(), icc_profile=WIDE, xmp=XMP), sixteen_bit=True)


def needs(*suffixes: str) -> None:
    for suffix in suffixes:
        if suffix in EXTRAS:
            pytest.importorskip(EXTRAS[suffix], reason=f"needs the extra for {suffix}")


def by_exiftool(path: Path) -> dict[str, Any]:
    tool = shutil.which("exiftool")
    if tool is None:
        pytest.skip("needs exiftool")
    done = subprocess.run([tool, "-j", "-G1", path], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)[0]
    return {name.rpartition(":")[2]: value for name, value in found.items()}


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
def test_nothing_is_lost_that_a_format_holds(tmp_path: Path, photo: Photo, source: str, target: str) -> None:
    needs(source, target)
    written = photo if source in CLEAR else photo.without_alpha()
    write_photo(written, tmp_path / f"in{source}", Encoding(quality=100))
    between = read_photo(tmp_path / f"in{source}")
    if target not in CLEAR:
        between = between.without_alpha()
    write_photo(between, tmp_path / f"out{target}", Encoding(quality=100))
    result = read_photo(tmp_path / f"out{target}")
    assert result.metadata.icc_profile == WIDE
    assert b"kept" in (result.metadata.xmp or b"")
    assert (result.alpha is not None) == (source in CLEAR and target in CLEAR)
    assert result.sixteen_bit == (source in DEEP and target in DEEP)
    assert result.own_color is not None
    np.testing.assert_allclose(result.own_color, ramp(3), atol=0.03)
    assert read_header(tmp_path / f"out{target}").size == (48, 64)
    known = by_exiftool(tmp_path / f"out{target}")
    assert (known["ImageDescription"], known["DateTimeOriginal"]) == ("a ramp", "2020:01:02 03:04:05")
    assert known["Label"] == "kept"


@pytest.mark.parametrize("planes", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_jpeg_xl_without_loss(tmp_path: Path, planes: int, depth: type[np.unsignedinteger[Any]]) -> None:
    needs(".jxl")
    djxl = shutil.which("djxl")
    if djxl is None:
        pytest.skip("needs djxl")
    full = np.iinfo(depth).max
    photo = from_channels(ramp(planes), "PNG", sixteen_bit=depth == np.uint16)
    write_photo(photo, tmp_path / "a.jxl", Encoding(lossless=True))
    decoded = tmp_path / ("a.png" if planes in (2, 4) else "a.pgm" if planes == 1 else "a.ppm")
    subprocess.run([djxl, tmp_path / "a.jxl", decoded], capture_output=True, check=True)
    pixels = imagecodecs.png_decode(decoded.read_bytes()) if planes in (2, 4) else _netpbm(decoded.read_bytes())
    expected = rounded(photo.channels(), np.dtype(depth))
    if pixels.shape[-1] == 4 and planes == 2:
        pixels = pixels[..., [0, 3]]
    np.testing.assert_allclose(pixels.reshape(48, 64, planes) * (full / np.iinfo(pixels.dtype).max), expected, atol=1)
    known = read_photo(tmp_path / "a.jxl")
    np.testing.assert_array_equal(rounded(known.channels(), np.dtype(depth)), expected)


def _netpbm(data: bytes) -> NDArray[Any]:
    _, size, full, pixels = data.split(b"\n", 3)
    width, height = map(int, size.split())
    depth = ">u2" if int(full) > 255 else "u1"
    return np.frombuffer(pixels, depth).reshape(height, width, -1).astype(depth[-2:])


@pytest.mark.parametrize("suffix", [".heic", ".jxl"])
def test_quality_and_loss(tmp_path: Path, suffix: str) -> None:
    needs(suffix)
    with Image.open(DATA / "dandelion.jpg") as image:
        image.crop((0, 0, 160, 120)).save(tmp_path / "in.png")
    photo, sizes = read_photo(tmp_path / "in.png"), []
    for quality in (5, 30, 60, 95):
        write_photo(photo, tmp_path / f"{quality}{suffix}", Encoding(quality=quality))
        sizes.append((tmp_path / f"{quality}{suffix}").stat().st_size)
    assert sizes == sorted(set(sizes))
    write_photo(photo, tmp_path / f"exact{suffix}", Encoding(lossless=True))
    np.testing.assert_array_equal(read_photo(tmp_path / f"exact{suffix}").color, photo.color)


@pytest.mark.parametrize("suffix", [".heic", ".jxl"])
def test_damaged_files_are_refused(tmp_path: Path, photo: Photo, suffix: str) -> None:
    needs(suffix)
    write_photo(photo, tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    for length in (20, 60, len(whole) // 2):
        (tmp_path / f"a{suffix}").write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_photo(tmp_path / f"a{suffix}")
    (tmp_path / f"a{suffix}").write_bytes(whole)
    with pytest.raises(InputError, match="more than 100"):
        read_photo(tmp_path / f"a{suffix}", max_pixels=100)


def test_a_missing_extra_is_named(tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(".jxl", ".heic")
    pytest.importorskip("rawpy", reason="needs the extra for raw photographs")
    for suffix in (".jxl", ".heic"):
        write_photo(photo, tmp_path / f"a{suffix}")
    write_dng(tmp_path / "a.dng", np.full((16, 16), 0.5))
    monkeypatch.setattr(formats, "_PACKAGES", dict.fromkeys(("heif", "jxl", "raw"), "package_that_is_absent"))
    formats.has_extra.cache_clear()
    try:
        for name, extra in (("a.jxl", "jxl"), ("a.dng", "raw")):
            with pytest.raises(InputError) as failure:
                read_photo(tmp_path / name)
            assert failure.value.advice == f'Install it: pip install "varsr[{extra}]"'
        for suffix, extra in ((".jxl", "jxl"), (".heic", "heif")):
            with pytest.raises(RequestError) as refusal:
                write_photo(photo, tmp_path / f"b{suffix}")
            assert f"varsr[{extra}]" in refusal.value.advice
    finally:
        formats.has_extra.cache_clear()


@pytest.mark.parametrize("colors", ["srgb", "wide"])
def test_a_raw_photograph_is_developed(tmp_path: Path, colors: Any) -> None:
    """The computed ramp comes out within 0.3 %, in both spaces, upright, with the file's EXIF."""
    pytest.importorskip("rawpy", reason="needs the extra for raw photographs")
    light = np.tile(np.linspace(0.02, 1, 384), (256, 1))
    write_dng(tmp_path / "ramp.dng", light, orientation=6)
    photo = read_photo(tmp_path / "ramp.dng", raw_colors=colors)
    assert (photo.size, photo.sixteen_bit) == ((384, 256), True)
    assert read_header(tmp_path / "ramp.dng").size == (384, 256)
    own = photo.color if photo.own_color is None else photo.own_color
    assert (photo.metadata.icc_profile is not None) == (colors == "wide")
    developed = decoded_srgb(own)[20:-20, 100]
    np.testing.assert_allclose(developed, np.repeat(light[0, 20:-20, None], 3, axis=1), rtol=0.003, atol=0.0005)
    write_photo(photo, tmp_path / "ramp.tif")
    known = by_exiftool(tmp_path / "ramp.tif")
    assert (known["Make"], known["Model"], known["ModifyDate"]) == ("Computed", "Ramp", "2020:01:02 03:04:05")
    assert not {"CFAPattern2", "ColorMatrix1", "DNGVersion"} & known.keys()


def test_damaged_raw_photographs_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("rawpy", reason="needs the extra for raw photographs")
    tifffile.imwrite(tmp_path / "in.NEF", np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="could not be developed"):
        read_photo(tmp_path / "in.NEF")
    with pytest.raises(InputError, match="does not exist"):
        read_photo(tmp_path / "absent.cr2")
    write_dng(tmp_path / "large.dng", np.full((64, 64), 0.5))
    with pytest.raises(InputError, match="more than 100"):
        read_photo(tmp_path / "large.dng", max_pixels=100)


def cmyk_profile() -> bytes:
    """The profile of a CMYK file among the test data."""
    with Image.open(DATA / "faults" / "cmyk_two_pages.tif") as image:
        return bytes(image.info["icc_profile"])


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize("streamed", [False, True])
def test_cmyk_is_kept_where_asked(tmp_path: Path, suffix: str, streamed: bool) -> None:
    profile = cmyk_profile()
    ink = np.zeros((48, 64, 4), np.uint8)
    ink[..., 0], ink[..., 1], ink[..., 2], ink[..., 3] = 60, np.arange(64), np.arange(48)[:, None], 30
    source = Image.frombytes("CMYK", (64, 48), ink.tobytes())
    source.save(tmp_path / "in.tif", icc_profile=profile, exif=exif())
    photo, encoding = read_photo(tmp_path / "in.tif"), Encoding(cmyk="keep", quality=100)
    assert losses(photo, tmp_path / f"out{suffix}", encoding) == ()
    if streamed:
        write_bands(photo, photo.size, [photo.color[:20], photo.color[20:]], tmp_path / f"out{suffix}", encoding)
    else:
        write_photo(photo, tmp_path / f"out{suffix}", encoding)
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert (image.mode, image.info["icc_profile"]) == ("CMYK", profile)
        target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        colors = [
            np.asarray(ImageCms.profileToProfile(part, target, ImageCms.createProfile("sRGB"), outputMode="RGB"))
            for part in (source, image)
        ]
    np.testing.assert_allclose(colors[1].astype(int), colors[0], atol=8)
    write_photo(photo, tmp_path / "plain.jpg")
    with Image.open(tmp_path / "plain.jpg") as image:
        assert (image.mode, "icc_profile" in image.info) == ("RGB", False)
    assert "does not hold CMYK" in losses(photo, tmp_path / "a.png", encoding)[0]
    assert "no profile" in losses(replace(photo, metadata=Metadata()), tmp_path / "a.jpg", encoding)[0]


def test_the_rest_of_a_file_is_named(tmp_path: Path) -> None:
    photo = Image.fromarray((ramp(3) * 255).astype(np.uint8))
    photo.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[photo.resize((16, 12))])
    assert read_photo(tmp_path / "a.jpg").notes == ("left out a further image of the file",)
    gain = XMP.replace(b"http://ns.adobe.com/xap/1.0/", b"http://ns.adobe.com/hdr-gain-map/1.0/")
    photo.save(tmp_path / "b.jpg", "MPO", save_all=True, append_images=[photo.resize((16, 12))], xmp=gain)
    assert read_photo(tmp_path / "b.jpg").notes == ("left out the gain map of the file",)
    photo.save(tmp_path / "c.jpg")
    assert read_photo(tmp_path / "c.jpg").notes == ()


@given(
    st.integers(1, 70), st.integers(1, 40), st.sampled_from([1, 2, 3, 4]), st.sampled_from(["u1", "u2"]),
    st.integers(1, 40), st.integers(0, 9), st.booleans(),
)  # fmt: skip
@settings(max_examples=60)
def test_png_comes_back_whatever_its_bands(
    height: int, width: int, planes: int, depth: str, band: int, level: int, smooth: bool
) -> None:
    draw = np.random.default_rng(height * width)
    pixels = draw.integers(0, np.iinfo(depth).max, (height, width, planes)).astype(depth)
    if smooth:
        pixels = np.sort(np.sort(pixels, axis=0), axis=1)
    buffer = io.BytesIO()
    bands = (pixels[top : top + band] for top in range(0, height, band))
    png_encoder.write(buffer, bands, pixels.shape, b"", level)
    np.testing.assert_array_equal(imagecodecs.png_decode(buffer.getvalue()).reshape(pixels.shape), pixels)
    buffer.seek(0)
    with Image.open(buffer) as image:
        assert image.size == (width, height)
        image.load()


def photograph(depth: str) -> NDArray[Any]:
    with Image.open(DATA / "dandelion.jpg") as image:
        pixels = np.asarray(image.convert("RGB"))
    if depth == "u1":
        return pixels
    noise = np.random.default_rng(0).integers(0, 64, pixels.shape)
    return (pixels.astype(np.uint16) * 256 + noise).astype(np.uint16)


def test_files_are_as_small_as_those_of_others(tmp_path: Path) -> None:
    """PNG as libpng's with the same level, TIFF at most 5 % larger than Pillow's of the same kind."""
    for depth in ("u1", "u2"):
        pixels = photograph(depth)
        buffer = io.BytesIO()
        png_encoder.write(buffer, [pixels], pixels.shape, b"", 6)
        assert buffer.tell() < 1.03 * len(imagecodecs.png_encode(pixels, level=6))
    photo = from_channels((photograph("u1") / 255).astype(np.float32))
    kinds: list[tuple[TiffCompression, str]] = [("deflate", "tiff_adobe_deflate"), ("lzw", "tiff_lzw")]
    for ours, pillows in kinds:
        write_photo(photo, tmp_path / "a.tif", Encoding(tiff_compression=ours))
        Image.fromarray(photograph("u1")).save(tmp_path / "b.tif", compression=pillows, tiffinfo={317: 2})
        assert (tmp_path / "a.tif").stat().st_size < 1.05 * (tmp_path / "b.tif").stat().st_size


@pytest.mark.parametrize("compression", ["deflate", "lzw", "zstd", "none"])
@pytest.mark.parametrize("depth", ["u1", "u2"])
def test_tiff_compressions_come_back(tmp_path: Path, compression: Any, depth: str) -> None:
    pixels = photograph(depth)[:150]
    full = np.iinfo(depth).max
    photo = from_channels((pixels / full).astype(np.float32), sixteen_bit=depth == "u2")
    write_photo(photo, tmp_path / "a.tif", Encoding(tiff_compression=compression))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        name = {"deflate": "ADOBE_DEFLATE", "none": "NONE"}.get(compression, compression.upper())
        assert tifffile.COMPRESSION(tiff.pages.first.compression).name == name


def test_wide_colours_come_back(photo: Photo) -> None:
    """The way to sRGB and back is exact in float."""
    assert photo.own_color is not None
    np.testing.assert_allclose(photo.channels()[..., :3], photo.own_color, atol=1e-4)
    light = decoded_srgb(encoded_srgb(photo.own_color))
    np.testing.assert_allclose(light, photo.own_color, atol=1e-5)
