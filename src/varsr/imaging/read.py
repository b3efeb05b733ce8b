"""Reading picture files."""

from __future__ import annotations

import io
import struct
import warnings
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from varsr.errors import InputError
from varsr.files import reason
from varsr.imaging.formats import HEIF_SUFFIXES, READ
from varsr.imaging.photo import Metadata, Photo, from_image

_EXIF_ORIENTATION = 0x0112


def read_photo(path: Path, max_pixels: int | None = None) -> Photo:
    """Read a picture upright, with its metadata.

    Raises `InputError` where the file holds none that is whole, or one of more than `max_pixels`.
    """
    return _read(path, str(path), max_pixels)


def read_stream(stream: BinaryIO, max_pixels: int | None = None) -> Photo:
    """Read a picture from a stream, which need not seek."""
    return _read(io.BytesIO(stream.read()), "standard input", max_pixels)


def _read(file: Path | BinaryIO, path: str, max_pixels: int | None) -> Photo:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow merely warns of is either fine or fails below
            with Image.open(file, formats=_readable()) as image:
                if image.width * image.height > (max_pixels or image.width * image.height):
                    raise InputError(
                        f"{path} has {image.width} x {image.height} pixels, more than {max_pixels}.",
                        "Raise --max-pixels if you trust it.",
                    )
                image.load()
                return _upright(image)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Check the path.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder.", "Name a picture in it.") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is no picture that can be read.", _advice(path)) from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} is too large: {error}.", "Cut it into parts.") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise InputError(
            f"{path} could not be read ({reason(error)}).", "The file may be damaged or incomplete."
        ) from error


def _upright(image: Image.Image) -> Photo:
    format = image.format or "PNG"
    exif = image.getexif()
    if _EXIF_ORIENTATION in exif:
        ImageOps.exif_transpose(image, in_place=True)
        exif = image.getexif()
    dpi = image.info.get("dpi")
    metadata = Metadata(
        exif=exif.tobytes() if len(exif) else None,
        icc_profile=None if image.mode == "CMYK" else image.info.get("icc_profile"),
        dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
        xmp=_xmp(image),
    )
    return from_image(image, format, metadata)


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
