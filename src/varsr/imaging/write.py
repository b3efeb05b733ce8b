"""Writing picture files, whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from varsr.errors import OutputError, RequestError
from varsr.files import reason, replacing
from varsr.imaging.photo import Photo, to_image

SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "PNG": {},
    "WEBP": {"quality": 95, "method": 4},
    "TIFF": {"compression": "tiff_deflate"},
}
_LONGEST = {"JPEG": 65_535, "WEBP": 16_383}


def format_of(path: Path) -> str:
    """The format that a file's suffix asks for. Raises `RequestError` where it asks for none."""
    format = SUFFIXES.get(path.suffix.lower())
    if format is None:
        raise RequestError(f"{path} names no format that can be written.", f"Use one of {', '.join(SUFFIXES)}.")
    return format


def check_target(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` or `RequestError` now where writing `path` is bound to fail later."""
    format_of(path)
    if not path.parent.is_dir():
        raise OutputError(f"There is no folder {path.parent}.", "Create it first.")
    if path.is_dir():
        raise OutputError(f"{path} is a folder.", "Name a file.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already.", "Use --overwrite to replace it, or -o to write elsewhere.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            return
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({reason(error)}).", "Choose another place with -o.") from error


def check_fits(path: Path, size: tuple[int, int], transparent: bool) -> None:
    """Raise `RequestError` where the format of `path` cannot hold such a picture."""
    format = format_of(path)
    if transparent and format == "JPEG":
        raise RequestError(f"{path}: JPEG cannot hold the transparency of the input.", "Write PNG, WebP or TIFF.")
    if max(size) > _LONGEST.get(format, max(size)):
        raise RequestError(
            f"{path}: {format} holds at most {_LONGEST[format]} pixels a side, not {max(size)}.", "Write PNG or TIFF."
        )


def write_photo(photo: Photo, path: Path) -> None:
    """Write a photo with its metadata in the format of the suffix. Raises `OutputError` where that fails."""
    format = format_of(path)
    image = to_image(photo)
    options = _OPTIONS[format] | {
        name: value
        for name, value in (
            ("exif", photo.metadata.exif),
            ("icc_profile", photo.metadata.icc_profile),
            ("dpi", photo.metadata.dpi),
        )
        if value is not None
    }
    try:
        with replacing(path) as temporary:
            _save(image, temporary, format, options)
    except OSError as error:
        raise OutputError(
            f"{path} could not be written ({reason(error)}).", "Free some space or choose another place."
        ) from error


def _save(image: Image.Image, path: Path, format: str, options: dict[str, Any]) -> None:
    if format == "JPEG" and image.mode == "L":
        options = {name: value for name, value in options.items() if name != "subsampling"}
    image.save(path, format, **options)
