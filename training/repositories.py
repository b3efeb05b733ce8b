"""More photographs: freely licensed ones from public repositories of wallpapers, with their source and licence.

    python -m training.repositories FOLDER

Clones the repositories of `repositories.tsv` with git and writes the photographs that it lists, reduced so that their
pixels are sharp, to FOLDER/train, and FOLDER/repositories.json. None of them validates or tests.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageOps

from training.photographs import LONGEST, reduce

TABLE = Path(__file__).with_suffix(".tsv")
HOST = "https://github.com"
REDUCTION = 0.5
"""Of the side: cameras interpolate colours, and photographs of screens' sizes are seldom sharp to the pixel."""


@dataclass(frozen=True)
class Listed:
    """A photograph of a repository; `file` is its path with `_` for `/`."""

    repository: str
    file: str
    licence: str


def main() -> None:
    """Make the folder of photographs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", default=HOST, help="address that names of repositories are appended to")
    options = parser.parse_args()
    manifest = []
    for repository, photographs in groupby(listed(TABLE), lambda photograph: photograph.repository):
        manifest += list(collect(repository, list(photographs), options.folder, options.host))
    (options.folder / "repositories.json").write_text(json.dumps([asdict(p) for p in manifest], indent=1) + "\n")
    print(f"{len(manifest)} photographs in {options.folder}")


def listed(table: Path) -> list[Listed]:
    """The rows of a table of photographs."""
    with table.open(newline="") as file:
        return [Listed(**row) for row in csv.DictReader(file, delimiter="\t")]


def collect(repository: str, photographs: Sequence[Listed], folder: Path, host: str = HOST) -> Iterator[Listed]:
    """Clone a repository and save the listed photographs that it still has."""
    root = cloned(repository, folder / "repositories", host)
    files = {str(path.relative_to(root)).replace("/", "_"): path for path in root.rglob("*") if path.is_file()}
    (folder / "train").mkdir(parents=True, exist_ok=True)
    for photograph in photographs:
        if photograph.file not in files:
            warnings.warn(f"{repository} has no {photograph.file} any more", stacklevel=2)
            continue
        name = re.sub(r"\W+", "-", f"{repository} {Path(photograph.file).stem}")
        with Image.open(files[photograph.file]) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        reduce(upright, min(REDUCTION, LONGEST / max(upright.size))).save(folder / "train" / f"{name}.png")
        yield photograph


def cloned(repository: str, folder: Path, host: str) -> Path:
    """The files of a repository's latest commit."""
    root = folder / repository
    if not root.exists():
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"{host}/{repository}", root], check=True)
    return root


if __name__ == "__main__":
    main()
