"""From numbers between 0 and 1 to those that files hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from varsr.tiling.array import FloatImage


def rounded(channels: FloatImage, depth: np.dtype[Any]) -> NDArray[Any]:
    """Channels in [0, 1] as whole numbers of a type, the nearest."""
    values = channels.clip(0, 1)
    values *= np.iinfo(depth).max  # in place: large arrays anew take longer than what is done to them
    values += 0.5
    return values.astype(depth)
