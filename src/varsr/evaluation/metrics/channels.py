"""The channels on which PSNR and SSIM are measured.

`y` is the Y of BT.601 from 16 to 235, as MATLAB's rgb2ycbcr and most papers have it; `y-full` the Y of full range;
`rgb` the three channels. A table is of use only if it says which.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from varsr.choices import ChannelsName
from varsr.tiling.array import FloatImage

_WEIGHTS = {
    "y": ((65.481, 128.553, 24.966),),
    "y-full": ((76.245, 149.685, 29.07),),
    "rgb": ((255.0, 0.0, 0.0), (0.0, 255.0, 0.0), (0.0, 0.0, 255.0)),
}
_OFFSET = {"y": 16.0, "y-full": 0.0, "rgb": 0.0}


def channels_of(image: FloatImage, channels: ChannelsName) -> Tensor:
    """An image (H, W, 3) in [0, 1] -> (C, H, W) in 255ths, float64."""
    pixels = torch.from_numpy(np.asarray(image, np.float64))
    weights = torch.tensor(_WEIGHTS[channels], dtype=torch.float64)
    return torch.einsum("hwi,ci->chw", pixels, weights) + _OFFSET[channels]
