"""Raw photographs with known content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

_XYZ_TO_SRGB = np.linalg.inv(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def write_dng(path: Path, light: NDArray[np.float64], orientation: int = 1) -> None:
    """Write a DNG of a camera whose sensor sees linear sRGB: light (H, W) in [0, 1], the same for all colours."""
    matrix = tuple(number for value in _XYZ_TO_SRGB.ravel() for number in (round(value * 10_000), 10_000))
    tags: list[tuple[int, int | str, int, Any, bool]] = [
        (271, "s", 0, "Computed", True),
        (272, "s", 0, "Ramp", True),
        (274, "H", 1, orientation, True),
        (306, "s", 20, "2020:01:02 03:04:05", True),
        (33421, "H", 2, (2, 2), True),  # the pattern of the colour filters, red, green, green, blue
        (33422, "B", 4, (0, 1, 1, 2), True),
        (50706, "B", 4, (1, 4, 0, 0), True),
        (50707, "B", 4, (1, 1, 0, 0), True),
        (50708, "s", 0, "Computed ramp", True),
        (50717, "H", 1, 65_535, True),
        (50721, 10, 9, matrix, True),
        (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
        (50778, "H", 1, 21, True),
    ]
    pixels = (light * 65_535 + 0.5).astype(np.uint16)
    with tifffile.TiffWriter(path, byteorder="<") as writer:
        writer.write(pixels, photometric=32803, compression=None, metadata=None, software=False, extratags=tags)
