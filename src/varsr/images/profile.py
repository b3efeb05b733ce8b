"""Colour profiles: the model sees sRGB, the file keeps its own colours."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Protocol

import numpy as np
from PIL import Image, ImageCms

from varsr.images.coding import decoded_srgb, encoded_srgb
from varsr.images.icc import MatrixProfile, read_matrix_profile
from varsr.tiling.array import FloatImage

_SRGB_TO_PCS = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]], np.float64
)
"""Linear sRGB to XYZ under D50, as sRGB profiles have it."""
STEPS = 52  # of the lattice on which a transform is sampled: every fifth of 256 values


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
    """From a profile that holds tables to sRGB and back, in float, by a lattice of the transforms of LittleCMS.

    LittleCMS is asked for eight bits at the lattice's corners only; between them values are interpolated, so that
    no image is rounded to eight bits on the way.
    """

    grey = False

    def __init__(self, own: ImageCms.ImageCmsProfile) -> None:
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        self._to = _lattice(own, srgb)
        self._back = _lattice(srgb, own)

    def to_srgb(self, color: FloatImage) -> FloatImage:
        return _interpolate(self._to, color)

    def from_srgb(self, color: FloatImage, upsampled: FloatImage) -> FloatImage:
        lost = upsampled - _interpolate(self._back, _interpolate(self._to, upsampled))
        return _interpolate(self._back, color.clip(0, 1)) + lost

    def color_of(self, srgb: FloatImage) -> FloatImage:
        return _interpolate(self._back, srgb.reshape(1, 1, 3))[0, 0]


class MatrixTransform:
    """Profiles of three primaries and their curves, computed without a lattice (ICC.1:2022, 8.3.3 and F.3)."""

    grey = False

    def __init__(self, own: MatrixProfile) -> None:
        self._own = own
        self._to = np.linalg.inv(_SRGB_TO_PCS) @ own.to_pcs
        self._back = np.linalg.inv(self._to)

    def to_srgb(self, color: FloatImage) -> FloatImage:
        linear = np.stack([curve.decoded(color[..., i]) for i, curve in enumerate(self._own.curves)], axis=-1)
        return encoded_srgb((linear @ self._to.T.astype(np.float32)).clip(0, 1))

    def from_srgb(self, color: FloatImage, upsampled: FloatImage) -> FloatImage:
        lost = upsampled - self.color_of(self.to_srgb(upsampled))
        return self.color_of(color.clip(0, 1)) + lost

    def color_of(self, srgb: FloatImage) -> FloatImage:
        linear = (decoded_srgb(srgb) @ self._back.T.astype(np.float32)).clip(0, 1)
        return np.stack([curve.encoded(linear[..., i]) for i, curve in enumerate(self._own.curves)], axis=-1)


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
        matrix = read_matrix_profile(profile)
        return RgbTransform(own) if matrix is None else MatrixTransform(matrix)
    except (ImageCms.PyCMSError, OSError, ValueError, np.linalg.LinAlgError):
        return None


def _lattice(source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile) -> FloatImage:
    """The target's colours at STEPS^3 colours of the source: (STEPS, STEPS, STEPS, 3)."""
    corners = np.arange(0, 256, 5, dtype=np.uint8)
    grid = np.stack(np.meshgrid(corners, corners, corners, indexing="ij"), -1).reshape(STEPS, -1, 3)
    transform = ImageCms.buildTransform(source, target, "RGB", "RGB")
    image = ImageCms.applyTransform(Image.fromarray(grid), transform)
    assert image is not None
    return (np.asarray(image, np.float32) / np.float32(255)).reshape(STEPS, STEPS, STEPS, 3)


def _interpolate(lattice: FloatImage, color: FloatImage) -> FloatImage:
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
