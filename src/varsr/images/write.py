"""Writing image files, whole or not at all."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from varsr.errors import OutputError, describe
from varsr.images import rows
from varsr.images.codecs import heif, jpegxl, png
from varsr.images.codecs.tiff import Page, write_pages
from varsr.images.encoding import DEFAULT, Encoding
from varsr.images.exif import shortened
from varsr.images.formats import Format
from varsr.images.mark import marked
from varsr.images.photo import Photo
from varsr.images.pillow import to_image
from varsr.images.rounding import Pixels
from varsr.images.size import Size
from varsr.storage.local import replacing
from varsr.tiling.array import FloatImage

_LONGEST_COMMENT = 65_000


def write_photo(photo: Photo, path: Path, encoding: Encoding = DEFAULT) -> None:
    """Write a photo with its metadata. Raises `OutputError` where that fails."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(_encoded(photo, encoding.of(path), encoding))
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path} could not be written ({describe(error)}).", "Free some space or choose another place.")


def write_bands(photo: Photo, size: Size, bands: Iterable[FloatImage], path: Path, encoding: Encoding) -> None:
    """Write `photo` enlarged to `size`, its colour coming in bands: row by row as PNG and TIFF.

    Of a result in another format the pixels, but nothing else of it, are held whole. Raises `OutputError`.
    """
    format = encoding.of(path)
    photo = prepared(photo, encoding, format)
    try:
        with replacing(path) as temporary:
            if format.name in rows.FORMATS:
                with temporary.open("w+b") as file:
                    rows.write_channels(photo, size, photo.channel_bands(size, bands), file, format.name, encoding)
            else:
                pixels = np.concatenate([rows.stored(band, photo) for band in photo.channel_bands(size, bands)])
                temporary.write_bytes(_encoded_pixels(pixels, photo, format, encoding))
    except OSError as error:
        raise _unwritable(path, error) from error


def encode(photo: Photo, encoding: Encoding) -> bytes:
    """A photo as the bytes of a file of the format that `encoding` names."""
    assert encoding.format is not None
    return _encoded(photo, encoding.format, encoding)


def prepared(photo: Photo, encoding: Encoding, format: Format) -> Photo:
    """A photo as a format can hold it: its colours, its transparency, and the mark of varsr in its EXIF."""
    if not format.profile:
        photo = photo.without_profile()
    if not encoding.keeps_ink(photo, format):
        photo = photo.without_ink()
    if photo.alpha is not None and not format.transparency:
        photo = photo.without_alpha()
    first, *others = [_fitted(frame, format) for frame in photo.frames]
    metadata = replace(photo.metadata, exif=marked(photo.metadata.exif, encoding.made_with))
    return replace(first, metadata=metadata, more_frames=tuple(others))


def _fitted(frame: Photo, format: Format) -> Photo:
    """A frame with the depth of a format; in a GIF a pixel is transparent or not, at half."""
    if frame.alpha is not None and format.name == "GIF":
        frame = replace(frame, alpha=(frame.alpha >= 0.5).astype(np.float32))
    return replace(frame, sixteen_bit=frame.sixteen_bit and format.sixteen_bit)


def _encoded(photo: Photo, format: Format, encoding: Encoding) -> bytes:
    """Encode in memory first, so that errors of writing are the system's and not a codec's."""
    photo, buffer = prepared(photo, encoding, format), io.BytesIO()
    if photo.sixteen_bit and format.name in rows.FORMATS and not photo.more_frames:
        rows.write_channels(photo, photo.size, [photo.channels()], buffer, format.name, encoding)
        return buffer.getvalue()
    if format.name == "TIFF":
        write_pages(buffer, [_page(frame) for frame in photo.frames], encoding.tiff_compression)
        return buffer.getvalue()
    return _encoded_pixels(rows.stored(photo.channels(), photo), photo, format, encoding)


