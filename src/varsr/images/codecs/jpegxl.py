"""JPEG XL: pixels by libjxl, metadata in boxes that are not compressed, so that every reader of EXIF finds them.

ISO/IEC 18181-2 has the boxes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from varsr.images.exif import HEADER, descriptive
from varsr.images.metadata import Metadata
from varsr.images.rounding import Pixels, scaled
from varsr.images.size import Size
from varsr.images.xmp import corrected
from varsr.tiling.array import FloatImage

if TYPE_CHECKING:
    import pyjpegxl

_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
_FTYP = b"jxl \0\0\0\0jxl "
_LEAST_DISTANCE, _MOST_DISTANCE = 0.1, 15.0


@dataclass(frozen=True)
class Facts:
    """Facts that stand before the pixels: the size of the upright image, bits a channel and metadata."""

    size: Size
    depth: int
    metadata: Metadata


def probe(data: bytes) -> Facts:
    """The facts of a file. Raises `OSError` where it is damaged."""
    import pyjpegxl

    try:
        return _facts(pyjpegxl.probe(data))
    except RuntimeError as error:
        raise OSError(str(error)) from error


def read(data: bytes) -> tuple[FloatImage, Facts]:
    """The pixels (H, W, C) in [0, 1], upright, and the facts. Raises `OSError` where they cannot be decoded."""
    import pyjpegxl

    try:
        found, pixels = pyjpegxl.decode_to_numpy(data)
    except RuntimeError as error:
        raise OSError(str(error)) from error
    full = {"uint8": 255, "uint16": 65_535}.get(pixels.dtype.name, 1)
    return scaled(pixels, full).clip(0, 1), _facts(found)


def encode(pixels: Pixels, metadata: Metadata, quality: int, lossless: bool) -> bytes:
    """A file of pixels (H, W, C) of uint8 or uint16. `quality` is 1 to 100, as of a JPEG."""
    import pyjpegxl

    coded = pyjpegxl.encode_from_numpy(
        np.ascontiguousarray(pixels), lossless=lossless, quality=distance(quality), icc=metadata.icc_profile
    )
    boxes = []
    if metadata.exif:
        boxes.append(_box(b"Exif", bytes(4) + metadata.exif.removeprefix(HEADER)))
    if metadata.xmp:
        boxes.append(_box(b"xml ", metadata.xmp))
    return _with_boxes(coded, b"".join(boxes))


def _with_boxes(coded: bytes, boxes: bytes) -> bytes:
    """A file with further boxes at its end, where they may stand: a bare codestream is put in a container first."""
    if not coded.startswith(_SIGNATURE):
        coded = _SIGNATURE + _box(b"ftyp", _FTYP) + _box(b"jxlc", coded)
    return coded + boxes


def distance(quality: int) -> float:
    """The Butteraugli distance that libjxl's own tools give a quality of 1 to 100."""
    found = 0.1 + 0.09 * (100 - quality) if quality >= 30 else 53 / 3000 * quality**2 - 23 / 20 * quality + 25
    return min(max(found, _LEAST_DISTANCE), _MOST_DISTANCE)


def _facts(found: pyjpegxl.Metadata) -> Facts:
    exif = found.exif
    if exif and exif[:4] == bytes(4):  # the offset of the TIFF header
        exif = exif[4:]
    return Facts(
        (found.height, found.width),
        found.bits_per_sample,
        Metadata(exif=descriptive(exif), icc_profile=found.icc, xmp=corrected(found.xmp)),
    )


def _box(kind: bytes, content: bytes) -> bytes:
    if len(content) + 8 < 2**32:
        return struct.pack(">I", 8 + len(content)) + kind + content
    return struct.pack(">I", 1) + kind + struct.pack(">Q", 16 + len(content)) + content
