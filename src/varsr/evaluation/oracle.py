"""The oracle baseline: a linear filter fitted to the ground truth of the very photograph that it restores.

It knows how this one image was degraded, which no usable method does; as a filter it knows nothing of what images look
like.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from varsr.evaluation.metrics import LUMA
from varsr.images.resize import resize
from varsr.tiling.array import FloatImage

Numbers = NDArray[np.floating[Any]]
REACH_PIXELS = 3  # pixels of the input that the filter sees to each side
BLOCK = (
    8  # pixels of the input: it is fitted to the dark squares of a chessboard and applied to the light, and reversed
)
RIDGE = 1e-4


def linear_filter(low: FloatImage, sharp: FloatImage) -> FloatImage:
    """The low-resolution image (h, w, 3) enlarged by a whole factor: bicubic and a filter for each new pixel's place.

    Filters are fitted to what bicubic lacks in luma, by least squares, and are the same for all channels.
    """
    scale = len(sharp) // len(low)
    seen = np.stack([_neighbourhoods(channel) for channel in np.moveaxis(low, -1, 0)])  # (3, h w, F)
    known = np.tensordot(LUMA, seen, 1)
    light = (np.indices(low.shape[:2]) // BLOCK).sum(0).ravel() % 2 == 1
    result = resize(low, sharp.shape[:2])
    lacking = (sharp - result) @ LUMA
    for row, column in np.ndindex(scale, scale):
        wanted = lacking[row::scale, column::scale].ravel()
        for part in (light, ~light):
            taps = _fitted(known[~part], wanted[~part])
            result[row::scale, column::scale][part.reshape(low.shape[:2])] += (seen[:, part] @ taps).T
    return result.clip(0, 1)


def _neighbourhoods(channel: FloatImage) -> Numbers:
    """The filter's input at each pixel (h, w): (h w, F), the last a constant."""
    side = 2 * REACH_PIXELS + 1
    around = np.lib.stride_tricks.sliding_window_view(np.pad(channel, REACH_PIXELS, mode="reflect"), (side, side))
    return np.pad(around.reshape(channel.size, -1).astype(np.float64), ((0, 0), (0, 1)), constant_values=1)


def _fitted(seen: Numbers, wanted: Numbers) -> Numbers:
    ridge = RIDGE * len(seen) * np.eye(seen.shape[1])
    return np.linalg.solve(seen.T @ seen + ridge, seen.T @ wanted)
