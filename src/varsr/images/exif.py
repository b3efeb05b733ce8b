"""EXIF, entry by entry: what Pillow would retype, reencode or refuse is carried as it stands (CIPA DC-008)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import tifffile

HEADER = b"Exif\0\0"
ORIENTATION = 0x0112
_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_DESCRIPTION = 0x010E
_MAKER_NOTE = 0x927C
_SIDES = (0xA002, 0xA003)  # width and height in the EXIF directory, which the result no longer has
_DENSITY = (0x011A, 0x011B)
_STRUCTURE = {
    *range(0x00FE, 0x010E), 0x0111, 0x0112, *range(0x0115, 0x011A), *range(0x011C, 0x0126), 0x0129, 0x012D, 0x013D,
    *range(0x0140, 0x0160), *range(0x0200, 0x0215), 0x02BC, 0x83BB, 0x8649, 0x8773, 0x935C, 0xC44F,
}  # fmt: skip
"""Tags that describe how a TIFF is stored, what is kept by other means, or Photoshop's layers. The density is not among
them: in WebP and AVIF it stands nowhere else."""
_SENSOR = {0x828D, 0x828E, *range(0xC612, 0xC7EF)}
"""Tags of the colour filter array (TIFF/EP), and of DNG."""
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 129: 1}
"""Bytes of the numbers of each type, two of which make a rational."""
_RATIONALS = (5, 10)
ASCII, _LONG, _LONG8 = 2, 4, 16
_LARGEST = 1 << 26  # bytes of an entry, beyond which its count is damaged


@dataclass(frozen=True)
class Entry:
    """A value of a directory, its bytes in little-endian order."""

    type: int
    count: int
    data: bytes


Directory = dict[int, Entry]


@dataclass
class Exif:
    """The main directory and those below it that are kept."""

    main: Directory = field(default_factory=dict)
    details: Directory = field(default_factory=dict)
    place: Directory = field(default_factory=dict)
    interoperability: Directory = field(default_factory=dict)

    def below(self) -> Iterator[tuple[int, Directory]]:
        """The directories that the main one points to, each with the tag of its pointer."""
        yield from ((tag, found) for tag, found in ((_EXIF, self.details), (_GPS, self.place)) if found)

    def to_bytes(self) -> bytes | None:
        """The block as it goes into a file; None where there is nothing in it."""
        if not (self.main or self.details or self.place):
            return None
        main, body = dict(self.main), b""
        start = 8 + len(_directory(dict(main) | dict.fromkeys((tag for tag, _ in self.below()), _pointer(0)), 8))
        for tag, directory in self.below():
            main[tag] = _pointer(start + len(body))
            body += self._below(tag, directory, start + len(body))
        return HEADER + b"II\x2a\0\x08\0\0\0" + _directory(main, 8) + body

    def directory_bytes(self, tag: int, place: int) -> bytes:
        """The directory that `tag` points to, with the one below it, to stand at `place` of a file."""
        return self._below(tag, dict(self.below())[tag], place)

    def _below(self, tag: int, directory: Directory, place: int) -> bytes:
        if tag != _EXIF or not self.interoperability:
            return _directory(directory, place)
        further = place + len(_directory(directory | {_INTEROPERABILITY: _pointer(0)}, place))
        own = _directory(directory | {_INTEROPERABILITY: _pointer(further)}, place)
        return own + _directory(self.interoperability, further)


def descriptive(raw: bytes | None) -> bytes | None:
    """The entries of an EXIF block that describe the image and not its file. Damaged ones are left out."""
    if not raw:
        return None
    return _described(io.BytesIO(raw.removeprefix(HEADER)))


def descriptive_of_tiff(file: BinaryIO, offset: int) -> bytes | None:
    """The same of the directory at `offset` of a TIFF or BigTIFF."""
    return _described(file, offset)


def bytes_of_tiff(file: BinaryIO, offset: int, tag: int) -> bytes | None:
    """The bytes of a tag in the directory at `offset` of a TIFF, in the order in which they stand there."""
    reader = _reader(file)
    entry = reader.directory(offset)[0].get(tag) if reader else None
    if reader is None or entry is None:
        return None
    return entry.data if reader.order == "<" else _swapped(entry.data, _UNITS[entry.type])


def page_offsets(file: BinaryIO) -> list[int]:
    """The places of the main directories of a TIFF, one a page. A chain that comes back to itself ends there."""
    reader, offsets = _reader(file), []
    if reader is None:
        return []
    place = reader.first_directory()
    while place and place not in offsets:
        offsets.append(place)
        place = reader.next_directory(place)
    return offsets


def with_description(exif: bytes | None, text: str) -> bytes:
    """An EXIF block with a description of the image, in ASCII."""
    parsed, data = parse(exif), text.encode("ascii") + b"\0"
    parsed.main[_DESCRIPTION] = Entry(ASCII, len(data), data)
    written = parsed.to_bytes()
    assert written is not None
    return written


def without_raw(exif: bytes | None) -> bytes | None:
    """A block without the entries that describe a sensor's data, as a DNG has them."""
    parsed = parse(exif)
    parsed.main = {tag: entry for tag, entry in parsed.main.items() if tag not in _SENSOR}
    return parsed.to_bytes()


