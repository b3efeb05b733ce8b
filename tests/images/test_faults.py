"""Files as people and other programs write them: read right, or refused with the true reason.

What `faults` holds came from complaints; `writers` is made by `tests/make_fixtures.py`.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.golden import DATA
from varsr.errors import InputError, RequestError
from varsr.images.codecs.heif import read_properties
from varsr.images.codecs.png import read_header
from varsr.images.encoding import DEFAULT, Encoding, check_fits, losses
from varsr.images.exif import parse
from varsr.images.formats import BY_SUFFIX, has_extra
from varsr.images.mark import is_marked
from varsr.images.photo import Photo
from varsr.images.read import read_photo, read_stream
from varsr.images.sixteen_bit import read_pixels
from varsr.images.write import write_photo

FAULTS, WRITERS = DATA / "faults", DATA / "writers"
CHART = np.array(
    [
        [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)],
        [(0, 255, 255), (255, 0, 255), (20, 20, 20), (128, 128, 128)],
        [(240, 240, 240), (200, 120, 80), (60, 100, 40), (90, 60, 160)],
    ],
    np.float64,
)
"""Patches of 16 x 16 px in sRGB."""


def patches(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """(3, 4, 3): the middle of each patch of a chart, 0 to 255."""
    return np.asarray(pixels, np.float64)[8::16, 8::16]


def shown(path: Path) -> NDArray[np.float64]:
    """The patches of a file in sRGB, by Pillow and LittleCMS."""
    with Image.open(path) as image:
        image.load()
        profile = image.info.get("icc_profile")
        color = image.convert("RGB")
    if profile and image.mode in ("RGB", "RGBA"):
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(color, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert converted is not None
        color = converted
    return patches(np.asarray(color))


def result(source: Path, folder: Path, suffix: str, encoding: Encoding = DEFAULT) -> Path:
    """The file as it comes out in a format."""
    photo, target = read_photo(source), folder / f"out{suffix}"
    check_fits(target, photo.size, photo, encoding)
    write_photo(photo, target, encoding)
    return target


def test_the_chart_is_what_it_is_said_to_be() -> None:
    np.testing.assert_array_equal(shown(FAULTS / "opaque_alpha.png"), CHART)


EXACT = [
    FAULTS / "bigtiff.tif", FAULTS / "no_resolution.tif", FAULTS / "opaque_alpha.png", FAULTS / "sbit10.png",
    WRITERS / "bigtiff_tiffcp.tif", WRITERS / "bigtiff_vips.tif", WRITERS / "no_resolution_tiffcp.tif",
    WRITERS / "rgb12_magick.tif", WRITERS / "sbit12_magick.png", WRITERS / "webp_vips.tif",
    WRITERS / "zstd_vips.tif", WRITERS / "srgb_12bit_avifenc.avif", FAULTS / "orientation6.jpg",
]  # fmt: skip


@pytest.mark.parametrize("source", EXACT, ids=lambda p: p.name)
def test_colours_come_out_as_they_are(tmp_path: Path, source: Path) -> None:
    np.testing.assert_allclose(patches(read_photo(source).color * 255), CHART, atol=2)
    for suffix in (".jpg", ".bmp", ".webp"):
        lossless = Encoding(lossless=suffix == ".webp")
        np.testing.assert_allclose(shown(result(source, tmp_path, suffix, lossless)), CHART, atol=3)


def chart_in(primaries: list[tuple[float, float]]) -> NDArray[np.float64]:
    """The chart's numbers, taken for those of another space, in sRGB: by hand, from chromaticities to XYZ."""

    def matrix(points: list[tuple[float, float]]) -> NDArray[np.float64]:
        columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in points]).T
        white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
        scaled: NDArray[np.float64] = columns * np.linalg.solve(columns, white)
        return scaled

    values = CHART / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    srgb = matrix(SRGB)
    light = (light @ (np.linalg.inv(srgb) @ matrix(primaries)).T).clip(0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(255 * encoded, np.float64)


SRGB = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)]
P3 = [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)]
REC2020 = [(0.708, 0.292), (0.170, 0.797), (0.131, 0.046)]


