"""Pillow images as photos, and photos as Pillow images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageCms

from varsr.errors import InputError, RequestError, describe
from varsr.images.coding import Coding
from varsr.images.describe import metadata_of
from varsr.images.exif import ORIENTATION, descriptive
from varsr.images.metadata import NO_METADATA, Metadata
from varsr.images.orientation import upright
from varsr.images.photo import Photo, from_channels
from varsr.images.profile import ink_to_srgb
from varsr.images.rounding import rounded
from varsr.tiling.array import FloatImage


def from_pillow(image: Image.Image) -> Photo:
    """Take over an opened or computed image: upright, with its profile and metadata. Its file stays open.

    Raises `InputError` where its content cannot be decoded, `RequestError` for values that are not numbers.
    """
    try:
        copy = image.copy()
        orientation = load(copy)
        raw = image.info.get("exif")
        metadata = metadata_of(copy, descriptive(raw if isinstance(raw, bytes) else copy.getexif().tobytes()))
        return from_loaded(copy, "PNG", metadata, orientation, None)
    except (OSError, SyntaxError) as error:
        raise InputError(f"The image could not be decoded ({describe(error)}).", "Is its file whole?") from error


def load(image: Image.Image) -> int:
    """Decode an image and return its orientation as the file has it: Pillow turns a TIFF meanwhile and forgets it."""
    orientation: int = image.getexif().get(ORIENTATION, 1)
    image.load()
    return orientation


def from_loaded(image: Image.Image, format: str, metadata: Metadata, orientation: int, coding: Coding | None) -> Photo:
    """A decoded image of a file of `format` as a photo, turned upright; CMYK becomes sRGB."""
    if format != "TIFF":  # which Pillow has turned
        image = upright(image, orientation)
    if image.mode == "CMYK":
        return _from_ink(image, format, metadata)
    return from_image(image, format, metadata, coding)


def _from_ink(image: Image.Image, format: str, metadata: Metadata) -> Photo:
    """A CMYK image in sRGB, by its profile where it has one."""
    profile = metadata.icc_profile
    try:
        color = ink_to_srgb(np.asarray(image), profile) if profile else None
    except ValueError:  # the profile is damaged, or of another space
        color = profile = None
    metadata = replace(metadata, icc_profile=None, ink_profile=profile)
    if color is None:
        return replace(from_image(image.convert("RGB"), format, metadata), ink=True)
    return replace(from_channels(color, format, metadata), ink=True)


def from_image(
    image: Image.Image, format: str = "PNG", metadata: Metadata = NO_METADATA, coding: Coding | None = None
) -> Photo:
    """A Pillow image of any mode as a photo.

    Modes I and F hold 0 to 255 or, where a value is larger, 0 to 65,535; F also 0 to 1, where none is larger. Raises
    `RequestError` for values that are no numbers.
    """
    if is_wide(image.mode):
        values = _wide_values(image)
        return from_channels(values, format, metadata, sixteen_bit=True, coding=coding)
    if image.mode == "LAB":
        image = _from_lab(image)
    grey = image.mode in ("1", "L", "LA", "La")
    mode = ("LA" if grey else "RGBA") if image.has_transparency_data else ("L" if grey else "RGB")
    pixels = np.array(image if image.mode == mode else image.convert(mode), dtype=np.float32)
    pixels /= 255  # in place and without a copy to convert: of a large image each would be much
    return from_channels(pixels if pixels.ndim == 3 else pixels[..., None], format, metadata, coding=coding)


def _wide_values(image: Image.Image) -> FloatImage:
    values = np.asarray(image, dtype=np.float32)[..., None]
    if not np.isfinite(values).all():
        raise RequestError("The image holds values that are not numbers.", "Replace NaN and infinity before.")
    return (values / np.float32(_white(image))).clip(0, 1)


def is_wide(mode: str) -> bool:
    """True for the modes whose single channel has more than 8 bits."""
    return mode in ("I", "F") or mode.startswith("I;16")


def _white(image: Image.Image) -> float:
    """The value of white in a wide image, judged by its largest one."""
    if image.mode.startswith("I;16"):
        return 65_535.0
    largest = float(np.asarray(image).max(initial=0))
    if image.mode == "F" and largest <= 1:
        return 1.0
    return 65_535.0 if largest > 255 else 255.0


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    assert converted is not None
    return converted


def to_pillow(photo: Photo, like: Image.Image | None = None) -> Image.Image:
    """A photo as an image of 8 bits, L, LA, RGB or RGBA, whose `save` writes the photo's metadata.

    It is of the mode of `like` where that has a single channel of more than 8 bits.
    """
    if like is not None and is_wide(like.mode) and photo.grey:
        return with_metadata(
            _wide_image(photo.channels()[..., 0].clip(0, 1) * np.float32(_white(like)), like.mode), photo.metadata
        )
    return with_metadata(to_image(photo), photo.metadata)


def _wide_image(values: FloatImage, mode: str) -> Image.Image:
    if mode == "F":
        return Image.fromarray(values.astype(np.float32))
    return Image.fromarray((values + 0.5).astype(np.int32 if mode == "I" else np.uint16))


def to_image(photo: Photo) -> Image.Image:
    """A photo as a Pillow image of eight bits: L, LA, RGB or RGBA."""
    return image_of([photo.channels()])


def with_metadata(image: Image.Image, metadata: Metadata) -> Image.Image:
    """An image whose `save` writes the metadata, as Pillow's own for images that it opened does not."""
    kept = {"exif": metadata.exif, "icc_profile": metadata.icc_profile, "dpi": metadata.dpi, "xmp": metadata.xmp}
    found = {name: value for name, value in kept.items() if value is not None}
    image.info.update(found)
    image.encoderinfo = found
    return image


def image_of(bands: Iterable[FloatImage]) -> Image.Image:
    """Bands of rows of all channels (rows, W, C) as a Pillow image of eight bits."""
    pixels = np.concatenate([rounded(band, np.dtype(np.uint8)) for band in bands])
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
