"""PNG: its chunks, and 16 bits a channel (W3C PNG, 3rd edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import imagecodecs
import numpy as np

from varsr.images.metadata import Metadata
from varsr.images.rounding import scaled
from varsr.tiling.array import FloatImage

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 8 + 25  # signature and IHDR, after which metadata stands
XMP_KEYWORD = "XML:com.adobe.xmp"
_IPTC_KEYWORD = "Raw profile type iptc"
_EXIF_KEYWORDS = ("Raw profile type exif", "Raw profile type APP1")
_LONGEST_TEXT = 1 << 24


@dataclass(frozen=True)
class Header:
    """Chunks before the pixels: bits a channel and colour information."""

    depth: int = 8
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None
    cicp: tuple[int, int, int, int] | None = None
    is_srgb: bool = False


def read_header(file: BinaryIO) -> Header:
    """The header of a PNG; that of an ordinary one as far as it is damaged."""
    depth, gamma, chromaticities, cicp, is_srgb = 8, None, None, None, False
    place = file.tell()
    for kind, content, _ in _chunks(file):
        if kind == b"IHDR" and len(content) == 13:
            depth = content[8]
        elif kind == b"gAMA" and len(content) == 4:
            gamma = int.from_bytes(content, "big") / 100_000
        elif kind == b"cHRM" and len(content) == 32:
            chromaticities = tuple(value / 100_000 for value in struct.unpack(">8I", content))
        elif kind == b"cICP" and len(content) == 4:
            cicp = content[0], content[1], content[2], content[3]
        elif kind == b"sRGB":
            is_srgb = True
        elif kind in (b"IDAT", b"IEND"):
            break
    file.seek(place)
    return Header(depth, gamma, chromaticities, cicp, is_srgb)


def read(data: bytes) -> FloatImage:
    """The pixels (H, W, C) in [0, 1] as they are stored, sBIT or not: it says how many bits they once had.

    Raises `OSError` where they cannot be decoded.
    """
    try:
        pixels = imagecodecs.png_decode(repaired(data))
    except imagecodecs.PngError as error:
        raise OSError(str(error)) from error
    return scaled(pixels, np.iinfo(pixels.dtype).max)


def repaired(data: bytes) -> bytes:
    """A PNG without the ancillary chunks whose checksum is wrong, which libpng and browsers leave out too."""
    kept = [SIGNATURE]
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 12 + length
        chunk = data[at:end]
        is_ancillary = bool(data[at + 4] & 0x20)
        if not is_ancillary or zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big"):
            kept.append(chunk)
        at = end
    return b"".join(kept)


def kept_texts(texts: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The keywords and values of a PNG that describe the image; profiles and XMP are kept by other means."""
    return tuple(
        (str(keyword), str(value))
        for keyword, value in texts.items()
        if keyword != XMP_KEYWORD and not keyword.startswith(("Raw profile type", "Thumb::"))
    )


def raw_profiles(texts: dict[str, str]) -> tuple[bytes | None, bytes | None]:
    """EXIF and IPTC as ImageMagick keeps them in texts."""
    exif = next((texts[keyword] for keyword in _EXIF_KEYWORDS if keyword in texts), None)
    return _from_hex(exif), _from_hex(texts.get(_IPTC_KEYWORD))


def metadata_chunks(metadata: Metadata) -> bytes:
    """The metadata as chunks, to stand behind the header."""
    found = []
    if metadata.cicp is not None:
        found.append(chunk(b"cICP", bytes(metadata.cicp)))
    if metadata.icc_profile:
        found.append(chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc_profile)))
    if metadata.dpi:
        found.append(chunk(b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in metadata.dpi), 1)))
    if metadata.exif:
        found.append(chunk(b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")))
    if metadata.xmp:
        found.append(chunk(b"iTXt", XMP_KEYWORD.encode() + b"\0\0\0\0\0" + metadata.xmp))
    found += [_text(keyword, value) for keyword, value in all_texts(metadata)]
    return b"".join(found)


def all_texts(metadata: Metadata) -> list[tuple[str, str]]:
    """The texts of a PNG: its own, the comment of a JPEG or GIF, and IPTC as ImageMagick and exiftool know it."""
    texts = list(metadata.texts)
    if metadata.comment and "Comment" not in dict(texts):
        texts.append(("Comment", metadata.comment.decode("utf-8", "replace")))
    if metadata.iptc:
        digits = metadata.iptc.hex()
        lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
        texts.append((_IPTC_KEYWORD, f"\niptc\n{len(metadata.iptc):8d}\n{lines}\n"))
    return texts


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunks(data: bytes, chunks: bytes) -> bytes:
    """A PNG with further chunks behind its header."""
    return data[:HEADER_BYTES] + chunks + data[HEADER_BYTES:]


def _text(keyword: str, value: str) -> bytes:
    name = keyword.encode("latin-1", "replace")[:79]
    try:
        return chunk(b"tEXt", name + b"\0" + value.encode("latin-1"))
    except UnicodeEncodeError:
        return chunk(b"iTXt", name + b"\0\0\0\0\0" + value.encode("utf-8"))


def _from_hex(text: str | None) -> bytes | None:
    """The bytes of a raw profile: a name, a length, and digits in lines."""
    if not text:
        return None
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Kind, content and checksum of each chunk; contents of pixels are not read."""
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IDAT" or length > _LONGEST_TEXT:
            yield kind, b"", b""
            file.seek(length + 4, 1)
        else:
            yield kind, file.read(length), file.read(4)
