"""Colour profiles: the model sees sRGB, the file keeps its own colours. LittleCMS converts, in float."""

from __future__ import annotations

import io
from functools import cache, lru_cache
from typing import Literal, Protocol

import imagecodecs
import numpy as np
from PIL import Image, ImageCms

from varsr.images.rounding import Pixels
from varsr.tiling.array import FloatImage

Space = Literal["rgb", "cmyk"]


class Transform(Protocol):
    """The way from a profile's colours to sRGB and back. `grey` profiles are for grey images alone."""

    grey: bool

    def to_srgb(self, color: FloatImage) -> FloatImage:
        """(H, W, 3) in the profile's colours -> sRGB. What sRGB cannot hold is clipped."""

    def from_srgb(self, color: FloatImage, upsampled: FloatImage) -> FloatImage:
        """A result (H, W, 3) in sRGB -> the profile's colours.

        `upsampled` is the input in its own colours at the same size. What it loses on its way to sRGB is added
        again, so that colours outside sRGB stay outside.
        """

    def color_of(self, srgb: FloatImage) -> FloatImage:
        """One colour (3) in sRGB -> the profile's."""


class RgbTransform:
    """From a profile of red, green and blue to sRGB and back."""

    grey = False

    def __init__(self, own: bytes) -> None:
        self._own = own
        self.color_of(self.to_srgb(np.zeros((1, 1, 3), np.float32))[0, 0])  # raises now what would be raised later

    def to_srgb(self, color: FloatImage) -> FloatImage:
        return _converted(color, self._own, srgb_profile())

    def from_srgb(self, color: FloatImage, upsampled: FloatImage) -> FloatImage:
        lost = upsampled - self._from_srgb(self.to_srgb(upsampled))
        return self._from_srgb(color) + lost

    def color_of(self, srgb: FloatImage) -> FloatImage:
        return self._from_srgb(srgb.reshape(1, 1, 3))[0, 0]

    def _from_srgb(self, color: FloatImage) -> FloatImage:
        return _converted(color, srgb_profile(), self._own)


class GreyTransform:
    """From the tones of a grey profile to those of sRGB and back."""

    grey = True

    def __init__(self, own: ImageCms.ImageCmsProfile) -> None:
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        shown = ImageCms.applyTransform(ramp, ImageCms.buildTransform(own, srgb, "L", "RGB"))
        assert shown is not None
        tones = np.asarray(shown, np.float32)[0].mean(-1) / np.float32(255)
        self._shown = np.maximum.accumulate(tones)
        self._own = np.linspace(0, 1, 256, dtype=np.float32)

    def to_srgb(self, color: FloatImage) -> FloatImage:
        return np.interp(color, self._own, self._shown).astype(np.float32)

    def from_srgb(self, color: FloatImage, upsampled: FloatImage) -> FloatImage:
        lost = upsampled - self.color_of(self.to_srgb(upsampled))
        return self.color_of(color.clip(0, 1)) + lost

    def color_of(self, srgb: FloatImage) -> FloatImage:
        return np.interp(srgb, self._shown, self._own).astype(np.float32)


@lru_cache(maxsize=8)
def transform_of(profile: bytes) -> Transform | None:
    """The transform of a profile; None for sRGB itself, for other spaces and for profiles that are damaged."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = own.profile.xcolor_space.strip()
        if space == "GRAY":
            return GreyTransform(own)
        if space != "RGB" or "sRGB" in ImageCms.getProfileDescription(own):
            return None
        return RgbTransform(profile)
    except (ImageCms.PyCMSError, imagecodecs.CmsError, OSError, ValueError):
        return None


@cache
def srgb_profile() -> bytes:
    """An ICC profile of sRGB."""
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def ink_to_srgb(ink: Pixels, profile: bytes) -> FloatImage:
    """CMYK of 8 bits, (H, W, 4) -> sRGB (H, W, 3) in [0, 1]. Raises `ValueError` for a profile of another space."""
    return _cms(ink, profile, srgb_profile(), "cmyk", "rgb", "f4").clip(0, 1)


def srgb_to_ink(color: FloatImage, profile: bytes) -> Pixels:
    """SRGB (H, W, 3) in [0, 1] -> CMYK of 8 bits, (H, W, 4). Raises `ValueError` for a profile of another space."""
    whole = (color.clip(0, 1) * np.float32(65_535) + np.float32(0.5)).astype(np.uint16)
    return _cms(whole, srgb_profile(), profile, "rgb", "cmyk", "u1")


def _converted(color: FloatImage, source: bytes, target: bytes) -> FloatImage:
    return _cms(color.clip(0, 1).astype(np.float32, copy=False), source, target, "rgb", "rgb", "f4").clip(0, 1)


def _cms(pixels: Pixels, source: bytes, target: bytes, space: Space, target_space: Space, dtype: str) -> Pixels:
    try:
        converted: Pixels = imagecodecs.cms_transform(
            np.ascontiguousarray(pixels), source, target, colorspace=space, outcolorspace=target_space, outdtype=dtype
        )
    except imagecodecs.CmsError as error:
        raise ValueError(str(error)) from error
    return converted
