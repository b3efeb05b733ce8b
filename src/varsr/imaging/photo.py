"""A picture as people have it: pixels and all that belongs to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from varsr.imaging.alpha import bleed
from varsr.imaging.profile import transform_of
from varsr.imaging.resize import Picture, enlarged_rows, resize
from varsr.imaging.rounding import rounded
from varsr.imaging.size import Size


@dataclass(frozen=True)
class Metadata:
    """What travels with the pixels unchanged."""

    exif: bytes | None = None
    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
    loop: int | None = None


NO_METADATA = Metadata()


@dataclass(frozen=True)
class Photo:
    """Colour (H, W, 3) in sRGB and, where there is transparency, alpha (H, W, 1), both 0 to 1.

    `own_color` is the colour of the input in the file's own profile where that is not sRGB. `deep` pictures have
    sixteen bits a channel. Of an animation or of a file of several pages this is the first picture, and the others
    are `following` it; `duration` is in milliseconds.
    """

    color: Picture
    alpha: Picture | None = None
    grey: bool = False
    deep: bool = False
    format: str = "PNG"
    metadata: Metadata = NO_METADATA
    own_color: Picture | None = None
    following: tuple[Photo, ...] = ()
    duration: int | None = None

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.color.shape[0], self.color.shape[1]

    @property
    def frames(self) -> tuple[Photo, ...]:
        """The picture itself and those that follow it."""
        return (self, *self.following)

    def restored(self, color: Picture) -> Photo:
        """The same photo enlarged: with other colour, given in sRGB, and all else resized to it."""
        size = color.shape[0], color.shape[1]
        alpha, own = (None if x is None else resize(x, size).clip(0, 1) for x in (self.alpha, self.own_color))
        return replace(self, color=color, alpha=alpha, own_color=own)

    def channels(self) -> Picture:
        """All channels as they go into a file: (H, W, C), C = 1 to 4, in the file's own colours."""
        return self._channels(self.color, self.alpha, self.own_color)

    def channel_bands(self, size: Size, bands: Iterable[Picture]) -> Iterator[Picture]:
        """The channels of this photo enlarged to `size`, whose colour in sRGB comes in bands of rows."""
        top = 0
        for band in bands:
            rows = top, top + len(band)
            alpha, own = (
                None if x is None else enlarged_rows(x, size, *rows).clip(0, 1) for x in (self.alpha, self.own_color)
            )
            yield self._channels(band, alpha, own)
            top += len(band)

    def _channels(self, color: Picture, alpha: Picture | None, own: Picture | None) -> Picture:
        transform = transform_of(self.metadata.icc_profile or b"") if own is not None else None
        if transform is not None and own is not None:
            color = transform.from_srgb(color, own)
        if self.grey:
            color = color.mean(-1, keepdims=True)
        return color if alpha is None else np.concatenate((color, alpha), axis=-1)


def from_channels(
    channels: Picture, format: str = "PNG", metadata: Metadata = NO_METADATA, deep: bool = False
) -> Photo:
    """Channels (H, W, C), C = 1 to 4, as a photo."""
    count = channels.shape[-1]
    alpha = channels[..., -1:] if count in (2, 4) else None
    own = np.repeat(channels[..., :1], 3, axis=-1) if count < 3 else channels[..., :3]
    if alpha is not None:
        own = bleed(own, alpha)
    transform = transform_of(metadata.icc_profile) if metadata.icc_profile and count >= 3 else None
    if transform is None:
        return Photo(own, alpha, count < 3, deep, format, metadata)
    return Photo(transform.to_srgb(own), alpha, False, deep, format, metadata, own)


def from_image(image: Image.Image, format: str = "PNG", metadata: Metadata = NO_METADATA) -> Photo:
    """A Pillow image of any mode as a photo."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, dtype=np.float32)[..., None] / np.float32(65_535)
        return from_channels(values.clip(0, 1), format, metadata, deep=True)
    grey = image.mode in ("1", "L", "LA", "La")
    mode = ("LA" if grey else "RGBA") if image.has_transparency_data else ("L" if grey else "RGB")
    pixels = np.array(image if image.mode == mode else image.convert(mode), dtype=np.float32)
    pixels /= 255  # in place and without a copy to convert: of a large picture each would be much
    return from_channels(pixels if pixels.ndim == 3 else pixels[..., None], format, metadata)


def to_image(photo: Photo) -> Image.Image:
    """A photo as a Pillow image of eight bits: L, LA, RGB or RGBA."""
    return image_of([photo.channels()])


def image_of(bands: Iterable[Picture]) -> Image.Image:
    """Bands of rows of all channels (rows, W, C) as a Pillow image of eight bits."""
    pixels = np.concatenate([rounded(band, np.dtype(np.uint8)) for band in bands])
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
