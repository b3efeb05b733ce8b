"""File signatures: the kind of a file that is not an image, by its first bytes."""

from __future__ import annotations

import re

_KINDS: tuple[tuple[bytes, str], ...] = (
    (rb"%PDF", "a PDF document"),
    (rb"8BPS", "a Photoshop document"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (rb"\x76\x2f\x31\x01", "an OpenEXR image"),
    (rb"#\?RADIANCE|#\?RGBE", "a Radiance HDR image"),
    (rb"SDPX|XPDS", "a DPX image"),
    (rb"qoif", "a QOI image"),
    (rb"DDS ", "a DirectDraw surface"),
    (rb"P[1-7fF]\s", "a Netpbm image"),
    (rb"\0\0[\x01\x02]\0", "an icon or cursor"),
    (rb"SIMPLE  =", "a FITS image"),
    (rb"gimp xcf", "a GIMP document"),
    (rb"....ftyp(?:isom|mp4|M4V|qt  |3gp|dash|iso)", "a video"),
    (rb"....(?:moov|mdat|wide)", "a video"),
    (rb"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (rb"RIFF....AVI ", "a video"),
    (rb"....ftyp(?:crx )", "a raw photograph"),
    (rb"FUJIFILMCCD-RAW|IIRO|IIU\0", "a raw photograph"),
    (rb"PK\x03\x04", "a ZIP archive or an office document"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"7z\xbc\xaf", "a 7-Zip archive"),
    (rb"Rar!", "a RAR archive"),
    (rb"(?:\xef\xbb\xbf)?\s*<svg|(?:\xef\xbb\xbf)?\s*<\?xml.*?<svg", "an SVG drawing"),
    (rb"(?:\xef\xbb\xbf)?\s*(?:<!DOCTYPE html|<html|<head|<body)", "a web page"),
    (rb"(?:\xef\xbb\xbf)?\s*<\?xml", "an XML document"),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file itself"),
    (rb"\x7fELF|MZ", "a program"),
)
_READABLE: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"RIFF....WEBP", "WebP"),
    (rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]", "TIFF"),
    (rb"BM", "BMP"),
    (rb"GIF8[79]a", "GIF"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"....ftyp(?:avif|avis)", "AVIF"),
    (rb"....ftyp(?:heic|heix|hevc|mif1|msf1)", "HEIF"),
)


def readable_format(head: bytes) -> str | None:
    """The format that varsr reads and whose signature `head` bears."""
    return next((name for pattern, name in _READABLE if re.match(pattern, head, re.DOTALL)), None)


def contents(head: bytes) -> str:
    """The first bytes of a file that could not be opened, as the end of a sentence that begins with its name."""
    if not head:
        return "is empty"
    if not head.strip(b"\0"):
        return "holds only zeros"
    for pattern, kind in _KINDS:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return f"is {kind}"
    if name := readable_format(head):
        return f"begins as a {name} file, but its header is damaged or cut off"
    if _is_text(head):
        return "is a text file"
    return "does not begin as a file of any image format"


def _is_text(head: bytes) -> bool:
    try:
        text = head[:200].decode("utf-8", "strict" if len(head) <= 200 else "ignore")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c.isspace() for c in text)
