"""EXIF in TIFF files that tifffile writes, which knows tags but no directories below them."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any, BinaryIO

import tifffile
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

_EXIF = 0x8769
_DIRECTORIES = (_EXIF, 0x8825)  # the pointers to the EXIF and to the GPS directory
_SIDES = (0xA002, 0xA003)  # width and height in the EXIF directory, which the result no longer has
_STRUCTURE = {
    *range(0x00FE, 0x010E), 0x0111, 0x0112, *range(0x0115, 0x011A), *range(0x011C, 0x0126), 0x012D, 0x013D,
    *range(0x0140, 0x0160), *range(0x0200, 0x0215), 0x02BC, 0x83BB, 0x8649, 0x8773, 0x935C, 0xC44F,
}  # fmt: skip
"""Tags that tell how a TIFF is stored, what is kept by other means, or Photoshop's layers. The density is not among
them: in WebP and AVIF it stands nowhere else."""
_HEADERS = {False: b"II\x2a\x00\x08\x00\x00\x00", True: b"II\x2b\x00\x08\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00"}
_LONG, _LONG8 = 4, 16
UNWRITABLE = (AttributeError, OverflowError, TypeError, ValueError, struct.error)
"""What Pillow raises when it writes EXIF in which a value is not of the type that is said. The picture is none the
worse for it."""


def descriptive(exif: Image.Exif) -> bytes | None:
    """What tells of the picture and not of its file."""
    for tag in _STRUCTURE & set(exif):
        del exif[tag]
    try:
        for tag in _SIDES if _EXIF in exif else ():
            exif.get_ifd(_EXIF).pop(tag, None)
        return exif.tobytes() if len(exif) else None
    except UNWRITABLE:
        return None


def exif_tags(exif: bytes | None, big: bool) -> list[tuple[Any, ...]]:
    """What tifffile is told: texts such as maker, model and date, and the pointers that `write_directories` sets."""
    if exif is None:
        return []
    parsed = _parsed(exif)
    texts = [(tag, 2, 0, value.encode() + b"\0", True) for tag, value in parsed.items() if isinstance(value, str)]
    # tifffile refuses to write these two. It gets the number before each, unused elsewhere, until they are set.
    pointers = [(tag - 1, _LONG8 if big else _LONG, 1, 0, True) for tag in _DIRECTORIES if parsed.get_ifd(tag)]
    return texts + pointers


def write_directories(file: Path | BinaryIO, exif: bytes | None) -> None:
    """Append the EXIF and GPS directories to a little-endian TIFF written with `exif_tags`."""
    if exif is None:
        return
    parsed = _parsed(exif)
    if not isinstance(file, Path):
        file.seek(0)
    with tifffile.TiffFile(file, mode="r+") if isinstance(file, Path) else tifffile.TiffFile(file) as tiff:
        handle = tiff.filehandle
        tags = tiff.pages.first.tags
        for pointer in _DIRECTORIES:
            if pointer - 1 not in tags:
                continue
            handle.seek(0, io.SEEK_END)
            if handle.tell() % 2:
                handle.write(b"\0")  # directories begin at even places
            place = handle.tell()
            handle.write(_directory(parsed.get_ifd(pointer), place, tiff.is_bigtiff))
            tags[pointer - 1].overwrite(place)
            handle.seek(tags[pointer - 1].offset)
            handle.write(struct.pack("<H", pointer))


def _directory(entries: dict[int, Any], place: int, big: bool) -> bytes:
    directory = ImageFileDirectory_v2(_HEADERS[big])
    for tag, value in entries.items():
        if not isinstance(value, dict):  # a directory below: maker notes' and interoperability, of no use elsewhere
            directory[tag] = value
    return directory.tobytes(place)


def _parsed(exif: bytes) -> Image.Exif:
    parsed = Image.Exif()
    parsed.load(exif)
    return parsed
