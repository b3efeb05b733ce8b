"""Headers: facts about an image file that stand before its pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from varsr.errors import InputError, describe
from varsr.images import signature
from varsr.images.codecs import jpegxl, raw
from varsr.images.describe import exif_of
from varsr.images.exif import ORIENTATION
from varsr.images.formats import RAW_SUFFIXES
from varsr.images.orientation import TRANSPOSED
from varsr.images.read import readable, shown_images, without_pillows_limits
from varsr.images.size import Size


@dataclass(frozen=True)
class Header:
    """The size of the upright image, the number of images that are shown, and the EXIF of the first."""

    size: Size
    images: int
    exif: bytes | None


def read_header(path: Path) -> Header:
    """Read the header of an image file. Raises `InputError` where it tells too little."""
    try:
        with warnings.catch_warnings(), without_pillows_limits():
            warnings.simplefilter("ignore")
            return _header(path)
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise InputError(f"{path} could not be read ({describe(error)}).", "The file may be damaged.") from error


def _header(path: Path) -> Header:
    if path.suffix.lower() in RAW_SUFFIXES:
        return Header(raw.size_of(path), 1, raw.exif_of(path))
    with path.open("rb") as file:
        if signature.readable_format(file.read(32)) == "JPEG XL":
            facts = jpegxl.probe(path.read_bytes())
            return Header(facts.size, 1, facts.metadata.exif)
        file.seek(0)
        with Image.open(file, formats=readable()) as image:
            numbers = shown_images(image)
            image.seek(numbers[0])
            turned = image.getexif().get(ORIENTATION, 1) in TRANSPOSED
            size = (image.width, image.height) if turned else (image.height, image.width)
            return Header(size, len(numbers), exif_of(image, file, numbers[0]))
