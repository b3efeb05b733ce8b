"""TIFF: pages of any depth that tifffile reads, and writing 8 and 16 bits, at once or as the rows come."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from varsr.choices import TiffCompression
from varsr.images.exif import (
    ORIENTATION,
    descriptive_of_tiff,
    exif_tags,
    page_offsets,
    write_directories,
)
from varsr.images.metadata import Metadata
from varsr.images.rounding import Pixels, scaled
from varsr.tiling.array import FloatImage

logging.getLogger("tifffile").disabled = True  # of what matters it raises errors too
ROWS_PER_STRIP = 64
_ZSTD_LEVEL = 9
BIGTIFF_ABOVE_BYTES = 2**32 - 2**26
"""Pixels of pixels beyond which offsets of 32 bits may not do."""
_XMP_TAG, _IPTC_TAG, _PROFILE_TAG = 700, 33723, 34675
_BYTE, _UNDEFINED = 1, 7
_SUBFILE_TYPE = 254
_SMALLER, _MASK = 1, 4  # bits of it: a smaller version of another page, another page's transparency
_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _PHOTOMETRIC = 258, 339, 262
_GREY_OR_RGB = (0, 1, 2)
_UNSIGNED = 1
_COMPRESSION, _RARE_COMPRESSIONS = 259, (34887, 50001, 50002)  # LERC, WebP, JPEG XL


@dataclass(frozen=True)
class StoredPage:
    """A page of a file as tifffile finds it: its size (height, width), bits a channel and metadata."""

    number: int
    size: tuple[int, int]
    depth: int
    orientation: int
    metadata: Metadata


def needs_tifffile(image: Image.Image) -> bool:
    """True for an opened TIFF that Pillow would misread, or fail to decode with words on standard error."""
    rare = image.tag_v2.get(_COMPRESSION) in _RARE_COMPRESSIONS  # type: ignore[attr-defined]
    return rare or image.mode in ("I", "F", "LAB")


def is_sixteen_bit(image: Image.Image) -> bool:
    """True for an opened TIFF, grey or in colour, with more than 8 bits a channel."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    depths, formats = set(tags.get(_BITS_PER_SAMPLE, (1,))), set(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
    known = tags.get(_PHOTOMETRIC) in _GREY_OR_RGB and formats == {_UNSIGNED}
    return known and len(depths) == 1 and 8 < depths.pop() <= 16


def page_numbers(image: Image.Image, count: int) -> list[int]:
    """The pages of an opened TIFF, without smaller versions and masks of others; the first where all are such."""
    return [number for number in range(count) if _is_page(image, number)] or [0]


def _is_page(image: Image.Image, number: int) -> bool:
    image.seek(number)
    return not image.tag_v2.get(_SUBFILE_TYPE, 0) & (_SMALLER | _MASK)  # type: ignore[attr-defined]


def stored_pages(file: BinaryIO) -> list[StoredPage]:
    """The pages of a TIFF that Pillow does not read, chosen as `page_numbers` does; empty where there are none."""
    count = len(page_offsets(file))
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        pages = [tiff.pages[number].aspage() for number in range(count)]
    shown = [n for n, page in enumerate(pages) if not page.subfiletype & (_SMALLER | _MASK)] or [0][:count]
    return [_stored(file, number, pages[number]) for number in shown]


def _stored(file: BinaryIO, number: int, page: tifffile.TiffPage) -> StoredPage:
    tags = page.tags
    return StoredPage(
        number,
        (page.imagelength, page.imagewidth),
        page.bitspersample or 8,
        int(tags[ORIENTATION].value) if ORIENTATION in tags else 1,
        Metadata(
            exif=descriptive_of_tiff(file, page.offset),
            icc_profile=tags[_PROFILE_TAG].value if _PROFILE_TAG in tags else None,
        ),
    )


def read(file: Path | BinaryIO, number: int) -> FloatImage:
    """The pixels (H, W, C) in [0, 1] of a page of any depth.

    Raises `OSError` where they cannot be decoded, `ValueError` with the reason where their kind is not known.
    """
    if not isinstance(file, Path):
        file.seek(0)
    try:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages[number]
            assert isinstance(page, tifffile.TiffPage)
            _check_kind(page)
            pixels = page.asarray()
    except tifffile.TiffFileError as error:
        raise OSError(str(error)) from error
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0)
    values = scaled(pixels, 2**page.bitspersample - 1)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        values = 1 - values
    return _with_alpha(values, page.extrasamples)


def _check_kind(page: tifffile.TiffPage) -> None:
    """Raise `ValueError` with the reason where a page's numbers cannot be taken for light in a known way."""
    if page.sampleformat != tifffile.SAMPLEFORMAT.UINT:
        kinds = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
        kind = kinds.get(int(page.sampleformat or 0), "unknown")
        raise ValueError(f"it holds {kind} numbers of {page.bitspersample} bits a channel")
    if page.bitspersample > 16:
        raise ValueError(f"it has {page.bitspersample} bits a channel")
    if page.photometric not in _GREY_OR_RGB:
        name = getattr(page.photometric, "name", str(page.photometric))
        raise ValueError(f"its colours are {name} of {page.bitspersample} bits a channel")


