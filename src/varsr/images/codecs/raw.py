"""Raw photographs, developed by LibRaw: the camera's white balance, its own exposure, 16 bits a channel, upright."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from varsr.choices import RawColors
from varsr.images.coding import coding_of_cicp, matrix_profile
from varsr.images.exif import HEADER, descriptive, descriptive_of_tiff, page_offsets, without_raw
from varsr.images.metadata import Metadata
from varsr.images.rounding import scaled
from varsr.images.size import Size
from varsr.tiling.array import FloatImage

if TYPE_CHECKING:
    import rawpy

_SRGB_CURVE = (2.4, 12.92)
"""Exponent and slope near black of IEC 61966-2-1, as LibRaw takes them."""
_REC2020 = (9, 13, 0, 1)
"""Primaries of Rec. 2020 with the curve of sRGB (ITU-T H.273)."""


def size_of(path: Path) -> Size:
    """The size of the upright photograph. Raises `OSError` where LibRaw cannot read it."""
    import rawpy

    try:
        with rawpy.imread(str(path)) as raw:
            return _size(raw)
    except rawpy.LibRawError as error:
        raise OSError(_reason(error)) from error


def develop(path: Path, colors: RawColors) -> tuple[FloatImage, Metadata]:
    """The pixels (H, W, 3) in [0, 1] and the metadata, with a profile for wide colours. Raises `OSError`."""
    import rawpy

    wide = colors == "wide"
    space = rawpy.ColorSpace.Rec2020 if wide else rawpy.ColorSpace.sRGB
    try:
        with rawpy.imread(str(path)) as raw:
            pixels = raw.postprocess(
                use_camera_wb=True, no_auto_bright=True, output_bps=16, gamma=_SRGB_CURVE, output_color=space
            )
            exif = exif_of(path) or _exif_of_preview(raw)
    except rawpy.LibRawError as error:
        raise OSError(_reason(error)) from error
    coding = coding_of_cicp(_REC2020)
    profile = matrix_profile(coding) if wide and coding is not None else None
    return scaled(pixels, 65_535), Metadata(exif=exif, icc_profile=profile)


def exif_of(path: Path) -> bytes | None:
    """The EXIF of a file that is built as a TIFF, which most are."""
    with path.open("rb") as file:
        offsets = page_offsets(file)
        return without_raw(descriptive_of_tiff(file, offsets[0])) if offsets else None


def _exif_of_preview(raw: rawpy.RawPy) -> bytes | None:
    """The EXIF of the JPEG within the file."""
    import rawpy

    try:
        preview = raw.extract_thumb()
    except rawpy.LibRawError:
        return None
    if not isinstance(preview.data, bytes):  # it is a bitmap
        return None
    with Image.open(io.BytesIO(preview.data), formats=["JPEG"]) as image:
        exif = image.info.get("exif")
    return descriptive(exif if isinstance(exif, bytes) and exif.startswith(HEADER) else None)


def _size(raw: rawpy.RawPy) -> Size:
    sizes = raw.sizes
    turned = sizes.flip in (5, 6)
    return (sizes.width, sizes.height) if turned else (sizes.height, sizes.width)


def _reason(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    return text.decode("ascii", "replace") if isinstance(text, bytes) else str(text) or type(error).__name__
