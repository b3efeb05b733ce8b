"""AVIF and HEIF: the boxes that describe colours and depth (ISO/IEC 14496-12 and 23008-12), and 10 or 12 bits."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from varsr.images.metadata import Metadata
from varsr.images.rounding import Pixels, scaled
from varsr.tiling.array import FloatImage

_HEAD = 1 << 20  # bytes from the beginning within which properties stand


@dataclass(frozen=True)
class Properties:
    """Bits a channel, and primaries, transfer, matrix and range (ITU-T H.273) where the file names them."""

    depth: int = 8
    cicp: tuple[int, int, int, int] | None = None


def read_properties(file: BinaryIO) -> Properties:
    """The properties of a file's image; the defaults where it names none or is damaged."""
    place = file.tell()
    file.seek(0)
    data = file.read(_HEAD)
    file.seek(place)
    depth, cicp = 8, None
    for kind, content in _properties(data):
        if kind == b"colr" and content[:4] == b"nclx" and len(content) >= 11 and cicp is None:
            primaries, transfer, matrix = (int.from_bytes(content[at : at + 2], "big") for at in (4, 6, 8))
            cicp = primaries, transfer, matrix, content[10] >> 7
        elif kind == b"av1C" and len(content) >= 3:
            depth = max(depth, (12 if content[2] & 0x20 else 10) if content[2] & 0x40 else 8)
        elif kind == b"hvcC" and len(content) >= 18:
            depth = max(depth, 8 + (content[17] & 7))
    return Properties(depth, cicp)


def read_avif(data: bytes) -> FloatImage:
    """The pixels (H, W, C) in [0, 1] of an AVIF of any depth. Raises `OSError` where they cannot be decoded."""
    import imagecodecs

    depth = read_properties(io.BytesIO(data)).depth
    try:
        return scaled(imagecodecs.avif_decode(data), 2**depth - 1)
    except RuntimeError as error:
        raise OSError(str(error)) from error


def read_heif(data: bytes) -> FloatImage:
    """The pixels (H, W, C) in [0, 1] of a HEIF of more than 8 bits. Raises `OSError` as `read_avif` does."""
    import pillow_heif

    return scaled(np.asarray(pillow_heif.open_heif(data, convert_hdr_to_8bit=False)), 65_535)


def write_heif(pixels: Pixels, metadata: Metadata, quality: int, lossless: bool) -> bytes:
    """A HEIF of pixels (H, W, C): 8 bits a channel of uint8, 10 of uint16."""
    import pillow_heif

    if pixels.shape[-1] == 2:  # grey with transparency, which it is written in colour with
        pixels = pixels[..., [0, 0, 0, 1]]
    height, width, planes = pixels.shape
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[planes] + (";16" if pixels.dtype == np.uint16 else "")
    image = pillow_heif.from_bytes(mode, (width, height), np.ascontiguousarray(pixels).tobytes())
    kept = {"exif": metadata.exif, "xmp": metadata.xmp, "icc_profile": metadata.icc_profile}
    # Without loss the planes of RGB are coded as they are: matrix 0 of ITU-T H.273.
    amount = {"quality": -1, "matrix_coefficients": 0} if lossless else {"quality": quality}
    buffer = io.BytesIO()
    image.save(buffer, chroma=444, **amount, **{name: value for name, value in kept.items() if value})
    return buffer.getvalue()


def _properties(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for kind, meta in _boxes(data):
        if kind == b"meta":
            for inner, content in _boxes(meta[4:]):  # after version and flags
                if inner == b"iprp":
                    yield from (
                        box for name, container in _boxes(content) if name == b"ipco" for box in _boxes(container)
                    )


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        size = size or len(data) - at
        if size < head:
            return
        yield kind, data[at + head : at + size]
        at += size
