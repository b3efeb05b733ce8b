"""Encodings: how results are written, what a format cannot hold, and what is lost in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from varsr.choices import CmykName, TiffCompression
from varsr.errors import RequestError
from varsr.images.coding import HDR
from varsr.images.exif import shortened
from varsr.images.formats import BY_SUFFIX, DEFAULT_PNG_LEVEL, DEFAULT_QUALITY, Format, has_extra, how_to_get
from varsr.images.photo import Photo
from varsr.images.size import Size


@dataclass(frozen=True)
class Encoding:
    """Encoding of results, where the format leaves a choice. `format` serves names without a suffix.

    On a `background`, red, green and blue from 0 to 255, transparent images become opaque. `made_with` stands in the
    mark of results: the options that they were made with.
    """

    quality: int = DEFAULT_QUALITY
    lossless: bool = False
    format: Format | None = None
    background: tuple[int, int, int] | None = None
    png_level: int = DEFAULT_PNG_LEVEL
    """Effort of compression, 0 to 9: smaller files for more time."""
    tiff_compression: TiffCompression = "deflate"
    cmyk: CmykName = "convert"
    """CMYK images are converted to sRGB, or kept CMYK by their profile where the format holds it."""
    made_with: str = ""

    def __post_init__(self) -> None:
        """Raise `RequestError` for a quality or a colour that cannot be."""
        if not 1 <= self.quality <= 100:
            raise RequestError(f"`quality` cannot be {self.quality}.", "Use 1 to 100.")
        if self.background is not None and not all(0 <= value <= 255 for value in self.background):
            raise RequestError(f"`background` cannot be {self.background}.", "Use red, green and blue from 0 to 255.")
        if not 0 <= self.png_level <= 9:
            raise RequestError(f"`png_level` cannot be {self.png_level}.", "Use 0 to 9.")

    def of(self, path: Path) -> Format:
        """The format of a file. Raises `RequestError` where its suffix names none that can be written, or another."""
        named = BY_SUFFIX.get(path.suffix.lower())
        if self.format is not None and named not in (None, self.format):
            raise RequestError(
                f"{path} does not match `format` {self.format.name.lower()}.", "Use the same format for both."
            )
        found = self.format or named
        if found is None:
            raise RequestError(
                f"{path} has no suffix of an output format.", f"Use one of {', '.join(BY_SUFFIX)}, or `format`."
            )
        if not has_extra(found.extra):
            raise RequestError(f"{path}: {found.name} is not installed.", how_to_get(found.extra))
        return found

    def keeps_ink(self, photo: Photo, format: Format) -> bool:
        """True for a CMYK photo that is written as CMYK."""
        return self.cmyk == "keep" and format.cmyk and photo.metadata.ink_profile is not None


DEFAULT = Encoding()


def check_fits(path: Path, size: Size, photo: Photo, encoding: Encoding = DEFAULT) -> None:
    """Raise `RequestError` where the format of `path` cannot hold `photo` at such a size, or not as asked."""
    format, transparent = encoding.of(path), photo.transparent and encoding.background is None
    if photo.more_frames and not format.several:
        raise RequestError(
            f"{path}: {format.name} holds one image, and the input has {1 + len(photo.more_frames)}.",
            "Write GIF, WebP, PNG, TIFF or AVIF.",
        )
    if transparent and not format.transparency:
        raise RequestError(
            f"{path}: {format.name} cannot hold the transparency of the input.",
            "Write PNG, WebP, TIFF or AVIF, or flatten it with `background` white.",
        )
    if (cicp := photo.metadata.cicp) is not None and format.name != "PNG":
        raise RequestError(
            f"{path}: {format.name} is written without HDR, and the input is coded for {HDR[cicp[1]]}.",
            "Write PNG, which keeps it.",
        )
    if max(size) > format.longest:
        raise RequestError(
            f"{path}: {format.name} holds at most {format.longest} pixels a side, not {max(size)}.",
            "Write PNG or TIFF.",
        )
    if encoding.lossless and format.lossless is None:
        raise RequestError(f"{path}: {format.name} cannot be lossless.", "Write PNG, WebP, TIFF or AVIF.")


def losses(photo: Photo, path: Path, encoding: Encoding = DEFAULT) -> tuple[str, ...]:
    """Parts of a photo that its file at `path` cannot hold, a phrase for each, without those given up on purpose."""
    format, notes = encoding.of(path), list(photo.notes)
    if photo.sixteen_bit and not format.sixteen_bit and photo.format == format.name:
        notes.append(f"{format.name} is written with 8 bits a channel; PNG and TIFF keep all")
    if format.name == "HEIF" and photo.sixteen_bit and photo.format != "HEIF":
        notes.append("HEIF is written with 10 bits a channel; PNG and TIFF keep all")
    exif, xmp = photo.metadata.exif, photo.metadata.xmp
    if format.metadata and exif and len(exif) > format.block:
        rest = shortened(exif, format.block)
        notes.append(f"the EXIF is too long for {format.name} and lost {'its maker note' if rest else 'its entries'}")
    if encoding.cmyk == "keep" and photo.ink and not encoding.keeps_ink(photo, format):
        missing = "its file has no profile" if format.cmyk else f"{format.name} does not hold CMYK"
        notes.append(f"CMYK was written as sRGB: {missing}")
    if "xmp" in format.metadata and xmp and len(xmp) > format.block:
        notes.append(f"the XMP is too long for {format.name} and was left out")
    return tuple(notes)
