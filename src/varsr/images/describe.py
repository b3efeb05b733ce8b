"""Metadata of an opened image, from Pillow and from the structure of its file."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import BinaryIO

import tifffile
from PIL import Image

from varsr.images.codecs import png
from varsr.images.codecs.heif import read_properties
from varsr.images.coding import HDR, Coding, coding_of_cicp, coding_of_gamma
from varsr.images.exif import bytes_of_tiff, descriptive, descriptive_of_tiff, has_density
from varsr.images.metadata import Metadata
from varsr.images.xmp import corrected

_X_RESOLUTION, _IPTC = 282, 33723  # tags of a TIFF
_IPTC_RESOURCE = 0x0404  # of Photoshop's, in a JPEG
_GAIN_MAPS = (b"hdr-gain-map", b"hdrgainmap")  # in the namespaces of Adobe and Apple
_DENSEST = 65_535  # pixels an inch that every format can hold


def exif_of(image: Image.Image, file: BinaryIO, number: int) -> bytes | None:
    """The EXIF of an opened image, image `number` of its file."""
    if image.format == "TIFF":
        file.seek(0)
        with tifffile.TiffFile(file) as tiff:
            return descriptive_of_tiff(file, tiff.pages[number].offset)
    raw = image.info.get("exif")
    if raw is None and image.format == "PNG":
        raw, _ = png.raw_profiles(_texts(image))
    return descriptive(raw)


def metadata_of(image: Image.Image, exif: bytes | None) -> Metadata:
    """The metadata of a loaded image."""
    texts, comment = _texts(image), image.info.get("comment")
    return Metadata(
        exif=exif,
        icc_profile=image.info.get("icc_profile"),
        dpi=_density(image, exif),
        xmp=corrected(_xmp(image)),
        plays=_plays(image),
        texts=png.kept_texts(texts),
        comment=comment.encode() if isinstance(comment, str) else comment,
        iptc=_iptc(image, texts),
    )


def _texts(image: Image.Image) -> dict[str, str]:
    found = getattr(image, "text", None)
    return dict(found) if isinstance(found, dict) else {}


def _density(image: Image.Image, exif: bytes | None) -> tuple[float, float] | None:
    """Pixels an inch, where the file has a sensible number."""
    if image.format == "TIFF" and _X_RESOLUTION not in image.tag_v2:  # type: ignore[attr-defined]
        return None  # Pillow says 1
    if image.format in ("JPEG", "MPO") and not image.info.get("jfif_unit") and not has_density(exif):
        return None  # Pillow says 72
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    sensible = all(math.isfinite(value) and 0 < value <= _DENSEST for value in (across, down))
    return (across, down) if sensible and (across, down) != (1, 1) else None


def _plays(image: Image.Image) -> int | None:
    """The number of times an animation plays, 0 for endless."""
    if not getattr(image, "is_animated", False):
        return None
    loop = image.info.get("loop")
    if image.format == "GIF":  # which counts how often it is shown again
        return 1 if loop is None else loop + 1 if loop else 0
    return loop


def _iptc(image: Image.Image, texts: dict[str, str]) -> bytes | None:
    found: object = None
    if image.format in ("JPEG", "MPO"):
        resources = image.info.get("photoshop")
        found = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else None
    elif image.format == "PNG":
        _, found = png.raw_profiles(texts)
    return found if isinstance(found, bytes) and found[:1] == b"\x1c" else None


def iptc_of_tiff(file: BinaryIO, number: int) -> bytes | None:
    """The IPTC block of a page, which is often said to be of whole numbers."""
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        found = bytes_of_tiff(file, tiff.pages[number].offset, _IPTC)
    return found if found is not None and found[:1] == b"\x1c" else None


def left_out(image: Image.Image) -> tuple[str, ...]:
    """A note on what else stands in the file of a JPEG or HEIF: gain map, depth map, further images."""
    auxiliary = " ".join(image.info.get("aux") or {}).lower()
    xmp = (_xmp(image) or b"").lower()
    gain_map = "hdrgainmap" in auxiliary or any(name in xmp for name in _GAIN_MAPS)
    others = getattr(image, "n_frames", 1) - 1 - (gain_map and image.format == "MPO")
    parts = ["the gain map"] if gain_map else []
    if image.info.get("depth_images"):
        parts.append("the depth map")
    if others > 0:
        parts.append("a further image" if others == 1 else f"{others} further images")
    return (f"left out {' and '.join(parts)} of the file",) if parts else ()


def with_coding(metadata: Metadata, format: str, file: BinaryIO) -> tuple[Metadata, Coding | None]:
    """Add the coding that the file gives by numbers. An ICC profile outranks it, except for an HDR transfer."""
    if format not in ("PNG", "AVIF", "HEIF"):
        return metadata, None
    if format == "PNG":
        header = png.read_header(file)
        cicp = header.cicp
        coding = coding_of_cicp(cicp) if cicp else None
        if cicp is None and not header.is_srgb:
            coding = coding_of_gamma(header.gamma, header.chromaticities)
    else:
        cicp = read_properties(file).cicp
        coding = coding_of_cicp(cicp)
    if cicp is not None and cicp[1] in HDR:
        return replace(metadata, icc_profile=None, cicp=(cicp[0], cicp[1], 0, 1)), None
    return metadata, coding


def _xmp(image: Image.Image) -> bytes | None:
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return found.encode() if isinstance(found, str) else found
