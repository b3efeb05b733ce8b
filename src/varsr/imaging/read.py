"""Reading picture files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from varsr.errors import InputError
from varsr.files import reason
from varsr.imaging.deep import is_deep, read_deep
from varsr.imaging.exif import UNWRITABLE, descriptive
from varsr.imaging.formats import HEIF_SUFFIXES, RAW_SUFFIXES, READ
from varsr.imaging.photo import Metadata, Photo, from_channels, from_image
from varsr.imaging.resize import Picture

_ORIENTATION = 0x0112
_SUBFILE_TYPE = 254  # of a page of a TIFF
_SMALLER, _MASK = 1, 4  # bits of it: a smaller version of another page, another page's transparency
_MPO = "MPO"
"""What Pillow calls the JPEG of many phones and cameras: behind the photograph stands a preview, a gain map for bright
screens, depth or a second view."""
_ONE_IS_SHOWN = (_MPO, "HEIF")
"""Formats with further pictures that programs do not show; they are left out."""


def read_photo(path: Path, max_pixels: int | None = None) -> Photo:
    """Read a picture upright, with its metadata.

    Raises `InputError` where the file holds none that is whole, or one of more than `max_pixels`.
    """
    if path.suffix.lower() in RAW_SUFFIXES:
        raise InputError(f"{path} is a raw photograph.", "Develop it first, to a TIFF or PNG of 16 bits a channel.")
    return _read(path, str(path), max_pixels)


def read_stream(stream: BinaryIO, max_pixels: int | None = None) -> Photo:
    """Read a picture from a stream, which need not seek."""
    return _read(io.BytesIO(stream.read()), "standard input", max_pixels)


def _read(file: Path | BinaryIO, path: str, max_pixels: int | None) -> Photo:
    try:
        with warnings.catch_warnings(), _without_pillows_limits(), _opened(file) as opened:
            warnings.simplefilter("ignore")  # what Pillow merely warns of is either fine or fails below
            with Image.open(opened, formats=_readable()) as image:
                numbers = _pictures(image)
                if image.tell() != numbers[0]:
                    image.seek(numbers[0])
                if image.width * image.height > (max_pixels or image.width * image.height):
                    raise InputError(
                        f"{path} has {image.width} x {image.height} pixels, more than {max_pixels}.",
                        "Raise --max-pixels if you trust it.",
                    )
                if image.format == "TIFF" and image.mode in ("I", "F"):
                    raise InputError(f"{path} has 32 bits a channel.", "Save it with 16 bits a channel.")
                return _several(image, opened, numbers) if len(numbers) > 1 else _photo(image, opened, numbers[0])
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Check the path.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder.", "Name a picture in it.") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is no picture that can be read.", _advice(path)) from error
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise InputError(
            f"{path} could not be read ({reason(error)}).", "The file may be damaged or incomplete."
        ) from error


@contextmanager
def _without_pillows_limits() -> Iterator[None]:
    """How many pixels are too many is the caller's to say, and an editor's history in XMP may exceed a megabyte."""
    pixels, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    text, PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = pixels, text


@contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[BinaryIO]:
    """The file, closed in the end whatever happens, which Pillow does not always see to; a pipe's content in memory."""
    if not isinstance(file, Path):
        yield file
        return
    with file.open("rb") as opened:
        yield opened if opened.seekable() else io.BytesIO(opened.read())


def _photo(image: Image.Image, file: BinaryIO, number: int) -> Photo:
    """The opened picture, upright; `number` is its place in the file."""
    format = "JPEG" if image.format == _MPO else image.format or "PNG"
    orientation = _loaded(image)
    deep = read_deep(file, format, number) if format in ("PNG", "TIFF") and is_deep(image, file) else None
    with suppress(*UNWRITABLE):  # raised once the picture is turned
        ImageOps.exif_transpose(image, in_place=True)
    profile = image.info.get("icc_profile")
    if image.mode == "CMYK":
        image, profile = _without_ink(image, profile), None
    metadata = _metadata(image, profile)
    if deep is None:
        return from_image(image, format, metadata)
    return from_channels(_turned(deep, orientation), format, metadata, deep=True)


def _pictures(image: Image.Image) -> list[int]:
    """The numbers of a file's pictures, without those that are smaller versions of another or belong to it."""
    count = getattr(image, "n_frames", 1)
    if count == 1 or image.format in _ONE_IS_SHOWN:
        return [image.tell()]
    if image.format != "TIFF":
        return list(range(count))
    return [number for number in range(count) if _is_page(image, number)] or [0]


def _is_page(image: Image.Image, number: int) -> bool:
    image.seek(number)
    return not image.tag_v2.get(_SUBFILE_TYPE, 0) & (_SMALLER | _MASK)  # type: ignore[attr-defined]


def _several(image: Image.Image, file: BinaryIO, numbers: Sequence[int]) -> Photo:
    """All the pictures of an animation or of several pages, upright."""
    frames = []
    for number in numbers:
        image.seek(number)
        photo = _frame(image, file, number)
        duration = image.info.get("duration")  # some formats tell it only once the frame is loaded
        frames.append(replace(photo, duration=None if duration is None else round(duration)))
    return replace(frames[0], following=tuple(frames[1:]))


def _frame(image: Image.Image, file: BinaryIO, number: int) -> Photo:
    orientation = _loaded(image)
    ink = image.mode == "CMYK"
    format = image.format or "PNG"
    metadata = _metadata(image, None if ink else image.info.get("icc_profile"))
    if format == "TIFF" and is_deep(image, file):
        return from_channels(_turned(read_deep(file, format, number), orientation), format, metadata, deep=True)
    # Pages of eight bits are turned by now, and animations have no orientation.
    return replace(from_image(_without_ink(image, None) if ink else image, format, metadata), deep=False)


def _loaded(image: Image.Image) -> int:
    """Load a picture and return its orientation as the file has it: Pillow turns a TIFF meanwhile and forgets it."""
    orientation: int = image.getexif().get(_ORIENTATION, 1)
    image.load()
    return orientation


def _metadata(image: Image.Image, profile: bytes | None) -> Metadata:
    dpi = image.info.get("dpi")
    return Metadata(
        exif=descriptive(image.getexif()),
        icc_profile=profile,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
        xmp=_xmp(image),
        loop=image.info.get("loop"),
    )


def _without_ink(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A CMYK picture in sRGB, by its profile where it has one."""
    if profile is None:
        return image.convert("RGB")
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")
    return converted or image.convert("RGB")


def _turned(pixels: Picture, orientation: int) -> Picture:
    """Pixels as an EXIF orientation, 1 to 8, wants them shown."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _xmp(image: Image.Image) -> bytes | None:
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return found.encode() if isinstance(found, str) else found


@cache
def _readable() -> tuple[str, ...]:
    """The formats that Pillow reads here: HEIF among them where its plug-in is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return READ
    register_heif_opener()
    return (*READ, "HEIF")


def _advice(path: str) -> str:
    if path.lower().endswith(HEIF_SUFFIXES) and "HEIF" not in _readable():
        return 'For HEIC install the plug-in: pip install "varsr[heif]"'
    return f"Is it whole, and one of {', '.join(_readable())}?"