def _with_alpha(values: FloatImage, extra: Sequence[int]) -> FloatImage:
    """Channels without those that are neither colour nor transparency, the colour as if there were no transparency."""
    colors = values.shape[-1] - len(extra)
    color, alpha = values[..., :colors], values[..., colors : colors + 1]
    if not extra or extra[0] == tifffile.EXTRASAMPLE.UNSPECIFIED:
        return color
    if extra[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
        color = (color / np.maximum(alpha, 1 / 65_535)).clip(0, 1)
    return np.concatenate((color, alpha), axis=-1)


@dataclass(frozen=True)
class Page:
    """An image in bands of rows; `shape` is (H, W, C)."""

    bands: Iterable[Pixels]
    shape: tuple[int, int, int]
    depth: np.dtype[Any]
    metadata: Metadata


def write_pages(file: Path | BinaryIO, pages: Sequence[Page], compression: TiffCompression = "deflate") -> None:
    """Write a file of one page or more, as BigTIFF where its pixels ask for it. EXIF is that of the first page.

    Compressed are the differences of neighbouring pixels (TIFF 6.0, section 14).
    """
    encode = _ENCODERS[compression]
    big = sum(math.prod(page.shape) * page.depth.itemsize for page in pages) > BIGTIFF_ABOVE_BYTES
    exif = pages[0].metadata.exif
    with tifffile.TiffWriter(file, bigtiff=big, byteorder="<") as writer:
        for number, page in enumerate(pages):
            height, width, planes = page.shape
            writer.write(
                (encode(strip) for strip in strips(page.bands, ROWS_PER_STRIP)),
                shape=(height, width) if planes == 1 else page.shape,
                dtype=page.depth,
                rowsperstrip=ROWS_PER_STRIP,
                compression=_NAMES[compression],
                predictor=None if compression == "none" else tifffile.PREDICTOR.HORIZONTAL,
                **_options(planes, page.metadata, exif_tags(exif, big) if number == 0 else []),
            )
    write_directories(file, exif)


def _differences(strip: Pixels) -> bytes:
    """The bytes of a strip (rows, W, C), each pixel less the one to its left."""
    differences = strip.copy()
    differences[:, 1:] -= strip[:, :-1]
    return differences.astype(strip.dtype.newbyteorder("<"), copy=False).tobytes()


_ENCODERS: dict[TiffCompression, Callable[[Pixels], bytes]] = {
    "deflate": lambda strip: zlib.compress(_differences(strip)),
    "lzw": lambda strip: bytes(imagecodecs.lzw_encode(_differences(strip))),
    "zstd": lambda strip: bytes(imagecodecs.zstd_encode(_differences(strip), _ZSTD_LEVEL)),
    "none": lambda strip: strip.astype(strip.dtype.newbyteorder("<"), copy=False).tobytes(),
}
_NAMES = {"deflate": "zlib", "lzw": "lzw", "zstd": "zstd", "none": None}  # as tifffile calls them


def without_grey_alpha(bands: Iterable[Pixels], planes: int) -> tuple[Iterable[Pixels], int]:
    """Grey with transparency as RGB with transparency: few programs read it from a TIFF."""
    if planes != 2:
        return bands, planes
    return (band[..., [0, 0, 0, 1]] for band in bands), 4


def strips(bands: Iterable[Pixels], rows: int) -> Iterator[Pixels]:
    """Bands of any height as strips of `rows` rows, the last one shorter."""
    waiting: list[Pixels] = []
    for band in bands:
        waiting.append(band)
        joined = np.concatenate(waiting)
        whole = len(joined) // rows * rows
        for top in range(0, whole, rows):
            yield joined[top : top + rows]
        waiting = [joined[whole:]]
    if waiting and len(waiting[0]):
        yield waiting[0]


def _options(planes: int, metadata: Metadata, tags: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Arguments of tifffile's writer for so many planes and the metadata."""
    ink = metadata.ink_profile is not None
    blocks = [(_XMP_TAG, _BYTE, metadata.xmp), (_IPTC_TAG, _UNDEFINED, metadata.iptc)]
    return {
        "photometric": "separated" if ink else "rgb" if planes >= 3 else "minisblack",
        "planarconfig": "contig" if planes > 1 else None,
        "extrasamples": ["unassalpha"] if planes in (2, 4) and not ink else None,
        "iccprofile": metadata.ink_profile or metadata.icc_profile,
        "resolution": metadata.dpi,
        "resolutionunit": "INCH" if metadata.dpi else None,
        "extratags": [(tag, type, len(block), block, True) for tag, type, block in blocks if block] + tags,
        "metadata": None,
        "software": False,
    }
