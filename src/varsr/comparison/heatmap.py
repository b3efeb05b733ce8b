"""The difference between two images as a heat map."""

from __future__ import annotations

import numpy as np

from varsr.images.resize import resize
from varsr.tiling.array import FloatImage

FULL = 0.25
"""Mean difference of the channels that is shown brightest."""
_COLORS = np.array(
    [
        (0.0, 0.0, 0.02),
        (0.25, 0.04, 0.42),
        (0.58, 0.15, 0.40),
        (0.87, 0.32, 0.23),
        (0.99, 0.65, 0.04),
        (0.99, 1.0, 0.64),
    ]
)
"""From equal to `FULL`: dark to bright, so that it is read without colour vision too."""


def heatmap(image: FloatImage, base: FloatImage) -> FloatImage:
    """Where two images (H, W, 3) in [0, 1] differ: (H, W, 3). `base` is enlarged to the size of `image`."""
    base = resize(base, (image.shape[0], image.shape[1]))
    amount = np.sqrt(np.abs(image - base).mean(2) / FULL).clip(0, 1)
    ticks = np.linspace(0, 1, len(_COLORS))
    channels = [np.interp(amount, ticks, _COLORS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=2).astype(np.float32)
