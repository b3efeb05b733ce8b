"""The type of images and of everything else that is laid out like one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
"""(H, W, C). Images have values 0 to 1; latents any."""
FloatImages = NDArray[np.float32]
"""(T, H, W, C)."""
