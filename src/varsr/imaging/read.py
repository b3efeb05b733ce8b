"""Reading picture files."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from varsr.errors import InputError
from varsr.files import reason
from varsr.imaging.photo import Metadata, Photo, from_image

_EXIF_ORIENTATION = 0x0112


def read_photo(path: Path) -> Photo:
    """Read a picture upright, with its metadata. Raises `InputError` where the file holds none that is whole."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow merely warns of is either fine or fails below
            with Image.open(path) as image:
                image.load()
                return _upright(image)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Check the path.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder.", "Name a picture in it.") from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path} is no picture that can be read.", "Is it whole, and of a format listed by --help?"
        ) from error
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
    )
    return from_image(image, format, metadata)
