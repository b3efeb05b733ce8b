"""Estimates: the size of a plan before it is carried out, from the headers of its images or of some of them."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

from varsr.errors import InputError, RequestError
from varsr.images.header import Header, read_header
from varsr.images.size import Size, TargetSize
from varsr.jobs.pace import work_of
from varsr.storage.address import Place, Remote
from varsr.storage.local import is_special

SAMPLE = 1000
"""Images whose headers are read, of more a random choice."""


class Census:
    """Inputs counted as they pass, of which a fair sample is kept: reservoir sampling (Vitter 1985, algorithm R)."""

    def __init__(self, size: int = SAMPLE) -> None:
        self.count = 0
        self.videos = 0
        """Inputs that are videos, or become one."""
        self.remote = 0
        """Inputs that are not on this machine, of which nothing is known before they are fetched."""
        self.sample: list[Path] = []
        self._size = size
        self._random = random.Random(0)

    def add(self, source: Place) -> None:
        """Count an input."""
        if isinstance(source, Remote):
            self.remote += 1
            return
        self.count += 1
        if len(self.sample) < self._size:
            self.sample.append(source)
        elif (place := self._random.randrange(self.count)) < self._size:
            self.sample[place] = source


@dataclass(frozen=True)
class Estimate:
    """Images that will be upscaled, megapixels of them and of their results, and inputs that will be left out.

    `work` is the measure of `Stopwatch`. Numbers are exact unless `sampled`.
    """

    images: int
    megapixels: float
    result_megapixels: float
    work: float
    unfit: int
    """Inputs that cannot be read or scaled so."""
    larger: int
    """Inputs that `skip_larger` leaves out."""
    sampled: bool
    videos: int = 0
    remote: int = 0
    """Images that are not on this machine, whose sizes are not known."""


def estimate(census: Census, size: TargetSize, skip_larger: int | None) -> Estimate:
    """Estimate a plan from the headers of its sample."""
    images = unfit = larger = 0
    pixels = results = work = 0.0
    for source in census.sample:
        header = _header(source)
        if header is not None and skip_larger is not None and max(header.size) > skip_larger:
            larger += 1
            continue
        target = _target(size, header)
        if header is None or target is None:
            unfit += 1
            continue
        images += 1
        pixels += header.images * math.prod(header.size) / 1e6
        results += header.images * math.prod(target) / 1e6
        work += header.images * work_of(target)
    share = census.count / len(census.sample) if census.sample else 1.0
    return Estimate(
        images=round(images * share),
        megapixels=pixels * share,
        result_megapixels=results * share,
        work=work * share,
        unfit=round(unfit * share),
        larger=round(larger * share),
        sampled=census.count > len(census.sample),
        videos=census.videos,
        remote=census.remote,
    )


def _header(source: Path) -> Header | None:
    """The header of a file; None of one that cannot be read, or only once."""
    try:
        return None if is_special(source) else read_header(source)
    except InputError:
        return None


def _target(size: TargetSize, header: Header | None) -> Size | None:
    """The size of an image's result; None where it cannot be scaled so."""
    try:
        return size.of(header.size) if header else None
    except RequestError:
        return None
