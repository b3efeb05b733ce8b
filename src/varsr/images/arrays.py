"""NumPy arrays as photos, and photos as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from varsr.errors import RequestError
from varsr.images.photo import Photo, from_channels


def from_array(pixels: NDArray[Any]) -> Photo:
    """An array (H, W), (H, W, 3) or (H, W, 4) of uint8, uint16 or floats in [0, 1] as a photo in sRGB.

    A fourth channel is transparency. Raises `RequestError` for any other shape, type or value.
    """
    _check(pixels)
    values = pixels.astype(np.float32)
    if pixels.dtype.kind == "u":
        values /= np.iinfo(pixels.dtype).max
    return from_channels(values if values.ndim == 3 else values[..., None], sixteen_bit=pixels.dtype.itemsize > 1)


def _check(pixels: NDArray[Any]) -> None:
    shaped = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if not shaped or 0 in pixels.shape:
        raise RequestError(
            f"An array of shape {pixels.shape} is not an image.", "Use (H, W), (H, W, 3) or (H, W, 4), not empty."
        )
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f":
        raise RequestError(f"An array of {pixels.dtype} is not an image.", "Use uint8, uint16 or floats from 0 to 1.")
    if pixels.dtype.kind == "f" and not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
        raise RequestError("The array has values outside 0 to 1.", "Divide by the value of white, and clip.")


def to_array(photo: Photo, like: NDArray[Any]) -> NDArray[Any]:
    """A photo in sRGB as an array of the type and the number of channels of `like`."""
    values = photo.channels().clip(0, 1)
    if like.ndim == 2:
        values = values[..., 0]
    if like.dtype.kind == "f":
        return values.astype(like.dtype)
    return (values * np.iinfo(like.dtype).max + 0.5).astype(like.dtype)
