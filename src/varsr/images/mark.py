"""The mark of varsr in a result's EXIF, by which a later run knows it and the options that it was made with."""

from __future__ import annotations

from varsr.images.exif import ASCII, Entry, parse

_PROCESSING_SOFTWARE = 0x000B
_NAME, _SEPARATOR = "varsr", ": "


def marked(exif: bytes | None, made_with: str = "") -> bytes:
    """An EXIF block with the mark, and in it the options that the image was made with."""
    parsed = parse(exif)
    text = _NAME + (_SEPARATOR + made_with if made_with else "")
    data = text.encode("ascii", "backslashreplace") + b"\0"
    parsed.main[_PROCESSING_SOFTWARE] = Entry(ASCII, len(data), data)
    written = parsed.to_bytes()
    assert written is not None
    return written


def is_marked(exif: bytes | None) -> bool:
    """True for a block that `marked` has written."""
    return made_with(exif) is not None


def made_with(exif: bytes | None) -> str | None:
    """The options in a mark: empty where it holds none; None without a mark."""
    entry = parse(exif).main.get(_PROCESSING_SOFTWARE)
    if entry is None:
        return None
    name, _, options = entry.data.rstrip(b"\0").decode("ascii", "replace").partition(_SEPARATOR)
    return options if name == _NAME else None
