"""The formats of image files: which are read, which are written, by what suffix and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any

DEFAULT_QUALITY = 95
DEFAULT_PNG_LEVEL = 4
"""Half of the time of zlib's default, 6, for files 2 % larger."""
READ = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
RAW_SUFFIXES = (
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mos", ".mrw", ".nef", ".nrw",
    ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip
"""Of raw photographs. Many are TIFF files in which the first image is a thumbnail."""


@dataclass(frozen=True)
class Format:
    """A format that can be written. `lossless` holds Pillow's options for it, None without a lossless form.

    `longest` is in pixels a side, `block` in bytes of EXIF or of XMP. `profile` is True where it holds ICC profiles,
    `metadata` names the kinds that Pillow writes.
    """

    name: str
    suffixes: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    lossless: dict[str, Any] | None = field(default_factory=dict)
    has_quality: bool = False
    transparency: bool = True
    sixteen_bit: bool = False
    several: bool = False
    longest: int = 2**31 - 1
    block: int = 2**31 - 1
    profile: bool = True
    metadata: tuple[str, ...] = ()
    extra: str = ""
    """The extra of varsr that installs what the format needs."""
    cmyk: bool = False


FORMATS = (
    Format(
        "JPEG",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        {"subsampling": "4:4:4"},
        lossless=None,
        has_quality=True,
        transparency=False,
        longest=65_535,
        block=65_500,
        metadata=("exif", "icc_profile", "dpi", "xmp", "comment", "extra"),
        cmyk=True,
    ),
    Format("PNG", (".png", ".apng"), sixteen_bit=True, several=True, profile=True, metadata=()),
    Format(
        "WEBP",
        (".webp",),
        {"method": 4},
        {"lossless": True},
        has_quality=True,
        several=True,
        longest=16_383,
        metadata=("exif", "icc_profile", "xmp"),
    ),
    Format("TIFF", (".tif", ".tiff"), sixteen_bit=True, several=True, metadata=(), cmyk=True),
    Format("BMP", (".bmp",), transparency=False, profile=False, metadata=("dpi",)),
    Format("GIF", (".gif",), several=True, longest=65_535, profile=False, metadata=("comment",)),
    Format(
        "AVIF",
        (".avif",),
        {},
        {"quality": 100, "subsampling": "4:4:4"},
        has_quality=True,
        several=True,
        longest=65_535,
        metadata=("exif", "icc_profile", "xmp"),
    ),
    Format("HEIF", (".heic", ".heif"), has_quality=True, sixteen_bit=True, longest=16_384, extra="heif"),
    Format("JXL", (".jxl",), has_quality=True, sixteen_bit=True, longest=2**30, extra="jxl"),
)
_PACKAGES = {"heif": "pillow_heif", "jxl": "pyjpegxl", "raw": "rawpy"}
BY_SUFFIX = {suffix: format for format in FORMATS for suffix in format.suffixes}
READ_SUFFIXES = tuple(BY_SUFFIX)


@cache
def has_extra(extra: str) -> bool:
    """True where the package that an extra of varsr stands for is installed, and for no extra."""
    return not extra or find_spec(_PACKAGES[extra]) is not None


def how_to_get(extra: str) -> str:
    """The line that installs an extra."""
    return f'Install it: pip install "varsr[{extra}]"'