def has_density(exif: bytes | None) -> bool:
    """True for a block that holds a resolution."""
    return any(tag in parse(exif).main for tag in _DENSITY)


def shortened(exif: bytes, longest: int) -> bytes | None:
    """A block of at most `longest` bytes: without the maker's note where it must be, else None."""
    if len(exif) <= longest:
        return exif
    parsed = parse(exif)
    parsed.details.pop(_MAKER_NOTE, None)
    rest = parsed.to_bytes()
    return rest if rest and len(rest) <= longest else None


def parse(exif: bytes | None) -> Exif:
    """The entries of a block that `descriptive` made."""
    if not exif:
        return Exif()
    return _parsed(io.BytesIO(exif.removeprefix(HEADER)), None)


def exif_tags(exif: bytes | None, big: bool) -> list[tuple[Any, ...]]:
    """Extra tags for tifffile: the entries of the main directory, and the pointers that `write_directories` sets."""
    parsed = parse(exif)
    entries = [
        (tag, entry.type, entry.count, _packed(entry), True)
        for tag, entry in parsed.main.items()
        if tag not in (*_DENSITY, 0x0128) and entry.type in tifffile.TIFF.DATA_FORMATS
    ]
    # tifffile refuses to write these two. It gets the number before each, unused elsewhere, until they are set.
    pointers = [(tag - 1, _LONG8 if big else _LONG, 1, 0, True) for tag, _ in parsed.below()]
    return entries + pointers


def _packed(entry: Entry) -> bytes | tuple[int, ...]:
    """The value as tifffile takes it: rationals as numbers, for of bytes it would count each twice."""
    if entry.type not in _RATIONALS:
        return entry.data
    return struct.unpack(f"<{2 * entry.count}{'I' if entry.type == 5 else 'i'}", entry.data)


def write_directories(file: Path | BinaryIO, exif: bytes | None) -> None:
    """Append the EXIF and GPS directories to a little-endian TIFF written with `exif_tags`."""
    parsed = parse(exif)
    if not (parsed.details or parsed.place):
        return
    if not isinstance(file, Path):
        file.seek(0)
    with tifffile.TiffFile(file, mode="r+") if isinstance(file, Path) else tifffile.TiffFile(file) as tiff:
        handle, tags = tiff.filehandle, tiff.pages.first.tags
        for pointer, directory in parsed.below():
            handle.seek(0, io.SEEK_END)
            if handle.tell() % 2:
                handle.write(b"\0")  # directories begin at even places
            place = handle.tell()
            # Directories of a BigTIFF have longer entries, which readers of EXIF expect there too.
            handle.write(
                _big_directory(directory, place) if tiff.is_bigtiff else parsed.directory_bytes(pointer, place)
            )
            tags[pointer - 1].overwrite(place)
            handle.seek(tags[pointer - 1].offset)
            handle.write(struct.pack("<H", pointer))


def _described(file: BinaryIO, offset: int | None = None) -> bytes | None:
    parsed = _parsed(file, offset)
    for tag in _SIDES:
        parsed.details.pop(tag, None)
    if any(tag in parsed.main and _is_no_density(parsed.main[tag]) for tag in _DENSITY):
        for tag in _DENSITY:
            parsed.main.pop(tag, None)
    return parsed.to_bytes()


def _is_no_density(entry: Entry) -> bool:
    numbers = struct.unpack("<2I", entry.data[:8]) if entry.type == 5 and len(entry.data) >= 8 else (1, 1)
    return 0 in numbers