def _encoded_pixels(pixels: Pixels, photo: Photo, format: Format, encoding: Encoding) -> bytes:
    """Encode pixels (H, W, C), which are those of `photo`, by the codec of a format."""
    codec = _CODECS.get(format.name)
    with _naming_failures(format):
        if codec is not None:
            return codec(pixels, photo.metadata, encoding.quality, encoding.lossless)
        return _encoded_image(_image_of(pixels, photo), photo, format, encoding)


_CODECS = {"HEIF": heif.write_heif, "JXL": jpegxl.encode}


@contextmanager
def _naming_failures(format: Format) -> Iterator[None]:
    """Raise `OutputError` for whatever odd metadata leads an encoder to raise; it is about this image alone."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise OutputError(
            f"The image could not be encoded as {format.name} ({describe(error)}).", "Try another `format`."
        ) from error


def _image_of(pixels: Pixels, photo: Photo) -> Image.Image:
    if photo.metadata.ink_profile is not None:
        return Image.frombytes("CMYK", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _page(photo: Photo) -> Page:
    pixels = rows.stored(photo.channels(), photo)
    height, width, planes = pixels.shape
    return Page([pixels], (height, width, planes), pixels.dtype, photo.metadata)


def _encoded_image(image: Image.Image, photo: Photo, format: Format, encoding: Encoding) -> bytes:
    options = format.options | ({"quality": encoding.quality} if format.has_quality else {})
    if encoding.lossless and format.lossless is not None:
        options |= format.lossless
    if image.mode == "L":
        options.pop("subsampling", None)
    metadata = {
        name: value
        for name, value in _metadata(photo, format.block, encoding.made_with).items()
        if name in format.metadata
    }
    if format.name == "BMP":
        metadata.setdefault("dpi", (0, 0))  # Pillow says 96
    if format.name == "PNG":
        options["compress_level"] = encoding.png_level
    buffer = io.BytesIO()
    image.save(buffer, format.name, **options, **metadata, **_sequence(photo, format))
    if format.name == "PNG":
        return png.with_chunks(buffer.getvalue(), png.metadata_chunks(photo.metadata))
    return buffer.getvalue()


def _sequence(photo: Photo, format: Format) -> dict[str, Any]:
    """Options for Pillow to write an animation or pages: frames, durations and the number of plays."""
    if not photo.more_frames:
        return {}
    options: dict[str, Any] = {
        "save_all": True,
        "append_images": [to_image(frame) for frame in photo.more_frames],
    }
    durations = [frame.duration for frame in photo.frames]
    if any(duration is not None for duration in durations):
        options["duration"] = [duration or 0 for duration in durations]
    plays = photo.metadata.plays
    if format.name == "GIF":
        options["disposal"] = 2  # each image is drawn on nothing
        if plays != 1:
            options["loop"] = max(0, (plays or 0) - 1)
    elif plays is not None:
        options["loop"] = plays
    if format.name == "PNG":
        options |= {"disposal": 0, "blend": 0}  # each image replaces the one before
    return options


def _metadata(photo: Photo, block: int, made_with: str) -> dict[str, Any]:
    """Options for Pillow to write metadata; EXIF and XMP longer than `block` are shortened or left out."""
    kept = photo.metadata
    exif = shortened(kept.exif, block) if kept.exif else None
    xmp = kept.xmp if kept.xmp and len(kept.xmp) <= block else None
    texts = dict(kept.texts)
    comment = kept.comment or (texts["Comment"].encode() if "Comment" in texts else None)
    found: dict[str, Any] = {
        "exif": exif or marked(None, made_with),
        "icc_profile": kept.ink_profile or kept.icc_profile,
        "dpi": kept.dpi,
        "xmp": xmp,
        "comment": comment[:_LONGEST_COMMENT] if comment else None,
        "extra": _iptc_segment(kept.iptc) if kept.iptc and len(kept.iptc) < block else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _iptc_segment(iptc: bytes) -> bytes:
    """An APP13 segment of a JPEG that holds IPTC as Photoshop does."""
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    content = b"Photoshop 3.0\0" + resource
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
