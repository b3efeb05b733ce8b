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


class Reducer:
    """Makes of a result of (height, width) one at most `LONGEST` long, of the means of squares, as its bands pass."""

    def __init__(self, size: Size) -> None:
        self._step = math.ceil(max(size) / LONGEST)
        self._waiting: list[FloatImage] = []
        self._reduced: list[FloatImage] = []

    def passing(self, bands: Iterable[FloatImage]) -> Iterator[FloatImage]:
        """The same bands of rows (rows, W, 3), looked at as they pass."""
        for band in bands:
            self._waiting.append(band)
            self._reduce(whole_squares=True)
            yield band

    def color(self) -> FloatImage:
        """The reduced result, of the bands that have passed."""
        self._reduce(whole_squares=False)
        return np.concatenate(self._reduced)

    def _reduce(self, whole_squares: bool) -> None:
        rows = np.concatenate(self._waiting) if self._waiting else np.zeros((0, 1, 3), np.float32)
        count = len(rows) - len(rows) % self._step if whole_squares else len(rows)
        self._waiting = [rows[count:]] if count < len(rows) else []
        if count:
            self._reduced.append(_means(_means(rows[:count], self._step, axis=0), self._step, axis=1))


def _means(values: FloatImage, step: int, axis: int) -> FloatImage:
    """The means of every `step` rows or columns; the last is that of fewer."""
    starts = np.arange(0, values.shape[axis], step)
    counts = np.minimum(step, values.shape[axis] - starts).astype(np.float32)
    sums = np.add.reduceat(values, starts, axis=axis)
    return sums / counts.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))


def write_preview(photo: Photo, path: Path) -> None:
    """Write the first frame as a JPEG in sRGB, at most `LONGEST` pixels long, transparency on white."""
    image = to_image(replace(photo, more_frames=()).without_profile().on((255, 255, 255)))
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    image.convert("RGB").save(path, "JPEG", quality=92, subsampling="4:4:4")
