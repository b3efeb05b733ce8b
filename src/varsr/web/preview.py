"""Previews: images that every browser shows, for the page's slider."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from varsr.images.photo import Photo
from varsr.images.pillow import to_image
from varsr.images.size import Size
from varsr.tiling.array import FloatImage

LONGEST = 4096


class Sampler:
    """Keeps of a result of (height, width) every so many rows and columns, so that it is at most `LONGEST` long."""

    def __init__(self, size: Size) -> None:
        self._step = math.ceil(max(size) / LONGEST)
        self._kept: list[FloatImage] = []

    def passing(self, bands: Iterable[FloatImage]) -> Iterator[FloatImage]:
        """The same bands of rows (rows, W, 3), looked at as they pass."""
        top = 0
        for band in bands:
            self._kept.append(band[-top % self._step :: self._step, :: self._step].copy())
            top += len(band)
            yield band

    def color(self) -> FloatImage:
        """The rows and columns that were kept."""
        return np.concatenate(self._kept)


def write_preview(photo: Photo, path: Path) -> None:
    """Write the first frame as a JPEG in sRGB, at most `LONGEST` pixels long, transparency on white."""
    image = to_image(replace(photo, more_frames=()).without_profile().on((255, 255, 255)))
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    image.convert("RGB").save(path, "JPEG", quality=92, subsampling="4:4:4")
