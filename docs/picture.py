"""The README's picture: a photograph that no training saw, enlarged by bicubic and by the built-in model.

python docs/picture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from varsr import Upscaler

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Write docs/picture.png."""
    with Image.open(ROOT / "tests" / "data" / "dandelion.jpg") as photo:
        low = photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.BICUBIC).crop((8, 8, 104, 104))
    size = low.width * 4, low.height * 4
    before = low.resize(size, Image.Resampling.BICUBIC)
    after = Upscaler.from_pretrained("mini", device="cpu").upscale(low, 4)
    Image.fromarray(np.hstack([np.asarray(before), np.asarray(after)])).save(ROOT / "docs" / "picture.png")


if __name__ == "__main__":
    main()
