"""Metadata that is carried from an input to its result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metadata:
    """Everything a file holds beside the pixels.

    `exif` is "Exif", two zeros and a little-endian TIFF header with its directories. `dpi` is (horizontal, vertical)
    in pixels an inch. `plays` says how often an animation is shown, 0 for ever. `texts` are the keywords and values
    of a PNG, `comment` is that of a JPEG or GIF, `iptc` an IPTC-IIM block. `cicp` holds primaries, transfer, matrix and
    range (ITU-T H.273) of an HDR image, whose pixels stay coded so. `ink_profile` is the ICC profile of a CMYK image,
    whose pixels here are sRGB.
    """

    exif: bytes | None = None
    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
    plays: int | None = None
    texts: tuple[tuple[str, str], ...] = ()
    comment: bytes | None = None
    iptc: bytes | None = None
    cicp: tuple[int, int, int, int] | None = None
    ink_profile: bytes | None = None


NO_METADATA = Metadata()
