"""Writing picture files, whole or not at all."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from varsr.errors import OutputError, RequestError
from varsr.files import reason, replacing
from varsr.imaging import stream
from varsr.imaging.deep import write_deep
from varsr.imaging.formats import BY_SUFFIX, Format
from varsr.imaging.photo import Photo, image_of, to_image
from varsr.imaging.resize import Picture
from varsr.imaging.rounding import rounded
from varsr.imaging.size import Size
from varsr.imaging.tiff import Page, write_pages


@dataclass(frozen=True)
class Encoding:
    """How results are encoded, where the format leaves a choice. `format` serves names without a suffix."""

    quality: int = 95
    lossless: bool = False
    format: Format | None = None

    def of(self, path: Path) -> Format:
        """The format of a file. Raises `RequestError` where its suffix names none that can be written, or another."""
        named = BY_SUFFIX.get(path.suffix.lower())
        if self.format is not None and named not in (None, self.format):
            raise RequestError(f"{path} is no name for {self.format.name}.", "Let --format and the suffix agree.")
        found = self.format or named
        if found is None:
            raise RequestError(
                f"{path} names no format that can be written.", f"Use one of {', '.join(BY_SUFFIX)}, or --format."
            )
        return found


DEFAULT = Encoding()


def check_target(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` now where writing `path` is bound to fail later."""
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


def create_folder(path: Path) -> None:
    """Make a folder and those above it. Raises `OutputError` where that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {path} cannot be made ({reason(error)}).", "Choose another with -d.") from error


def check_fits(path: Path, size: Size, photo: Photo, encoding: Encoding = DEFAULT) -> None:
    """Raise `RequestError` where the format of `path` cannot hold `photo` at such a size, or not as asked."""
    format, transparent = encoding.of(path), photo.alpha is not None
    if photo.following and not format.several:
        raise RequestError(
            f"{path}: {format.name} holds one picture, and the input has {1 + len(photo.following)}.",
            "Write GIF, WebP, PNG, TIFF or AVIF.",
        )
    if transparent and not format.transparency:
        raise RequestError(
            f"{path}: {format.name} cannot hold the transparency of the input.", "Write PNG, WebP, TIFF or AVIF."
        )
    if max(size) > format.longest:
        raise RequestError(
            f"{path}: {format.name} holds at most {format.longest} pixels a side, not {max(size)}.",
            "Write PNG or TIFF.",
        )
    if encoding.lossless and format.lossless is None:
        raise RequestError(f"{path}: {format.name} cannot be lossless.", "Write PNG, WebP, TIFF or AVIF.")


def write_photo(photo: Photo, path: Path, encoding: Encoding = DEFAULT) -> None:
    """Write a photo with its metadata. Raises `OutputError` where that fails."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(_encoded(photo, encoding.of(path), encoding))
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path} could not be written ({reason(error)}).", "Free some space or choose another place.")


def write_bands(photo: Photo, size: Size, bands: Iterable[Picture], path: Path, encoding: Encoding) -> None:
    """Write `photo` enlarged to `size`, its colour coming in bands: row by row as PNG and TIFF.

    Of a result in another format the pixels, but nothing else of it, are held whole. Raises `OutputError`.
    """
    format = encoding.of(path)
    try:
        with replacing(path) as temporary:
            if format.name in stream.FORMATS:
                stream.write_rows(photo, size, bands, temporary, format.name)
            else:
                image = image_of(photo.channel_bands(size, bands))
                temporary.write_bytes(_encoded_image(image, photo, format, encoding))
    except OSError as error:
        raise _unwritable(path, error) from error


def encode(photo: Photo, encoding: Encoding) -> bytes:
    """A photo as the bytes of a file of the format that `encoding` names."""
    assert encoding.format is not None
    return _encoded(photo, encoding.format, encoding)


def _encoded(photo: Photo, format: Format, encoding: Encoding) -> bytes:
    """In memory first: what goes wrong while writing is then told by the system, not by a codec in its own terms."""
    buffer = io.BytesIO()
    if photo.deep and format.deep and not photo.following:
        write_deep(photo.channels(), buffer, format.name, vars(photo.metadata))
        return buffer.getvalue()
    if format.name == "TIFF":
        write_pages(buffer, [_page(frame) for frame in photo.frames])
        return buffer.getvalue()
    return _encoded_image(to_image(photo), photo, format, encoding)


def _page(photo: Photo) -> Page:
    pixels = rounded(photo.channels(), np.dtype(np.uint16 if photo.deep else np.uint8))
    height, width, planes = pixels.shape
    return Page([pixels], (height, width, planes), pixels.dtype, vars(photo.metadata))


def _encoded_image(image: Image.Image, photo: Photo, format: Format, encoding: Encoding) -> bytes:
    options = format.options | ({"quality": encoding.quality} if format.has_quality else {})
    if encoding.lossless and format.lossless is not None:
        options |= format.lossless
    if image.mode == "L":
        options.pop("subsampling", None)
    metadata = {name: value for name, value in _metadata(photo, format.block).items() if name in format.metadata}
    buffer = io.BytesIO()
    try:
        image.save(buffer, format.name, **options, **metadata, **_sequence(photo))
    except MemoryError:
        raise
    except Exception as error:  # encoders raise whatever odd metadata leads them to; it is about this picture alone
        raise OutputError(
            f"The picture could not be encoded as {format.name} ({reason(error)}).", "Try another --format."
        ) from error
    return buffer.getvalue()


def _sequence(photo: Photo) -> dict[str, Any]:
    """What Pillow is told of the pictures that follow the first."""
    if not photo.following:
        return {}
    options: dict[str, Any] = {"save_all": True, "append_images": [to_image(frame) for frame in photo.following]}
    durations = [frame.duration for frame in (photo, *photo.following)]
    if None not in durations:
        options |= {"duration": durations, "loop": photo.metadata.loop or 0, "disposal": 2, "blend": 0}
    return options


def _metadata(photo: Photo, block: int) -> dict[str, Any]:
    """What Pillow is told, EXIF and XMP of more bytes than `block` left out."""
    kept = photo.metadata
    exif, xmp = (None if data is None or len(data) > block else data for data in (kept.exif, kept.xmp))
    found: dict[str, Any] = {"exif": exif, "icc_profile": kept.icc_profile, "dpi": kept.dpi, "xmp": xmp}
    if xmp is not None:  # PNG keeps it as a text of this name
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
        found["pnginfo"] = text
    return {name: value for name, value in found.items() if value is not None}