def _parsed(file: BinaryIO, offset: int | None) -> Exif:
    """The directories of a TIFF structure; those that cannot be read are empty."""
    reader = _reader(file)
    if reader is None:
        return Exif()
    if offset is None:
        offset = reader.first_directory()
    main, pointers = reader.directory(offset, without=_STRUCTURE)
    details, further = reader.directory(pointers.get(_EXIF))
    place, _ = reader.directory(pointers.get(_GPS))
    interoperability, _ = reader.directory(further.get(_INTEROPERABILITY))
    return Exif(main, details, place, interoperability)


def _reader(file: BinaryIO) -> _Reader | None:
    head = _read_at(file, 0, 8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    return _Reader(file, order, struct.unpack(order + "H", head[2:4])[0] == 43)


@dataclass(frozen=True)
class _Reader:
    file: BinaryIO
    order: str
    big: bool

    def first_directory(self) -> int:
        """Where the main directory stands."""
        return self._number(_read_at(self.file, 8, 8) if self.big else _read_at(self.file, 4, 4))

    def next_directory(self, offset: int) -> int:
        """The place that follows the directory at `offset`, 0 where none does."""
        length, step, width = (8, 20, 8) if self.big else (2, 12, 4)
        count = self._number(_read_at(self.file, offset, length))
        return self._number(_read_at(self.file, offset + length + count * step, width))

    def directory(
        self, offset: int | None, without: set[int] | frozenset[int] = frozenset()
    ) -> tuple[Directory, Mapping[int, int]]:
        """The entries at a place, and the pointers among them to directories below."""
        entries: Directory = {}
        pointers: dict[int, int] = {}
        if offset is None:
            return entries, pointers
        length, step = (8, 20) if self.big else (2, 12)
        count = self._number(_read_at(self.file, offset, length))
        table = _read_at(self.file, offset + length, min(count, 1000) * step)
        for start in range(0, len(table) - step + 1, step):
            tag, type = struct.unpack(self.order + "HH", table[start : start + 4])
            if tag in (_EXIF, _GPS, _INTEROPERABILITY):
                pointers[tag] = self._number(table[start + step - (8 if self.big else 4) : start + step])
            elif tag not in without and (entry := self._entry(type, table[start + 4 : start + step])):
                entries[tag] = entry
        return entries, pointers

    def _entry(self, type: int, rest: bytes) -> Entry | None:
        """Type and the count and value of an entry; None where it is damaged."""
        width = 8 if self.big else 4
        count, value = self._number(rest[:width]), rest[width:]
        unit = _UNITS.get(type)
        size = (unit or 0) * count * (2 if type in _RATIONALS else 1)
        if unit is None or not 0 < size <= _LARGEST:
            return None
        data = value[:size] if size <= width else _read_at(self.file, self._number(value), size)
        if len(data) < size:
            return None
        return Entry(type, count, data if self.order == "<" else _swapped(data, unit))

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data, "little" if self.order == "<" else "big")


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    try:
        file.seek(offset)
        return file.read(size)
    except (OSError, OverflowError, ValueError):  # a place that no file has
        return b""


def _swapped(data: bytes, unit: int) -> bytes:
    return b"".join(data[start : start + unit][::-1] for start in range(0, len(data), unit))


def _pointer(place: int) -> Entry:
    return Entry(_LONG, 1, struct.pack("<I", place))


def _directory(entries: Mapping[int, Entry], place: int, form: tuple[str, str, int] = ("<H", "<HHI", 4)) -> bytes:
    """A directory at an even `place`, its longer values behind it."""
    head, entry_form, width = form
    longer = place + struct.calcsize(head) + len(entries) * (struct.calcsize(entry_form) + width) + width
    table, behind = struct.pack(head, len(entries)), b""
    for tag, entry in sorted(entries.items()):
        table += struct.pack(entry_form, tag, entry.type, entry.count)
        if len(entry.data) <= width:
            table += entry.data.ljust(width, b"\0")
            continue
        table += (longer + len(behind)).to_bytes(width, "little")
        behind += entry.data + b"\0" * (len(entry.data) % 2)
    return table + bytes(width) + behind


def _big_directory(entries: Mapping[int, Entry], place: int) -> bytes:
    return _directory(entries, place, ("<Q", "<HHQ", 8))
