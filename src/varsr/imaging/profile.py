"""Colour profiles: the model sees sRGB, the file keeps its own colours."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from varsr.imaging.resize import Picture

STEPS = 52  # of the lattice on which a transform is sampled: every fifth of 256 values


class ProfileTransform:
    """From a profile's RGB to sRGB and back, in float, by a lattice of the transforms of LittleCMS.

    LittleCMS is asked for eight bits at the lattice's corners only; between them values are interpolated, so that
    no picture is rounded to eight bits on the way.
    """

    def __init__(self, profile: bytes) -> None:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        self._to = _lattice(own, srgb)
        self._back = _lattice(srgb, own)

    def to_srgb(self, color: Picture) -> Picture:
        """(H, W, 3) in the profile's colours -> sRGB. What sRGB cannot hold is clipped."""
        return _interpolate(self._to, color)

    def from_srgb(self, color: Picture, upsampled: Picture) -> Picture:
        """A result (H, W, 3) in sRGB -> the profile's colours.

        `upsampled` is the input in its own colours at the same size. What it loses on its way to sRGB is added
        again, so that colours outside sRGB stay outside.
        """
        lost = upsampled - _interpolate(self._back, _interpolate(self._to, upsampled))
        return _interpolate(self._back, color.clip(0, 1)) + lost


@lru_cache(maxsize=8)
def transform_of(profile: bytes) -> ProfileTransform | None:
    """The transform of an RGB profile; None for sRGB itself, for other spaces and for profiles that are damaged."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if own.profile.xcolor_space.strip() != "RGB" or "sRGB" in ImageCms.getProfileDescription(own):
            return None
        return ProfileTransform(profile)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _lattice(source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile) -> Picture:
    """The target's colours at STEPS^3 colours of the source: (STEPS, STEPS, STEPS, 3)."""
    corners = np.arange(0, 256, 5, dtype=np.uint8)
    grid = np.stack(np.meshgrid(corners, corners, corners, indexing="ij"), -1).reshape(STEPS, -1, 3)
    transform = ImageCms.buildTransform(source, target, "RGB", "RGB")
    image = ImageCms.applyTransform(Image.fromarray(grid), transform)
    assert image is not None
    return (np.asarray(image, np.float32) / np.float32(255)).reshape(STEPS, STEPS, STEPS, 3)


def _interpolate(lattice: Picture, color: Picture) -> Picture:
    """Trilinear interpolation of a lattice at colours (H, W, 3) in [0, 1]."""
    place = color.clip(0, 1) * (STEPS - 1)
    low = np.minimum(place.astype(np.intp), STEPS - 2)
    part = (place - low).astype(np.float32)
    out = np.zeros_like(color)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=-1, keepdims=True)
        r, g, b = (low[..., axis] + corner[axis] for axis in range(3))
        out += weight * lattice[r, g, b]
    return out
