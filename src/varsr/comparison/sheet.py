"""A contact sheet: the same part of several images side by side, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from varsr.comparison.layers import Comparison, made_of_each
from varsr.errors import InputError, RequestError
from varsr.images.pillow import image_of
from varsr.images.read import read_color
from varsr.images.resize import resize
from varsr.storage.local import replacing
from varsr.tiling.array import FloatImage

SIDE = 280
GAP, LABEL, TEXT = 6, 26, 15


@dataclass(frozen=True)
class Crop:
    """A part of an image in pixels of the largest layer."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Read `X,Y,W,H`. Raises `RequestError` for anything else."""
        try:
            numbers = [int(part) for part in text.split(",")]
            left, top, width, height = numbers
        except ValueError:
            raise RequestError(f"{text!r} is not X,Y,W,H.", "Give four numbers, such as 100,50,280,280.") from None
        if min(left, top) < 0 or min(width, height) < 1:
            raise RequestError(f"{text!r} is not a part of an image.", "X and Y are at least 0, W and H at least 1.")
        return cls(left, top, width, height)


def write_sheet(comparisons: Sequence[Comparison], path: Path, crop: Crop | None) -> list[InputError]:
    """Write a sheet with a row for each comparison and a column for each label, as the suffix of `path` says.

    Without `crop` each row shows the part where the layers differ most. Returns why rows were left out, as
    `made_of_each` does.

    Raises `InputError` where all are, `RequestError` for a crop outside of an image, and `OSError`.
    """
    left_out: list[InputError] = []
    labels = list(dict.fromkeys(layer.label for comparison in comparisons for layer in comparison.layers))
    rows = [*made_of_each(comparisons, lambda comparison: _row(comparison, crop), left_out)]
    width = max(cell.width for row in rows for cell in row.values())
    heights = [max(cell.height for cell in row.values()) for row in rows]
    size = len(labels) * (width + GAP) - GAP, LABEL + sum(heights) + GAP * (len(rows) - 1)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    for column, label in enumerate(labels):
        draw.text((column * (width + GAP) + width // 2, LABEL // 2), label, "black", font, anchor="mm")
    top = LABEL
    for row, height in zip(rows, heights, strict=True):
        for label, cell in row.items():
            sheet.paste(cell, (labels.index(label) * (width + GAP), top))
        top += height + GAP
    with replacing(path) as temporary:
        sheet.save(temporary, quality=90)
    return left_out


def _row(comparison: Comparison, crop: Crop | None) -> dict[str, Image.Image]:
    """The same part of each layer, by label."""
    colors = [read_color(layer.path) for layer in comparison.layers]
    size = max((color.shape[0], color.shape[1]) for color in colors)
    colors = [resize(color, size).clip(0, 1) for color in colors]
    part = crop or most_different(colors)
    if part.left + part.width > size[1] or part.top + part.height > size[0]:
        raise RequestError(f"The crop lies outside of {comparison.name}, {size[1]} x {size[0]} pixels.", "Move it.")
    area = slice(part.top, part.top + part.height), slice(part.left, part.left + part.width)
    return {layer.label: image_of([color[area]]) for layer, color in zip(comparison.layers, colors, strict=True)}


def most_different(colors: Sequence[FloatImage]) -> Crop:
    """The part of at most `SIDE` pixels where images (H, W, 3) of one size differ most."""
    height, width = (min(SIDE, length) for length in colors[0].shape[:2])
    spread = np.std([color.mean(2) for color in colors], axis=0)
    sums = np.pad(spread.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    parts = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(parts.argmax()), parts.shape)
    return Crop(int(left), int(top), width, height)