@pytest.mark.parametrize(
    ("source", "primaries"), [(WRITERS / "p3_10bit_avifenc.avif", P3), (WRITERS / "cicp_2020_vips.png", REC2020)]
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".avif", ".tif"])
def test_primaries_told_by_numbers_are_honoured(
    tmp_path: Path, source: Path, primaries: list[tuple[float, float]], suffix: str
) -> None:
    """Formats with a profile keep the primaries, others hold sRGB: each shows the same colours."""
    expected = chart_in(primaries)
    np.testing.assert_allclose(patches(read_photo(source).color * 255), expected, atol=2)
    written = result(source, tmp_path, suffix, Encoding(quality=100))
    if suffix == ".tif":  # of sixteen bits, of which Pillow shows eight
        with tifffile.TiffFile(written) as tiff:
            pixels = tiff.pages[0].asarray()
        np.testing.assert_allclose(patches(pixels / 257), CHART, atol=2)
        return
    np.testing.assert_allclose(shown(written), expected, atol=6 if suffix == ".avif" else 2)


LINEAR = np.where(CHART == 20, 12.7, CHART)  # of eight bits of light, whose first step is there
SHOWN = {"cicp_p3.png": chart_in(P3), "p3_nclx.avif": chart_in(P3), "adobe_rgb.jpg": CHART, "gama_linear.png": LINEAR}


@pytest.mark.parametrize("source", SHOWN)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp", ".avif"])
def test_what_is_shown_stays_the_same(tmp_path: Path, source: str, suffix: str) -> None:
    inside = (SHOWN[source] > 0) & (SHOWN[source] < 255)
    photo = read_photo(FAULTS / source)
    np.testing.assert_allclose(patches(photo.color * 255)[inside], SHOWN[source][inside], atol=2.5)
    written = result(FAULTS / source, tmp_path, suffix, Encoding(quality=100, lossless=suffix == ".webp"))
    np.testing.assert_allclose(shown(written), patches(photo.color * 255), atol=5)


def test_gamma_of_png_writers(tmp_path: Path) -> None:
    """pnmtopng tells that values are light to the power of a half; grey ones that they are light."""
    light = (CHART / 255) ** 2
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    np.testing.assert_allclose(shown(result(WRITERS / "gamma_pnmtopng.png", tmp_path, ".png")), expected, atol=1)
    stored = patches(np.asarray(Image.open(WRITERS / "grey_gamma_pnmtopng.png").convert("RGB"))) / 255
    expected = np.where(stored <= 0.0031308, 12.92 * stored, 1.055 * stored ** (1 / 2.4) - 0.055) * 255
    np.testing.assert_allclose(shown(result(WRITERS / "grey_gamma_pnmtopng.png", tmp_path, ".jpg")), expected, atol=2)


@pytest.mark.parametrize("name", ["grey12.tif", "grey10_magick.tif"])
def test_packed_depths_fill_the_range(name: str) -> None:
    path = (FAULTS if name == "grey12.tif" else WRITERS) / name
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        stored, bits = page.asarray(), page.bitspersample
    photo = read_photo(path)
    assert photo.sixteen_bit
    np.testing.assert_allclose(photo.color[..., 0], stored / (2**bits - 1), atol=1e-6)


