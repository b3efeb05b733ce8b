"""Real files in, real files out."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from tests.exif import camera_exif
from tests.golden import DATA
from tests.sixteen_bit import write_sixteen_bit
from varsr.errors import InputError, OutputError, RequestError
from varsr.images.encoding import Encoding, check_fits
from varsr.images.formats import BY_SUFFIX
from varsr.images.metadata import Metadata
from varsr.images.photo import Photo, from_channels
from varsr.images.pillow import from_image
from varsr.images.read import read_photo
from varsr.images.resize import resize
from varsr.images.sixteen_bit import read_pixels
from varsr.images.write import write_photo
from varsr.jobs.preflight import check_target

FORMATS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF"}
OTHERS = {".bmp": "BMP", ".gif": "GIF", ".avif": "AVIF"}


@pytest.fixture
def image() -> Image.Image:
    with Image.open(DATA / "dandelion.jpg") as opened:
        return opened.resize((48, 36))


def round_trip(path: Path, target: Path) -> Image.Image:
    write_photo(read_photo(path), target)
    with Image.open(target) as written:
        written.load()
        return written


@pytest.mark.parametrize("suffix", [*FORMATS, *OTHERS])
def test_each_format_comes_back(image: Image.Image, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"in{suffix}"
    image.save(source, quality=100)
    written = round_trip(source, tmp_path / f"out{suffix}")
    assert written.format == (FORMATS | OTHERS)[suffix]
    assert np.abs(np.asarray(written.convert("RGB"), int) - np.asarray(image, int)).mean() < 6


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


def test_what_stands_behind_a_photograph_in_its_jpeg_is_left_out(image: Image.Image, tmp_path: Path) -> None:
    """Phones and cameras put previews and gain maps there, which Pillow takes for further pages."""
    exif = camera_exif()
    exif[0x0112] = 6
    preview = image.resize((12, 9))
    image.save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=[preview], exif=exif, quality=95)
    with Image.open(tmp_path / "in.jpg") as opened:
        assert opened.n_frames == 2  # type: ignore[attr-defined]
    written = round_trip(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert (written.format, written.size) == ("JPEG", (36, 48))
    assert written.getexif()[0x010F] == exif[0x010F]
    upright = np.asarray(image.transpose(Image.Transpose.ROTATE_270), int)
    assert np.abs(np.asarray(written, int) - upright).mean() < 6


@pytest.mark.parametrize("kind", [1, 4])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_thumbnails_and_masks_are_no_pages(
    image: Image.Image, tmp_path: Path, kind: int, first: bool, depth: type[np.generic]
) -> None:
    whole = np.asarray(image).astype(depth) * (np.iinfo(depth).max // 255)  # type: ignore[type-var]
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for pixels, type in sorted(((whole, 0), (whole[::4, ::4], 1)), key=lambda page: page[1], reverse=first):
            writer.write(pixels, photometric="rgb", subfiletype=type, metadata=None)
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as tiff:
        tiff.pages[0 if first else 1].tags[254].overwrite(kind)  # type: ignore[union-attr]  # no masks are written
    photo = read_photo(tmp_path / "in.tif", max_pixels=image.width * image.height)
    assert (photo.more_frames, photo.sixteen_bit) == ((), depth is np.uint16)
    np.testing.assert_allclose(photo.color * 255, np.asarray(image), atol=0.01)
    with pytest.raises(InputError, match="pixels, more than"):
        read_photo(tmp_path / "in.tif", max_pixels=image.width * image.height - 1)


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


@pytest.fixture
def deep_values() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (20, 30, 4), dtype=np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("planes", [1, 2, 3, 4])
def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, deep_values: np.ndarray, suffix: str, planes: int) -> None:
    values = deep_values[..., :planes]
    values[..., -1] |= 1  # nothing is wholly transparent
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    write_sixteen_bit(values.astype(np.float32) / np.float32(65535), source, FORMATS[suffix], Metadata())
    write_photo(read_photo(source), target)
    expected = values[..., [0, 0, 0, 1]] if (suffix, planes) == (".tif", 2) else values
    np.testing.assert_allclose(read_pixels(target, FORMATS[suffix]) * 65535, expected, atol=1)
    with Image.open(target) as opened:  # another reader finds it well formed
        opened.load()
        assert opened.size == (30, 20)


def test_sixteen_bits_written_by_others(tmp_path: Path, deep_values: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "planar.tif", deep_values[..., :3].transpose(2, 0, 1), photometric="rgb")
    np.testing.assert_allclose(read_photo(tmp_path / "planar.tif").color * 65535, deep_values[..., :3], atol=1)
    Image.fromarray(deep_values[..., 0]).save(tmp_path / "grey.png")
    photo = read_photo(tmp_path / "grey.png")
    assert photo.sixteen_bit
    assert photo.grey
    np.testing.assert_allclose(photo.color[..., 0] * 65535, deep_values[..., 0], atol=1)


DEEP_TIFFS: dict[str, dict[str, Any]] = {
    "LZW": {"compression": "lzw"},
    "LZW of differences, big-endian": {"compression": "lzw", "predictor": True, "byteorder": ">"},
    "deflate of differences": {"compression": "zlib", "predictor": True},
    "tiles": {"tile": (16, 16), "compression": "lzw"},
}


@pytest.mark.parametrize("kind", DEEP_TIFFS)
def test_sixteen_bits_as_other_programs_write_them(tmp_path: Path, deep_values: np.ndarray, kind: str) -> None:
    pixels = np.ascontiguousarray(deep_values[..., :3])
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", **DEEP_TIFFS[kind])
    photo = read_photo(tmp_path / "in.tif")
    assert photo.sixteen_bit
    np.testing.assert_allclose(photo.color * 65535, pixels, atol=0.5)


def test_further_channels_of_sixteen_bits(tmp_path: Path, deep_values: np.ndarray) -> None:
    """Transparency, with which the colour may be multiplied, and selections, which are not part of the image."""
    color = deep_values[..., :3] / 65535
    alpha = np.linspace(0.5, 1, color.shape[1])[None, :, None].repeat(len(color), 0)

    def photo_of(colors: np.ndarray, **options: Any) -> Photo:
        pixels = (np.concatenate((colors, alpha), -1) * 65535).round().astype(np.uint16)
        tifffile.imwrite(tmp_path / "in.tif", pixels, **options)
        return read_photo(tmp_path / "in.tif")

    for kind, colors in (("unassalpha", color), ("assocalpha", color * alpha)):
        photo = photo_of(colors, photometric="rgb", extrasamples=[kind])
        assert photo.alpha is not None
        np.testing.assert_allclose(photo.alpha, alpha, atol=1e-4)
        np.testing.assert_allclose(photo.color, color, atol=1e-4)
    photo = photo_of(color, photometric="rgb", extrasamples=["unspecified"])
    assert photo.alpha is None
    np.testing.assert_allclose(photo.color, color, atol=1e-4)
    photo = photo_of(1 - color, photometric="separated")  # with black as the fourth ink
    assert photo.alpha is None
    np.testing.assert_allclose(photo.color, color * (1 - alpha), atol=0.02)


def test_sixteen_bits_of_which_zero_is_white(tmp_path: Path, deep_values: np.ndarray) -> None:
    grey = deep_values[..., 0]
    tifffile.imwrite(tmp_path / "in.tif", 65535 - grey, photometric="miniswhite")
    np.testing.assert_allclose(read_photo(tmp_path / "in.tif").color[..., 0] * 65535, grey, atol=0.5)


@pytest.mark.parametrize("depth", [np.uint32, np.float32])
def test_more_bits_are_refused(tmp_path: Path, depth: type[np.generic]) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.ones((8, 8), depth), photometric="minisblack")
    with pytest.raises(InputError, match="32 bits a channel"):
        read_photo(tmp_path / "in.tif")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "plain.jpg"])
def test_a_pipe_with_a_name(image: Image.Image, tmp_path: Path, deep_values: np.ndarray, name: str) -> None:
    """It can be read once, from beginning to end."""
    os.mkfifo(tmp_path / name)
    content = tmp_path / f"content-{name}"
    if name.startswith("deep"):
        kind = "PNG" if name.endswith("png") else "TIFF"
        write_sixteen_bit(deep_values[..., :3].astype(np.float32) / np.float32(65535), content, kind, Metadata())
    else:
        image.save(content)
    with ThreadPoolExecutor(1) as writer:
        writer.submit((tmp_path / name).write_bytes, content.read_bytes())
        photo = read_photo(tmp_path / name)
    assert photo.sixteen_bit == name.startswith("deep")


def test_pillows_own_limit_is_not_ours(image: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses 179 million pixels and warns of half as many, whatever --max-pixels says."""
    image.save(tmp_path / "in.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_photo(tmp_path / "in.png", max_pixels=image.width * image.height).size == (36, 48)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_sixteen_bits_keep_their_metadata_and_orientation(tmp_path: Path, deep_values: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    metadata = Metadata(exif=exif.tobytes(), icc_profile=profile, dpi=(300.0, 300.0), xmp=b"<x/>")
    write_sixteen_bit(deep_values[..., :3].astype(np.float32) / np.float32(65535), tmp_path / "in.png", "PNG", metadata)
    written = round_trip(tmp_path / "in.png", tmp_path / "out.png")
    assert written.size == (20, 30)
    assert written.getexif().get(0x0112, 1) == 1
    assert written.info["icc_profile"] == profile
    assert written.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert "<x/>" in str(written.info["XML:com.adobe.xmp"])
    upright = np.rot90(deep_values[..., :3], -1)
    np.testing.assert_allclose(read_pixels(tmp_path / "out.png", "PNG") * 65535, upright, atol=1)


def test_sixteen_bits_become_eight_where_the_format_has_no_more(tmp_path: Path, deep_values: np.ndarray) -> None:
    write_sixteen_bit(
        deep_values[..., :3].astype(np.float32) / np.float32(65535), tmp_path / "in.png", "PNG", Metadata()
    )
    written = np.asarray(round_trip(tmp_path / "in.png", tmp_path / "out.bmp"), int)
    assert np.abs(written - deep_values[..., :3] / 257).max() <= 1


def wide_profile() -> bytes:
    """An RGB profile with other primaries than sRGB: its red and green change places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    table = {}
    for number in range(int.from_bytes(profile[128:132], "big")):
        at = 132 + 12 * number
        table[bytes(profile[at : at + 4])] = at
    red, green = table[b"rXYZ"], table[b"gXYZ"]
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    description = profile.find("sRGB".encode("utf-16-be"))
    profile[description : description + 8] = "test".encode("utf-16-be")
    return bytes(profile)


def test_a_profile_is_honoured_and_kept(image: Image.Image, tmp_path: Path) -> None:
    profile = wide_profile()  # each has the second of its making in it
    image.save(tmp_path / "in.png", icc_profile=profile)
    photo = read_photo(tmp_path / "in.png")
    swapped = np.asarray(image, np.float32)[..., [1, 0, 2]] / 255
    np.testing.assert_allclose(photo.color, swapped, atol=0.02)  # the model sees sRGB
    written = round_trip(tmp_path / "in.png", tmp_path / "out.png")
    assert written.info["icc_profile"] == profile
    assert np.abs(np.asarray(written, int) - np.asarray(image, int)).max() <= 1


def test_a_damaged_profile_harms_nothing(image: Image.Image, tmp_path: Path) -> None:
    image.save(tmp_path / "in.png", icc_profile=wide_profile()[:200])
    written = round_trip(tmp_path / "in.png", tmp_path / "out.png")
    assert np.array_equal(np.asarray(written), np.asarray(image))


def test_ink_becomes_light(image: Image.Image, tmp_path: Path) -> None:
    image.convert("CMYK").save(tmp_path / "in.jpg", quality=95)
    written = round_trip(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert written.mode == "RGB"
    assert np.abs(np.asarray(written, int) - np.asarray(image, int)).mean() < 6


def test_xmp_is_kept(image: Image.Image, tmp_path: Path) -> None:
    image.save(tmp_path / "in.jpg", xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    for suffix in (".jpg", ".png", ".webp"):
        written = round_trip(tmp_path / "in.jpg", tmp_path / f"out{suffix}")
        assert "xmpmeta" in str(written.info.get("xmp") or written.info.get("XML:com.adobe.xmp"))


def test_an_editors_long_history_is_kept(image: Image.Image, tmp_path: Path) -> None:
    history = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + "<rdf:li>brightened</rdf:li>" * 100_000 + "</x:xmpmeta>"
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", history, zip=True)
    image.save(tmp_path / "in.png", pnginfo=text)
    written = round_trip(tmp_path / "in.png", tmp_path / "out.png")
    assert written.info["XML:com.adobe.xmp"] == history
    with pytest.raises(ValueError, match="too large"), Image.open(tmp_path / "in.png") as opened:
        opened.load()  # Pillow's own limit stands as it was


def test_colour_under_transparency_does_not_bleed() -> None:
    """A white disc cut out of magenta that nobody sees: enlarged, its edge stays white."""
    rows, columns = np.mgrid[-16:16, -16:16]
    inside = (rows**2 + columns**2 < 100)[..., None]
    channels = np.where(inside, 1.0, [1, 0, 1]).astype(np.float32)
    photo = from_channels(np.concatenate((channels, inside.astype(np.float32)), axis=-1))
    enlarged = resize(photo.color, (128, 128))
    visible = resize(inside.astype(np.float32), (128, 128))[..., 0] > 0.02
    assert enlarged[visible].min() > 0.98


def test_heic(image: Image.Image, tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the plug-in for HEIC")
    container = pillow_heif.from_pillow(image.resize((20, 20)))
    container.add_from_pillow(image)
    container.save(tmp_path / "in.heic", quality=95, primary_index=1)
    photo = read_photo(tmp_path / "in.heic")
    assert (photo.size, photo.more_frames) == ((36, 48), ()), "the one that programs show"
    assert np.abs(photo.color * 255 - np.asarray(image, np.float32)).mean() < 6


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"not an image at all", "is a text file"),
        (b"%PDF-1.7 and so on", "is a PDF document"),
        (b"\xff\xd8\xff\xe0", "begins as a JPEG file, but its header is damaged"),
        (bytes(range(128, 228)), "does not begin as a file of any image format"),
        (None, "does not exist"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes | None, complaint: str) -> None:
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
    for path, complaint in (("there.png", "exists"), ("no/folder.png", "does not exist")):
        with pytest.raises(OutputError, match=complaint):
            check_target(tmp_path / path, overwrite=False)
    with pytest.raises(RequestError, match="has no suffix of an output format"):
        Encoding().of(tmp_path / "new.txt")
    with pytest.raises(RequestError, match="does not match `format` webp"):
        Encoding(format=BY_SUFFIX[".webp"]).of(tmp_path / "new.png")


def test_limits_of_formats(tmp_path: Path) -> None:
    plain, clear = (from_channels(np.zeros((2, 2, planes), np.float32)) for planes in (3, 4))
    check_fits(tmp_path / "a.png", (20_000, 70_000), clear)
    with pytest.raises(RequestError, match="transparency"):
        check_fits(tmp_path / "a.jpg", (10, 10), clear)
    with pytest.raises(RequestError, match="at most 16383"):
        check_fits(tmp_path / "a.webp", (10, 16_384), plain)
    with pytest.raises(RequestError, match="cannot be lossless"):
        check_fits(tmp_path / "a.jpg", (10, 10), plain, Encoding(lossless=True))
    with pytest.raises(RequestError, match="holds one image, and the input has 2"):
        check_fits(tmp_path / "a.jpg", (10, 10), replace(plain, more_frames=(plain,)))


@pytest.fixture
def frames() -> list[Image.Image]:
    images = []
    for number in range(3):
        frame = Image.new("RGB", (40, 30), (20 * number, 40, 200))
        frame.paste((250, 250, 10), (10 * number, 5, 10 * number + 10, 25))
        images.append(frame)
    return images


def _frame(image: Image.Image, number: int) -> Image.Image:
    image.seek(number)
    image.load()
    return image.convert("RGB")


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
def test_animations_keep_their_frames_and_timing(frames: list[Image.Image], tmp_path: Path, suffix: str) -> None:
    durations = [80, 200, 120]
    frames[0].save(tmp_path / f"in{suffix}", save_all=True, append_images=frames[1:], duration=durations, loop=3)
    write_photo(read_photo(tmp_path / f"in{suffix}"), tmp_path / f"out{suffix}", Encoding(lossless=suffix == ".webp"))
    with Image.open(tmp_path / f"in{suffix}") as given, Image.open(tmp_path / f"out{suffix}") as written:
        assert written.n_frames == 3  # type: ignore[attr-defined]
        for number, duration in enumerate(durations):
            first, second = (np.asarray(_frame(image, number), int) for image in (given, written))
            assert written.info["duration"] == pytest.approx(duration)
            assert np.abs(first - second).mean() < 6
        if suffix != ".avif":
            assert written.info["loop"] == 3


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_quality_is_a_choice(image: Image.Image, tmp_path: Path, suffix: str) -> None:
    photo = from_image(image)
    for quality in (20, 60, 95):
        write_photo(photo, tmp_path / f"{quality}{suffix}", Encoding(quality=quality))
    errors = [np.abs(read_photo(tmp_path / f"{q}{suffix}").color - photo.color).mean() for q in (20, 60, 95)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_lossless_loses_nothing(image: Image.Image, tmp_path: Path, suffix: str) -> None:
    write_photo(from_image(image), tmp_path / f"a{suffix}", Encoding(lossless=True))
    difference = np.asarray(Image.open(tmp_path / f"a{suffix}").convert("RGB"), int) - np.asarray(image, int)
    assert np.abs(difference).max() <= (0 if suffix == ".webp" else 2)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".tif"])
def test_a_cameras_exif_goes_into_every_format(image: Image.Image, tmp_path: Path, suffix: str) -> None:
    camera = camera_exif()
    camera.get_ifd(0x8769).update({0xA002: 48, 0xA003: 36})  # sides that the result does not have
    image.save(tmp_path / "in.jpg", exif=camera)
    exif = round_trip(tmp_path / "in.jpg", tmp_path / f"out{suffix}").getexif()
    assert exif[0x010F] == "a camera"
    assert exif.get_ifd(0x8769)[0x829A] == pytest.approx(1 / 250)
    assert not {0xA002, 0xA003} & set(exif.get_ifd(0x8769))
    assert exif.get_ifd(0x8825)[2] == (48, 8, 30)


def test_layers_in_a_tiff_do_not_travel(image: Image.Image, tmp_path: Path) -> None:
    """Photoshop keeps them in a tag, which may be larger than the image."""
    layers = b"layers" * 20_000
    tags = [(0x010F, 2, 0, "a camera", True), (0x935C, 7, len(layers), layers, True)]
    tifffile.imwrite(tmp_path / "in.tif", np.asarray(image), photometric="rgb", extratags=tags, metadata=None)
    for suffix in (".jpg", ".png"):
        exif = round_trip(tmp_path / "in.tif", tmp_path / f"out{suffix}").getexif()
        assert (exif[0x010F], 0x935C in exif) == ("a camera", False)


def test_metadata_too_long_for_jpeg_costs_no_image(image: Image.Image, tmp_path: Path) -> None:
    exif = camera_exif()
    exif.get_ifd(0x8769)[0x927C] = b"m" * 90_000  # a maker's note
    for name, photo in (
        ("exif", replace(from_image(image), metadata=Metadata(exif=exif.tobytes(), xmp=b"<short/>"))),
        ("xmp", replace(from_image(image), metadata=Metadata(exif=camera_exif().tobytes(), xmp=b"x" * 90_000))),
    ):
        write_photo(photo, tmp_path / f"{name}.jpg")
        with Image.open(tmp_path / f"{name}.jpg") as written:
            assert (written.getexif()[0x010F], "xmp" in written.info) == ("a camera", name == "exif")
            assert 0x927C not in written.getexif().get_ifd(0x8769)


def test_a_density_that_only_exif_tells_is_kept(image: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 300.0, 2
    image.save(tmp_path / "in.webp", exif=exif, lossless=True)
    assert round_trip(tmp_path / "in.webp", tmp_path / "out.webp").getexif()[0x011A] == 300


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.filterwarnings("ignore")  # Pillow tells of what is damaged
def test_damaged_exif_costs_at_most_one_image(image: Image.Image, tmp_path: Path, suffix: str) -> None:
    """It is carried, or left out, or refused in one line; nothing else is raised."""
    rng = np.random.default_rng(0)
    whole = camera_exif().tobytes()
    written = 0
    for _ in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(6, len(whole), int(rng.integers(1, 6))):
            damaged[place] = int(rng.integers(256))
        image.save(tmp_path / "in.jpg", exif=bytes(damaged))
        with suppress(InputError, OutputError):
            written += round_trip(tmp_path / "in.jpg", tmp_path / f"out{suffix}").size == image.size
    assert written >= 35


def test_exif_that_cannot_be_written_again_costs_no_image(image: Image.Image, tmp_path: Path) -> None:
    """The image is turned as its orientation says, though Pillow fails to put the rest of the EXIF back."""
    exif = camera_exif()
    exif[0x0112] = 6
    data = bytearray(exif.tobytes())
    place = data.index(b"\x01\x0f\x00\x02")  # the maker, a text
    for kind in (3, 5, 7, 10, 12, 13):  # said to be a number, a rational, bytes, a float, a directory ...
        data[place + 3] = kind
        image.save(tmp_path / "in.jpg", exif=bytes(data))
        assert read_photo(tmp_path / "in.jpg").size == image.size, "width and height change places"


@pytest.mark.parametrize("suffix", [".webp", ".png", ".tif"])
def test_sequences_keep_their_metadata(frames: list[Image.Image], tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    options = {"exif": exif} if suffix != ".tif" else {"tiffinfo": {0x010F: "a camera"}, "dpi": (300, 300)}
    frames[0].save(tmp_path / f"in{suffix}", save_all=True, append_images=frames[1:], **options)
    written = round_trip(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    assert written.getexif()[0x010F] == "a camera"
    if suffix == ".tif":
        assert written.info["dpi"] == (300, 300)


@pytest.mark.parametrize("orientations", [(6,), (1, 6)])
def test_pages_of_sixteen_bits_keep_them(tmp_path: Path, orientations: tuple[int, ...]) -> None:
    """Each turned as its orientation says."""
    pages = np.random.default_rng(2).integers(0, 65536, (2, 12, 16, 3), dtype=np.uint16)
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for page, orientation in zip(pages, orientations, strict=False):
            writer.write(page, photometric="rgb", extratags=[(0x0112, 3, 1, orientation, True)], metadata=None)
    write_photo(read_photo(tmp_path / "in.tif"), tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as written:
        found = [page.asarray() for page in written.pages]
    assert len(found) == len(orientations)
    for page, original, orientation in zip(found, pages, orientations, strict=False):
        np.testing.assert_array_equal(page, np.rot90(original, -1 if orientation == 6 else 0))


def test_pages_are_turned_upright(frames: list[Image.Image], tmp_path: Path) -> None:
    frames[0].save(tmp_path / "in.tif", save_all=True, append_images=frames[1:], tiffinfo={0x0112: 8})
    photo = read_photo(tmp_path / "in.tif")
    for frame, expected in zip(photo.frames, frames, strict=True):
        np.testing.assert_allclose(frame.color * 255, np.rot90(np.asarray(expected)), atol=0.01)


def test_pages_of_different_sizes(frames: list[Image.Image], tmp_path: Path) -> None:
    frames[1] = frames[1].resize((20, 50)).convert("L")
    frames[0].save(tmp_path / "in.tif", save_all=True, append_images=frames[1:])
    write_photo(read_photo(tmp_path / "in.tif"), tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as written:
        assert written.n_frames == 3  # type: ignore[attr-defined]
        written.seek(1)
        assert (written.size, written.mode) == ((20, 50), "L")


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
