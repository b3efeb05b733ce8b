"""Target sizes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from varsr.errors import RequestError

MIN_SCALE, MAX_SCALE, DEFAULT_SCALE = 1.0, 8.0, 4.0
LABEL = re.compile(r"(?<![^\W_])(?:[xwhl]\d+(?:\.\d+)?|\d+(?:\.\d+)?mp)(?![^\W_])")
"""Any size as `TargetSize.label` writes it, between other words of a file's name."""
Size = tuple[int, int]
"""Height and width in pixels."""


def width_and_height(size: Size | None) -> list[int] | None:
    """A size in the order in which people and JSON data have it; None where it is not known."""
    return [size[1], size[0]] if size else None


@dataclass(frozen=True)
class TargetSize:
    """The size of a result: a factor, a width, a height or the longer side in pixels, or millions of pixels."""

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    longest: int | None = None
    megapixels: float | None = None

    def __post_init__(self) -> None:
        """Raise `RequestError` unless exactly one is given."""
        given = [v for v in (self.scale, self.width, self.height, self.longest, self.megapixels) if v is not None]
        if len(given) != 1:
            raise RequestError(
                "The size is given more than once.",
                "Use one of `scale`, `width`, `height`, `longest`, `megapixels`.",
            )

    @property
    def label(self) -> str:
        """The size in a file's name: x4, w2000, h1080, l4000 or 12mp."""
        for letter, value in (("x", self.scale), ("w", self.width), ("h", self.height), ("l", self.longest)):
            if value is not None:
                return f"{letter}{value:g}"
        return f"{self.megapixels:g}mp"

    def of(self, size: Size) -> Size:
        """The size of the result of an image. Raises `RequestError` where that is less than 1 or more than 8 times."""
        height, width = size
        scale = self._factor(height, width)
        if not MIN_SCALE <= scale <= MAX_SCALE:
            raise RequestError(
                f"An image of {width} x {height} cannot be scaled by {scale:.4g}.",
                f"Use a scale from {MIN_SCALE:g} to {MAX_SCALE:g}.",
            )
        return self.height or round(height * scale), self.width or round(width * scale)

    def _factor(self, height: int, width: int) -> float:
        if self.width is not None:
            return self.width / width
        if self.height is not None:
            return self.height / height
        if self.longest is not None:
            return self.longest / max(height, width)
        if self.megapixels is not None:
            return math.sqrt(self.megapixels * 1e6 / (height * width))
        assert self.scale is not None
        return self.scale


def target_size(
    *,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    longest: int | None = None,
    megapixels: float | None = None,
) -> TargetSize:
    """The size that is given, or the default scale where none is. Raises `RequestError` where several are."""
    if (scale, width, height, longest, megapixels) == (None,) * 5:
        scale = DEFAULT_SCALE
    return TargetSize(scale, width, height, longest, megapixels)
