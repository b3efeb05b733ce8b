"""Writing image files, whole or not at all."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from varsr.errors import OutputError, RequestError, describe
from varsr.images import rows
from varsr.images.codecs import png
from varsr.images.codecs.tiff import Page, write_pages
from varsr.images.coding import HDR
from varsr.images.exif import shortened
from varsr.images.formats import BY_SUFFIX, DEFAULT_QUALITY, Format
from varsr.images.mark import marked
from varsr.images.photo import Photo
from varsr.images.pillow import image_of, to_image
from varsr.images.rounding import rounded
from varsr.images.size import Size
from varsr.storage.local import replacing
from varsr.tiling.array import FloatImage


@dataclass(frozen=True)
class Encoding:
    """Encoding of results, where the format leaves a choice. `format` serves names without a suffix.

    On a `background`, red, green and blue from 0 to 255, transparent images become opaque. `made_with` stands in the
    mark of results: the options that they were made with.
    """

    quality: int = DEFAULT_QUALITY
    lossless: bool = False
    format: Format | None = None
    background: tuple[int, int, int] | None = None
    made_with: str = ""

    def __post_init__(self) -> None:
        """Raise `RequestError` for a quality or a colour that cannot be."""
        if not 1 <= self.quality <= 100:
            raise RequestError(f"`quality` cannot be {self.quality}.", "Use 1 to 100.")
        if self.background is not None and not all(0 <= value <= 255 for value in self.background):
            raise RequestError(f"`background` cannot be {self.background}.", "Use red, green and blue from 0 to 255.")

    def of(self, path: Path) -> Format:
        """The format of a file. Raises `RequestError` where its suffix names none that can be written, or another."""
        named = BY_SUFFIX.get(path.suffix.lower())
        if self.format is not None and named not in (None, self.format):
            raise RequestError(
                f"{path} does not match `format` {self.format.name.lower()}.", "Use the same format for both."
            )
        found = self.format or named
        if found is None:
            raise RequestError(
                f"{path} has no suffix of an output format.", f"Use one of {', '.join(BY_SUFFIX)}, or `format`."
            )
        return found


DEFAULT = Encoding()
_LONGEST_COMMENT = 65_000


def check_fits(path: Path, size: Size, photo: Photo, encoding: Encoding = DEFAULT) -> None:
    """Raise `RequestError` where the format of `path` cannot hold `photo` at such a size, or not as asked."""
    format, transparent = encoding.of(path), photo.transparent and encoding.background is None
    if photo.more_frames and not format.several:
        raise RequestError(
            f"{path}: {format.name} holds one image, and the input has {1 + len(photo.more_frames)}.",
            "Write GIF, WebP, PNG, TIFF or AVIF.",
        )
    if transparent and not format.transparency:
        raise RequestError(
            f"{path}: {format.name} cannot hold the transparency of the input.",
            "Write PNG, WebP, TIFF or AVIF, or flatten it with `background` white.",
        )
    if (cicp := photo.metadata.cicp) is not None and format.name != "PNG":
        raise RequestError(
            f"{path}: {format.name} is written without HDR, and the input is coded for {HDR[cicp[1]]}.",
            "Write PNG, which keeps it.",
        )
    if max(size) > format.longest:
        raise RequestError(
            f"{path}: {format.name} holds at most {format.longest} pixels a side, not {max(size)}.",
            "Write PNG or TIFF.",
        )
    if encoding.lossless and format.lossless is None:
        raise RequestError(f"{path}: {format.name} cannot be lossless.", "Write PNG, WebP, TIFF or AVIF.")


def losses(photo: Photo, path: Path, encoding: Encoding = DEFAULT) -> tuple[str, ...]:
    """Parts of a photo that its file at `path` cannot hold, a phrase for each, without those given up on purpose."""
    format, notes = encoding.of(path), list(photo.notes)
    if photo.sixteen_bit and not format.sixteen_bit and photo.format == format.name:
        notes.append(f"{format.name} is written with 8 bits a channel; PNG and TIFF keep all")
    exif, xmp = photo.metadata.exif, photo.metadata.xmp
    if format.metadata and exif and len(exif) > format.block:
        rest = shortened(exif, format.block)
        notes.append(f"the EXIF is too long for {format.name} and lost {'its maker note' if rest else 'its entries'}")
    if "xmp" in format.metadata and xmp and len(xmp) > format.block:
        notes.append(f"the XMP is too long for {format.name} and was left out")
    return tuple(notes)


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
                    rows.write_channels(photo, size, photo.channel_bands(size, bands), file, format.name)
            else:
                image = image_of(photo.channel_bands(size, bands))
                temporary.write_bytes(_encoded_image(image, photo, format, encoding))
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
    if photo.alpha is not None and not format.transparency:
        photo = photo.without_alpha()
    return replace(photo, metadata=replace(photo.metadata, exif=marked(photo.metadata.exif, encoding.made_with)))


def _encoded(photo: Photo, format: Format, encoding: Encoding) -> bytes:
    """Encode in memory first, so that errors of writing are the system's and not a codec's."""
    photo, buffer = prepared(photo, encoding, format), io.BytesIO()
    if photo.sixteen_bit and format.sixteen_bit and not photo.more_frames:
        rows.write_channels(photo, photo.size, [photo.channels()], buffer, format.name)
        return buffer.getvalue()
    if format.name == "TIFF":
        write_pages(buffer, [_page(frame) for frame in photo.frames])
        return buffer.getvalue()
    return _encoded_image(_image(photo, format), photo, format, encoding)


def _page(photo: Photo) -> Page:
    pixels = rounded(photo.channels(), np.dtype(np.uint16 if photo.sixteen_bit else np.uint8))
    height, width, planes = pixels.shape
    return Page([pixels], (height, width, planes), pixels.dtype, photo.metadata)


def _image(photo: Photo, format: Format) -> Image.Image:
    """Eight bits a channel; in a GIF a pixel is transparent or not, at half."""
    if format.name == "GIF" and photo.alpha is not None:
        photo = replace(photo, alpha=(photo.alpha >= 0.5).astype(np.float32))
    return to_image(photo)


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
    buffer = io.BytesIO()
    try:
        image.save(buffer, format.name, **options, **metadata, **_sequence(photo, format))
    except MemoryError:
        raise
    except Exception as error:  # encoders raise whatever odd metadata leads them to; it is about this image alone
        raise OutputError(
            f"The image could not be encoded as {format.name} ({describe(error)}).", "Try another `format`."
        ) from error
    if format.name == "PNG":
        return png.with_chunks(buffer.getvalue(), png.metadata_chunks(photo.metadata))
    return buffer.getvalue()


def _sequence(photo: Photo, format: Format) -> dict[str, Any]:
    """Options for Pillow to write an animation or pages: frames, durations and the number of plays."""
    if not photo.more_frames:
        return {}
    options: dict[str, Any] = {
        "save_all": True,
        "append_images": [_image(frame, format) for frame in photo.more_frames],
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
        "icc_profile": kept.icc_profile,
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
