"""Folders of benchmark images, and which file of one belongs to which of another."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from varsr.errors import InputError, RequestError
from varsr.jobs.listing import images_in

REFERENCE_NAMES = ("HR", "test_HR", "gt", "GT", "GTmod12", "GTmod4", "original")
INPUT_NAMES = ("LR", "test_LR", "lq", "LQ", "LRbicx4", "LR_bicubic/X4")
"""Folders of the layouts of RealSR and DRealSR, of StableSR's crops of DIV2K, and of Set5 and its like."""

KeyOf = Callable[[Path], str]
_SUFFIX = re.compile(r"[ _.-]?(x\d+(\.\d+)?|\d+x|(lr|hr|sr|lq|gt)(bic)?(x?\d+)?|bicubic|out)$", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """An image and the one that it is compared with or made from. `name` is without the marks of scale and quality."""

    name: str
    image: Path
    partner: Path


@dataclass(frozen=True)
class Matched:
    """Files of two folders, and those without a partner."""

    pairs: tuple[Pair, ...]
    unmatched: tuple[Path, ...]


def match(images: Path, partners: Path) -> Matched:
    """Match the files of 2 folders by name.

    Their suffixes may differ, and so may marks such as `_x4`, `x4`, `_LR4`, `_HR`. Files with equal stems belong
    together before others. Raises `InputError` where a folder has no images.
    """
    left, right = files_of(images), files_of(partners)
    pairs = [*_matched(left, right, lambda path: path.stem)]
    taken = {path for pair in pairs for path in (pair.image, pair.partner)}
    rest, other_rest = ([path for path in side if path not in taken] for side in (left, right))
    pairs += _matched(rest, other_rest, lambda path: bare(path.stem))
    taken |= {path for pair in pairs for path in (pair.image, pair.partner)}
    unmatched = tuple(path for path in (*left, *right) if path not in taken)
    return Matched(tuple(sorted(pairs, key=lambda pair: pair.name)), unmatched)


def bare(stem: str) -> str:
    """The stem of a file without the marks at its end: `Canon_002_LR4` is `Canon_002`."""
    while (shorter := _SUFFIX.sub("", stem)) != stem and shorter:
        stem = shorter
    return stem


def files_of(folder: Path) -> list[Path]:
    """The images of a folder, sorted. Raises `InputError` where there are none."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", "Name a folder of images.")
    files, problems = images_in(folder)
    if problems:
        raise problems[0][1]
    if not files:
        raise InputError(f"{folder} holds no images.", "Name a folder of images.")
    return files


def subfolder(root: Path, names: Sequence[str]) -> Path:
    """The folder of a dataset that has one of the names; `root` itself where it holds images.

    Raises `RequestError` where there is none or more than one.
    """
    if not root.is_dir() or images_in(root)[0]:
        return root
    found = [root / name for name in names if (root / name).is_dir()]
    distinct = {path.resolve() for path in found}
    if len(distinct) != 1:
        raise RequestError(
            f"{root} holds neither images nor one folder of the names {', '.join(names)}.", "Name the folder itself."
        )
    return found[0]


def _matched(left: Iterable[Path], right: Iterable[Path], key: KeyOf) -> Iterable[Pair]:
    """Pairs of files of which each is the only one with its key."""
    sides: list[dict[str, list[Path]]] = []
    for files in (left, right):
        by_key: dict[str, list[Path]] = defaultdict(list)
        for path in files:
            by_key[key(path)].append(path)
        sides.append(by_key)
    for name, images in sides[0].items():
        partners = sides[1].get(name, [])
        if len(images) == len(partners) == 1:
            yield Pair(bare(name), images[0], partners[0])