@pytest.mark.parametrize(
    "source", [FAULTS / "pq_nclx.avif", WRITERS / "hlg_avifenc.avif", WRITERS / "cicp_hlg_vips.png"]
)
def test_hdr_is_kept_with_its_tag_or_refused(tmp_path: Path, source: Path) -> None:
    photo = read_photo(source)
    np.testing.assert_allclose(patches(photo.color * 255), CHART, atol=3)  # code values, untouched
    written = result(source, tmp_path, ".png")
    with written.open("rb") as file:
        header = read_header(file)
    assert (header.depth, header.cicp) == (16, photo.metadata.cicp)
    np.testing.assert_allclose(patches(read_pixels(written, "PNG") * 255), CHART, atol=3)
    for suffix in BY_SUFFIX:
        if BY_SUFFIX[suffix].name != "PNG" and has_extra(BY_SUFFIX[suffix].extra):
            with pytest.raises(RequestError, match=r"coded for (PQ|HLG)"):
                result(source, tmp_path, suffix)


def test_a_loss_of_depth_is_told(tmp_path: Path) -> None:
    photo = read_photo(WRITERS / "p3_10bit_avifenc.avif")
    assert "8 bits" in " ".join(losses(photo, tmp_path / "a.avif"))
    assert losses(photo, tmp_path / "a.png") == ()


