"""An image as people have it: pixels and all that belongs to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from varsr.images.alpha import bleed
from varsr.images.coding import Coding, coded
from varsr.images.metadata import NO_METADATA, Metadata
from varsr.images.profile import transform_of
from varsr.images.resize import enlarged_rows, resize
from varsr.images.size import Size
from varsr.tiling.array import FloatImage


@dataclass(frozen=True)
class Photo:
    """Colour (H, W, 3) in sRGB and, where there is transparency, alpha (H, W, 1), both 0 to 1.

    `own_color` is the colour of the input in the file's own profile where that is not sRGB. `sixteen_bit` images have
    more than eight bits a channel. Of an animation or of a file of several pages this is the first frame, and the
    others are `more_frames`; `duration` is in milliseconds. `notes` say what of the file could not be kept. With
    `ink` the file is CMYK.
    """

    color: FloatImage
    alpha: FloatImage | None = None
    grey: bool = False
    sixteen_bit: bool = False
    format: str = "PNG"
    metadata: Metadata = NO_METADATA
    own_color: FloatImage | None = None
    more_frames: tuple[Photo, ...] = ()
    duration: int | None = None
    notes: tuple[str, ...] = ()
    ink: bool = False

    @property
    def transparent(self) -> bool:
        """True where any pixel of any frame is transparent."""
        return any(frame.alpha is not None and frame.alpha.min() < 1 for frame in self.frames)

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.color.shape[0], self.color.shape[1]

    @property
    def frames(self) -> tuple[Photo, ...]:
        """The image itself and those that follow it."""
        return (self, *self.more_frames)

    @property
    def planes(self) -> int:
        """Channels in a file: grey, colour or CMYK, and transparency."""
        if self.metadata.ink_profile is not None:
            return 4
        return (1 if self.grey else 3) + (self.alpha is not None)

    def with_color(self, color: FloatImage) -> Photo:
        """The same photo enlarged: with other colour, given in sRGB, and all else resized to it."""
        size = color.shape[0], color.shape[1]
        alpha = None if self.alpha is None else resize(self.alpha, size).clip(0, 1)
        own = None if self.own_color is None else resize(self.own_color, size).clip(0, 1)
        return replace(self, color=color, alpha=alpha, own_color=own)

    def without_profile(self) -> Photo:
        """The same photo with its colours in sRGB."""
        frames = tuple(frame.without_profile() for frame in self.more_frames)
        return replace(self, own_color=None, metadata=replace(self.metadata, icc_profile=None), more_frames=frames)

    def without_ink(self) -> Photo:
        """The same photo, no longer to be written as CMYK."""
        frames = tuple(frame.without_ink() for frame in self.more_frames)
        return replace(self, metadata=replace(self.metadata, ink_profile=None), more_frames=frames)

    def without_alpha(self) -> Photo:
        """The same photo without its transparency, the colour as it is under it."""
        return replace(self, alpha=None, more_frames=tuple(frame.without_alpha() for frame in self.more_frames))

    def on(self, background: tuple[int, int, int]) -> Photo:
        """The same photo put on a background in sRGB, 0 to 255."""
        more_frames = tuple(frame.on(background) for frame in self.more_frames)
        if self.alpha is None:
            return replace(self, more_frames=more_frames)
        behind = np.array(background, np.float32) / np.float32(255)
        neutral = len(set(background)) == 1
        if self.grey and not neutral:  # it becomes one in colour, which a grey profile does not describe
            return replace(self, grey=False).without_profile().on(background)
        color = self.color * self.alpha + behind * (1 - self.alpha)
        transform = transform_of(self.metadata.icc_profile or b"")
        own = self.own_color
        if own is not None and transform is not None:
            own = own * self.alpha + transform.color_of(behind) * (1 - self.alpha)
        return replace(self, color=color, own_color=own, alpha=None, more_frames=more_frames)

    def channels(self) -> FloatImage:
        """All channels as they go into a file: (H, W, C), C = 1 to 4, in the file's own colours."""
        return self._channels(self.color, self.alpha, self.own_color)

    def channel_bands(self, size: Size, bands: Iterable[FloatImage]) -> Iterator[FloatImage]:
        """The channels of this photo enlarged to `size`, whose colour in sRGB comes in bands of rows."""
        top = 0
        for band in bands:
            rows = top, top + len(band)
            alpha = None if self.alpha is None else enlarged_rows(self.alpha, size, *rows).clip(0, 1)
            own = None if self.own_color is None else enlarged_rows(self.own_color, size, *rows).clip(0, 1)
            yield self._channels(band, alpha, own)
            top += len(band)

    def _channels(self, color: FloatImage, alpha: FloatImage | None, own: FloatImage | None) -> FloatImage:
        transform = transform_of(self.metadata.icc_profile or b"") if own is not None else None
        if transform is not None and own is not None:
            color = transform.from_srgb(color, own)
        if self.grey:
            color = color.mean(-1, keepdims=True)
        return color if alpha is None else np.concatenate((color, alpha), axis=-1)


def from_channels(
    channels: FloatImage,
    format: str = "PNG",
    metadata: Metadata = NO_METADATA,
    sixteen_bit: bool = False,
    coding: Coding | None = None,
) -> Photo:
    """Channels (H, W, C), C = 1 to 4, as a photo; `coding` describes their colours where the file has no profile."""
    if metadata.icc_profile is None and coding is not None:
        channels, metadata = coded(channels, metadata, coding)
    count = channels.shape[-1]
    alpha = channels[..., -1:] if count in (2, 4) else None
    own = np.repeat(channels[..., :1], 3, axis=-1) if count < 3 else channels[..., :3]
    if alpha is not None:
        own = bleed(own, alpha)
    transform = transform_of(metadata.icc_profile) if metadata.icc_profile else None
    if transform is None or (transform.grey and count >= 3):
        return Photo(own, alpha, count < 3, sixteen_bit, format, metadata)
    return Photo(transform.to_srgb(own), alpha, count < 3, sixteen_bit, format, metadata, own)
