"""Lists of file names, one a line or separated by NUL, as `find` and other programs write them."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from typing import BinaryIO

from varsr.errors import InputError, describe
from varsr.storage.address import Place, Remote, place_of
from varsr.storage.staging import fetched
from varsr.storage.streams import STREAM, standard_input

_BLOCK = 1 << 16


def names_in(path: Place, by_nul: bool) -> Iterator[Place]:
    """The names of a list, read as they are asked for; empty ones are left out.

    `path` may be the stream, or an address: such a list is fetched first, and may name addresses only. A list of lines
    may begin with a UTF-8 byte-order mark, as Windows programs write it.
    Raises `InputError` where the list cannot be read or is UTF-16, `RequestError` for an address that is not allowed.
    """
    try:
        if path == STREAM:
            yield from _places(_names(standard_input(), by_nul), remote=False)
            return
        with fetched(path) as copy, copy.open("rb") as file:
            yield from _places(_names(file, by_nul), remote=isinstance(path, Remote))
    except OSError as error:
        raise InputError(f"The list {path} cannot be read ({describe(error)}).", "Check its path.") from error


def _places(names: Iterator[str], remote: bool) -> Iterator[Place]:
    for name in names:
        yield place_of(name, from_remote_list=remote)


def _names(file: BinaryIO, by_nul: bool) -> Iterator[str]:
    separator, rest = (b"\0" if by_nul else b"\n"), b""
    block = file.read(_BLOCK) if by_nul else _without_mark(file.read(_BLOCK))
    while block:
        *whole, rest = (rest + block).split(separator)
        yield from _texts(whole, by_nul)
        block = file.read(_BLOCK)
    yield from _texts([rest], by_nul)


def _without_mark(start: bytes) -> bytes:
    """The start of a list of lines without a byte-order mark. Raises `InputError` for that of UTF-16."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError("The list is UTF-16.", "Save it as UTF-8.")
    return start.removeprefix(codecs.BOM_UTF8)


def _texts(names: list[bytes], by_nul: bool) -> Iterator[str]:
    for name in names:
        bare = name if by_nul else name.removesuffix(b"\r")
        if bare:
            yield os.fsdecode(bare)