def test_inks_by_their_profile_on_every_page() -> None:
    """The numbers of the page that tells its profile are those of LittleCMS."""
    photo = read_photo(FAULTS / "cmyk_two_pages.tif")
    with Image.open(FAULTS / "cmyk_two_pages.tif") as image:
        own = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        exact = ImageCms.Flags.NOOPTIMIZE  # else it interpolates in a lattice of its own
        converted = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB", flags=exact)
    assert len(photo.frames) == 2
    np.testing.assert_allclose(photo.color * 255, np.asarray(converted, np.float32), atol=0.52)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (FAULTS / "float32_rgb.tif", "floating-point numbers of 32 bits"),
        (WRITERS / "float_vips.tif", "floating-point numbers of 32 bits"),
        (WRITERS / "lab_magick.tif", "CIELAB"),
    ],
)
def test_what_is_not_read_is_refused_with_the_reason(source: Path, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_photo(source)


def test_pages_that_follow_each_other_in_a_circle_end(tmp_path: Path) -> None:
    data = bytearray((FAULTS / "float32_rgb.tif").read_bytes())
    first = int.from_bytes(data[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    data[end : end + 4] = data[4:8]
    (tmp_path / "in.tif").write_bytes(data)
    with pytest.raises(InputError, match="floating-point"):
        read_photo(tmp_path / "in.tif")


def test_a_jpeg_of_twelve_bits_is_called_one(tmp_path: Path) -> None:
    data = bytearray((FAULTS / "orientation6.jpg").read_bytes())
    data[data.index(b"\xff\xc0") + 4] = 12
    (tmp_path / "in.jpg").write_bytes(data)
    with pytest.raises(InputError, match="12 bits a channel"):
        read_photo(tmp_path / "in.jpg")


def test_a_wrong_checksum_of_a_text_harms_nothing(tmp_path: Path) -> None:
    """libpng and browsers leave such a chunk out; one of pixels is another matter."""
    whole = (FAULTS / "text_chunks.png").read_bytes()
    for kind in (b"tEXt", b"iTXt", b"zTXt"):
        if kind not in whole:
            continue
        data = bytearray(whole)
        at = data.index(kind)
        data[at + 4 + int.from_bytes(data[at - 4 : at], "big")] ^= 0xFF
        photo = read_stream(io.BytesIO(bytes(data)))
        assert len(photo.metadata.texts) == len(read_photo(FAULTS / "text_chunks.png").metadata.texts) - 1
    data = bytearray(whole)
    at = data.index(b"IDAT")
    data[at + 20] ^= 0xFF
    with pytest.raises(InputError):
        read_stream(io.BytesIO(bytes(data)))


@pytest.mark.parametrize("name", ["resolution_0_0.tif", "resolution_0_0_16bit.tif", "no_resolution.tif"])
@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".webp", ".avif", ".bmp"])
def test_no_density_is_no_density(tmp_path: Path, name: str, suffix: str) -> None:
    assert read_photo(FAULTS / name).metadata.dpi is None
    assert read_photo(result(FAULTS / name, tmp_path, suffix)).metadata.dpi is None


@pytest.mark.parametrize("denominator", [0, 1])
def test_half_a_density_is_none(tmp_path: Path, denominator: int) -> None:
    """300/0 by 300/0, and 300 by 0/0."""
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        writer.write(np.zeros((4, 4, 3), np.uint8), photometric="rgb", resolution=(300, 300), metadata=None)
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as tiff:
        for tag in (282, 283)[denominator:]:
            tiff.pages.first.tags[tag].overwrite((300 * (1 - denominator), 0))
    assert read_photo(result(tmp_path / "in.tif", tmp_path, ".jpg")).metadata.dpi is None


def texts(photo: Photo) -> set[bytes]:
    """The values of the EXIF entries that are texts, and of the XP tags as UTF-8."""
    exif = parse(photo.metadata.exif)
    found = {entry.data.rstrip(b"\0") for entry in (*exif.main.values(), *exif.details.values()) if entry.type == 2}
    wide = (exif.main[tag].data for tag in (0x9C9B, 0x9C9D) if tag in exif.main)
    return found | {data.decode("utf-16-le").rstrip("\0").encode() for data in wide}


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png", ".webp", ".avif"])
@pytest.mark.parametrize("kind", [".jpg", ".tif", ".png", ".webp"])
def test_texts_of_all_languages_are_kept(tmp_path: Path, kind: str, suffix: str) -> None:
    photo = read_photo(result(WRITERS / f"texts_exiftool{kind}", tmp_path, suffix))
    assert {text.encode() for text in ("Blütenwiese", "Été", "Löwenzahn", "RF 50mm")} <= texts(photo)
    exif = parse(photo.metadata.exif)
    assert int.from_bytes(exif.main[0x4746].data, "little") == 4, "the rating"
    assert exif.place[2].count == 3
    assert is_marked(photo.metadata.exif)
    assert photo.size == (64, 48) or kind in (".tif", ".png", ".webp"), "turned upright"
    assert photo.metadata.xmp is not None
    assert "Löwenzahn" in photo.metadata.xmp.decode()
    assert b"Orientation" not in photo.metadata.xmp
    if kind in (".jpg", ".tif") and suffix in (".jpg", ".tif", ".png"):
        assert photo.metadata.iptc is not None
        assert b"Wiese" in photo.metadata.iptc


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png", ".webp", ".avif"])
def test_a_photographers_jpeg(tmp_path: Path, suffix: str) -> None:
    photo = read_photo(result(FAULTS / "exif_utf8.jpg", tmp_path, suffix))
    expected = {"Blütenwiese – Löwenzahn", "Été à la plage", "© 2024 Été", "Löwenzahn", "José", "RF 50mm"}
    assert {text.encode() for text in expected} <= texts(photo)
    if suffix == ".jpg":
        assert photo.metadata.comment == b"a JPEG comment"
    if suffix == ".png":
        assert ("Comment", "a JPEG comment") in photo.metadata.texts
    if suffix in (".jpg", ".tif", ".png"):
        assert photo.metadata.iptc is not None


@pytest.mark.skipif(not shutil.which("exiftool"), reason="needs exiftool")
@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png", ".webp", ".avif"])
def test_what_exiftool_reads(tmp_path: Path, suffix: str) -> None:
    """The texts as another program finds them, and nothing that it calls an error."""
    written = result(WRITERS / "texts_exiftool.jpg", tmp_path, suffix)
    names = ("ImageDescription", "Artist", "Rating", "XPTitle", "LensModel", "GPSLatitude", "Orientation", "Error")
    command = ["exiftool", "-j", "-n", "-charset", "exif=UTF8", *(f"-{name}" for name in names), str(written)]
    (told,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    del told["SourceFile"]
    assert told == {
        "ImageDescription": "Blütenwiese", "Artist": "Été", "Rating": 4, "XPTitle": "Löwenzahn",
        "LensModel": "RF 50mm", "GPSLatitude": pytest.approx(48.1),
    }  # fmt: skip


def test_heic_of_ten_bits_keeps_them(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the plug-in for HEIC")
    pixels = np.random.default_rng(0).integers(0, 1024, (48, 64, 3)).astype(np.uint16) * 64
    pillow_heif.from_bytes("RGB;16", (64, 48), pixels.tobytes()).save(tmp_path / "in.heic", quality=100)
    if read_properties(io.BytesIO((tmp_path / "in.heic").read_bytes())).depth == 8:
        pytest.skip("the encoder of this machine has eight bits")
    photo = read_photo(tmp_path / "in.heic")
    assert photo.sixteen_bit
    write_photo(photo, tmp_path / "out.png")
    levels = np.unique((read_pixels(tmp_path / "out.png", "PNG") * 65535).round())
    assert len(levels) > 256


@pytest.mark.parametrize("deep", [False, True])
def test_texts_of_a_png(tmp_path: Path, deep: bool) -> None:
    photo = read_photo(FAULTS / "text_chunks.png")
    write_photo(replace(photo, sixteen_bit=deep), tmp_path / "out.png")
    written = read_photo(tmp_path / "out.png")
    assert dict(written.metadata.texts) == dict(photo.metadata.texts)
    assert dict(photo.metadata.texts)["Title"] == "Löwenzahn"
    assert read_photo(result(FAULTS / "text_chunks.png", tmp_path, ".jpg")).metadata.comment


def test_a_gain_map_that_is_gone_is_not_told_of(tmp_path: Path) -> None:
    original = read_photo(FAULTS / "gain_map_xmp.jpg")
    assert b"hdrgm" in (FAULTS / "gain_map_xmp.jpg").read_bytes()
    xmp = read_photo(result(FAULTS / "gain_map_xmp.jpg", tmp_path, ".jpg")).metadata.xmp or b""
    for word in (b"hdrgm:", b"GainMap", b"Container:Directory"):
        assert word not in xmp
        assert word not in (original.metadata.xmp or b"")


def test_an_orientation_in_damaged_xmp_is_not_told_again(tmp_path: Path) -> None:
    data = (WRITERS / "texts_exiftool.tif").read_bytes()
    at = data.index(b"L\xc3\xb6wenzahn</rdf")
    (tmp_path / "in.tif").write_bytes(data[: at + 2] + b"\xff" + data[at + 3 :])
    written = read_photo(result(tmp_path / "in.tif", tmp_path, ".tif"))
    assert written.size == read_photo(tmp_path / "in.tif").size
    assert b"Orientation" not in (written.metadata.xmp or b"")


def test_nothing_transparent_is_no_transparency(tmp_path: Path) -> None:
    np.testing.assert_allclose(shown(result(FAULTS / "opaque_alpha.png", tmp_path, ".jpg")), CHART, atol=2)


@pytest.mark.parametrize("deep", [False, True])
def test_a_background_for_transparency(tmp_path: Path, deep: bool) -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 4, 8))
    clear.save(tmp_path / "in.png")
    photo = replace(read_photo(tmp_path / "in.png"), sixteen_bit=deep).on((255, 255, 255))
    assert photo.alpha is None
    np.testing.assert_allclose(photo.color[:, :4], np.broadcast_to((0, 0, 1), (8, 4, 3)))
    np.testing.assert_allclose(photo.color[:, 4:], 1)


def test_a_background_in_the_colours_of_a_profile(tmp_path: Path) -> None:
    with Image.open(FAULTS / "adobe_rgb.jpg") as image:
        clear, profile = image.convert("RGBA"), image.info["icc_profile"]
    clear.putalpha(0)
    clear.save(tmp_path / "in.png", icc_profile=profile)
    write_photo(read_photo(tmp_path / "in.png").on((32, 64, 96)), tmp_path / "out.png")
    np.testing.assert_allclose(shown(tmp_path / "out.png"), np.broadcast_to((32, 64, 96), (3, 4, 3)), atol=1)
