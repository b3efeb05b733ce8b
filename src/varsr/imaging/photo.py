"""A picture as people have it: pixels and all that belongs to them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from varsr.imaging.resize import Picture, resize


@dataclass(frozen=True)
class Metadata:
    """What travels with the pixels unchanged."""

    exif: bytes | None = None
    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None


@dataclass(frozen=True)
class Photo:
    """Colour (H, W, 3) and, where there is transparency, alpha (H, W, 1), both 0 to 1."""

    color: Picture
    alpha: Picture | None = None
    grey: bool = False
    format: str = "PNG"
    metadata: Metadata = Metadata()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.color.shape[0], self.color.shape[1]

    def with_color(self, color: Picture) -> Photo:
        """The same photo with other colour, its alpha resized to it."""
        alpha = self.alpha
        if alpha is not None:
            alpha = np.clip(resize(alpha, (color.shape[0], color.shape[1])), 0, 1)
        return replace(self, color=color, alpha=alpha)


def from_image(image: Image.Image, format: str = "PNG", metadata: Metadata = Metadata()) -> Photo:
    """A Pillow image of any mode as a photo."""
    grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Photo(_sixteen_bits(image), None, grey, format, metadata)
    transparent = image.has_transparency_data
    pixels: Picture = np.asarray(image.convert("RGBA" if transparent else "RGB"), dtype=np.float32) / np.float32(255)
    return Photo(pixels[..., :3], pixels[..., 3:] if transparent else None, grey, format, metadata)


def to_image(photo: Photo) -> Image.Image:
    """A photo as a Pillow image of eight bits: L, LA, RGB or RGBA."""
    color = photo.color.mean(-1, keepdims=True) if photo.grey else photo.color
    channels = color if photo.alpha is None else np.concatenate((color, photo.alpha), axis=-1)
    rounded = (channels.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(rounded[..., 0] if rounded.shape[-1] == 1 else rounded)


def _sixteen_bits(image: Image.Image) -> Picture:
    values = np.asarray(image, dtype=np.float32)[..., None]
    return np.repeat(np.clip(values / 65535, 0, 1), 3, axis=-1)
