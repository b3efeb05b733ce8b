"""Make tests/data/writers: images as other programs write them. Their outputs are committed, so that tests need none.

    python -m tests.make_fixtures

Needs libtiff-tools, libvips-tools, imagemagick, libimage-exiftool-perl, netpbm, libavif-bin, gifsicle and webp.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from tests.golden import DATA
from varsr.images.codecs.png import HEADER_BYTES, chunk

OUT = DATA / "writers"
CHART = DATA / "faults" / "opaque_alpha.png"


def main() -> None:
    """Write all of them."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        chart, grey, deep = work / "chart.png", work / "grey.png", work / "deep.png"
        with Image.open(CHART) as image:
            image.convert("RGB").save(chart)
            image.convert("L").save(grey)
        _run("convert", chart, "-depth", "16", "-define", "png:bit-depth=16", deep)
        _tiffs(work, chart, grey)
        _pngs(work, deep, grey)
        _avifs(chart)
        _animations(work)
        _metadata(chart)


def _tiffs(work: Path, chart: Path, grey: Path) -> None:
    plain = work / "plain.tif"
    _run("convert", chart, "-compress", "none", plain)
    _run("tiffcp", "-8", plain, OUT / "bigtiff_tiffcp.tif")
    _run("vips", "tiffsave", chart, OUT / "bigtiff_vips.tif", "--bigtiff", "--compression", "lzw")
    _run("convert", chart, "-depth", "12", "-compress", "none", OUT / "rgb12_magick.tif")
    _run("convert", grey, "-depth", "10", "-compress", "none", OUT / "grey10_magick.tif")
    for compression in ("webp", "zstd"):
        target = OUT / f"{compression}_vips.tif"
        _run("vips", "tiffsave", chart, target, "--compression", compression, "--lossless")
    _run("convert", chart, "-colorspace", "Lab", "-depth", "8", OUT / "lab_magick.tif")
    _run("vips", "cast", chart, work / "float.v", "float")
    _run("vips", "tiffsave", work / "float.v", OUT / "float_vips.tif", "--compression", "deflate")
    _run("tiffset", "-u", "282", plain)
    _run("tiffset", "-u", "283", plain)
    _run("tiffcp", "-c", "zip", plain, OUT / "no_resolution_tiffcp.tif")


def _pngs(work: Path, deep: Path, grey: Path) -> None:
    data = deep.read_bytes()
    (OUT / "sbit12_magick.png").write_bytes(data[:HEADER_BYTES] + chunk(b"sBIT", b"\x0c\x0c\x0c") + data[HEADER_BYTES:])
    portable = work / "chart.ppm"
    _run("convert", CHART, "-background", "white", "-flatten", "-depth", "8", portable)
    (OUT / "gamma_pnmtopng.png").write_bytes(_output("pnmtopng", "-gamma", "0.5", portable))
    greymap = work / "grey.pgm"
    _run("convert", grey, greymap)
    (OUT / "grey_gamma_pnmtopng.png").write_bytes(_output("pnmtopng", "-gamma", "1.0", greymap))
    wide = work / "wide.png"
    _run("vips", "pngsave", deep, wide, "--bitdepth", "16")
    data = wide.read_bytes()
    (OUT / "cicp_2020_vips.png").write_bytes(
        data[:HEADER_BYTES] + chunk(b"cICP", b"\x09\x0d\0\x01") + data[HEADER_BYTES:]
    )
    (OUT / "cicp_hlg_vips.png").write_bytes(
        data[:HEADER_BYTES] + chunk(b"cICP", b"\x09\x12\0\x01") + data[HEADER_BYTES:]
    )


def _avifs(chart: Path) -> None:
    for name, arguments in {
        "p3_10bit_avifenc.avif": ("--cicp", "12/13/6", "-d", "10", "--lossless"),
        "srgb_12bit_avifenc.avif": ("--cicp", "1/13/6", "-d", "12", "-y", "444", "--min", "0", "--max", "2"),
        "hlg_avifenc.avif": ("--cicp", "9/18/9", "-d", "10", "-y", "444", "--min", "0", "--max", "2"),
    }.items():
        given = tuple(argument for argument in arguments if argument != "--lossless")
        _run(
            "avifenc",
            *given,
            *(("-y", "444", "--min", "0", "--max", "2") if "-y" not in given else ()),
            chart,
            OUT / name,
        )


def _animations(work: Path) -> None:
    frames = []
    for number, color in enumerate(((200, 30, 30), (30, 200, 30), (30, 30, 200))):
        frame = Image.new("RGB", (24, 16), (10, 10, 10))
        frame.paste(color, (4 + 4 * number, 4, 12 + 4 * number, 12))
        path = work / f"{number}.gif"
        frame.save(path)
        frames.append(path)
    _run("gifsicle", "--delay", "20", "--no-loopcount", *frames, "-o", OUT / "once_gifsicle.gif")
    _run("gifsicle", "--delay", "0", "--loopcount=forever", *frames, "-o", OUT / "no_delay_gifsicle.gif")
    _run("gifsicle", "--delay", "20", "--loopcount=2", *frames, "-o", OUT / "three_times_gifsicle.gif")
    pngs = []
    for path in frames:
        with Image.open(path) as frame:
            frame.convert("RGB").save(path.with_suffix(".png"))
        pngs.append(path.with_suffix(".png"))
    _run("img2webp", "-loop", "2", "-lossless", "-d", "150", *pngs, "-o", OUT / "twice_img2webp.webp")
    _run("convert", "-delay", "20", "-loop", "0", *frames, OUT / "forever_magick.gif")


def _metadata(chart: Path) -> None:
    texts = (
        "-charset", "exif=UTF8", "-EXIF:ImageDescription=Blütenwiese", "-EXIF:Artist=Été", "-EXIF:Rating=4",
        "-EXIF:XPTitle=Löwenzahn", "-EXIF:Orientation#=6", "-EXIF:GPSLatitude=48.1", "-EXIF:GPSLatitudeRef=N",
        "-EXIF:LensModel=RF 50mm", "-IPTC:Headline=Wiese", "-XMP:Orientation#=6", "-XMP:Title=Löwenzahn",
    )  # fmt: skip
    for suffix in (".jpg", ".tif", ".png", ".webp"):
        target = OUT / f"texts_exiftool{suffix}"
        _run("convert", chart, target)
        _run("exiftool", "-q", "-overwrite_original", *texts, target)


def _run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True)


def _output(*command: str | Path) -> bytes:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout


if __name__ == "__main__":
    main()
