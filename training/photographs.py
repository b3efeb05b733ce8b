"""The photographs: freely licensed ones from Debian's packages, made sharp, with their source and licence.

    python -m training.photographs FOLDER

Fetches the packages with apt-get, takes out what is photographic, reduces it so that its pixels are sharp,
and writes FOLDER/<split>/<name>.png and FOLDER/manifest.json. Every photograph belongs to one split whole.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

Split = Literal["train", "validation", "test"]
MIN_SIDE = 320
LONGEST = 2048


@dataclass(frozen=True)
class Source:
    """A package and which of its files are photographs. `reduction` makes their pixels sharp.

    Photographed surfaces made for games may be trained on but not measured with: `held_out` is false for them.
    """

    package: str
    patterns: tuple[str, ...]
    reduction: float
    held_out: bool = True


@dataclass(frozen=True)
class Photograph:
    """One line of the manifest."""

    name: str
    split: Split
    package: str
    file: str
    licence: str
    size: tuple[int, int]


# Chosen by looking at every image of these packages: drawings, renderings and soft gradients are left out.
SOURCES = (
    Source(
        "lomiri-wallpapers-16.04",
        (
            "*/Bridge_by*", "*/Dragonfly_by*", "*/Wine_by*", "*/seeding_by*", "*/Picture_*", "*/free_by*",
            "*/*_by_Aitzol_Berasategi.jpg", "*/greentock_by*",
        ),
        0.5,
    ),
    Source("lomiri-wallpapers-20.04", ("*/Kleiber_by*",), 0.4),
    Source("mate-backgrounds", ("*/mate/nature/*.jpg",), 0.6),
    Source(
        "plasma-workspace-wallpapers",
        tuple(
            f"*/{name}/contents/images/2560x1600.jpg"
            for name in (
                "BytheWater", "ColdRipple", "ColorfulCups", "EveningGlow", "FallenLeaf", "Grey", "Kite",
                "OneStandsOut", "Path", "summer_1am",
            )
        ),
        0.5,
    ),
    Source(
        "gcompris-qt-data",
        ("*/explore_*_animals.rcc", "*/explore_monuments.rcc", "*/explore_world_music.rcc", "*/erase.rcc"),
        0.6,
    ),
    Source("supertuxkart-data", ("*/data/textures/*", "*/data/library/*", "*/data/tracks/*"), 0.6, held_out=False),
    Source("stellarium-data", ("*/garching/garching-g*.png", "*/textures/moon_4k.jpg"), 0.6, held_out=False),
)  # fmt: skip


def main() -> None:
    """Make the folder of photographs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    manifest = [photograph for source in SOURCES for photograph in collect(source, folder)]
    (folder / "manifest.json").write_text(json.dumps([asdict(p) for p in manifest], indent=1) + "\n")
    print(f"{len(manifest)} photographs in {folder}")


def collect(source: Source, folder: Path) -> Iterator[Photograph]:
    """Fetch a package and save its photographs."""
    root = unpack(source.package, folder / "packages")
    copyright_file = (root / "usr/share/doc" / source.package / "copyright").read_text(errors="replace")
    files = sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    for path in files:
        if not any(fnmatch(str(path), pattern) for pattern in source.patterns):
            continue
        for number, image in enumerate(images_in(path)):
            reduced = reduce(image, source.reduction)
            if min(reduced.size) < MIN_SIDE or not is_photographic(reduced):
                continue
            inside = path.relative_to(root)
            name = re.sub(r"\W+", "-", f"{source.package} {path.stem} {number} {zlib.crc32(str(inside).encode()):08x}")
            split = split_of(name) if source.held_out else "train"
            (folder / split).mkdir(parents=True, exist_ok=True)
            reduced.save(folder / split / f"{name}.png", compress_level=1)
            yield Photograph(
                name, split, source.package, str(inside), licence_of(copyright_file, str(inside)), reduced.size
            )


def unpack(package: str, folder: Path) -> Path:
    """Download a package with apt-get and unpack it; return its root."""
    root = folder / package
    if root.exists():
        return root
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
    archive = next(folder.glob(f"{package}_*.deb"))
    subprocess.run(["dpkg-deb", "-x", archive, root], check=True)
    archive.unlink()
    return root


def images_in(path: Path) -> Iterator[Image.Image]:
    """The images of a file: one of an image, the WebP files inside a Qt resource archive, none of another."""
    if path.suffix == ".rcc":
        data = path.read_bytes()
        for match in re.finditer(rb"RIFF(....)WEBPVP8", data, re.DOTALL):
            length = int.from_bytes(match[1], "little") + 8
            yield from _opened(io.BytesIO(data[match.start() : match.start() + length]))
    elif path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
        yield from _opened(path)


def _opened(file: Path | io.BytesIO) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(file) as image:
            if image.mode == "RGB":  # cut-outs with transparency are no photographs
                yield ImageOps.exif_transpose(image).convert("RGB")


def reduce(image: Image.Image, factor: float) -> Image.Image:
    """The image smaller by `factor`, or by more where it would be longer than LONGEST."""
    factor = min(factor, LONGEST / max(image.size))
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


def is_photographic(image: Image.Image) -> bool:
    """True for an image with a photograph's many colours and fine detail that is not a normal map."""
    pixels = np.asarray(image, dtype=np.float32)
    grey = pixels.mean(-1)
    detail = np.abs(4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:])
    sampled = np.asarray(image)[::4, ::4].reshape(-1, 3)
    colours = len(np.unique(sampled, axis=0)) / len(sampled)
    is_normal_map = pixels[..., 2].mean() > 1.6 * pixels[..., :2].mean() and pixels[..., 2].mean() > 180
    return bool(np.percentile(detail, 90) > 4 and colours > 0.1 and not is_normal_map)


def split_of(name: str) -> Split:
    """A tenth of the photographs validate, a tenth test, by their names alone."""
    return ("validation", "test", *("train",) * 8)[zlib.crc32(name.encode()) % 10]


def licence_of(copyright_file: str, path: str) -> str:
    """The licence of `path` in a machine-readable debian/copyright file: of the last stanza that names it."""
    licence = "see the package's copyright file"
    for stanza in re.split(r"\n\s*\n(?=Files:)", copyright_file):
        files = re.search(r"^Files:\s*((?:.*\n)(?:[ \t].*\n)*)", stanza, re.MULTILINE)
        named = re.search(r"^License:\s*(.+)", stanza, re.MULTILINE)
        if files and named and any(_names(pattern, path) for pattern in files[1].split()):
            licence = named[1].strip()
    return licence


def _names(pattern: str, path: str) -> bool:
    return fnmatch(path, f"*{pattern}") or Path(path).name == Path(pattern).name


if __name__ == "__main__":
    main()
