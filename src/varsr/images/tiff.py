"""Writing TIFF: eight and sixteen bits, one page or several, at once or as the rows come."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from varsr.images.exif import exif_tags, write_directories
from varsr.images.metadata import Metadata

logging.getLogger("tifffile").disabled = True  # of what matters it raises errors too
ROWS_PER_STRIP = 64
BIG = 2**32 - 2**26  # bytes of pixels beyond which offsets of 32 bits may not do
_XMP_TAG, _IPTC_TAG = 700, 33723
_BYTE, _UNDEFINED = 1, 7

Bytes = NDArray[Any]
"""(rows, W, C) of uint8 or uint16."""


@dataclass(frozen=True)
class Page:
    """An image in bands of rows; `shape` is (H, W, C)."""

    bands: Iterable[Bytes]
    shape: tuple[int, int, int]
    depth: np.dtype[Any]
    metadata: Metadata


def write_pages(file: Path | BinaryIO, pages: Sequence[Page]) -> None:
    """Write a file of one page or more, as BigTIFF where its pixels ask for it. EXIF is that of the first page."""
    big = sum(math.prod(page.shape) * page.depth.itemsize for page in pages) > BIG
    exif = pages[0].metadata.exif
    with tifffile.TiffWriter(file, bigtiff=big, byteorder="<") as writer:
        for number, page in enumerate(pages):
            height, width, planes = page.shape
            writer.write(
                (zlib.compress(np.ascontiguousarray(strip).tobytes()) for strip in strips(page.bands, ROWS_PER_STRIP)),
                shape=(height, width) if planes == 1 else page.shape,
                dtype=page.depth,
                rowsperstrip=ROWS_PER_STRIP,
                **_options(planes, page.metadata, exif_tags(exif, big) if number == 0 else []),
            )
    write_directories(file, exif)


def strips(bands: Iterable[Bytes], rows: int) -> Iterator[Bytes]:
    """Bands of any height as strips of `rows` rows, the last one shorter."""
    waiting: list[Bytes] = []
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
    """What tifffile is told of so many planes and of the metadata."""
    blocks = [(_XMP_TAG, _BYTE, metadata.xmp), (_IPTC_TAG, _UNDEFINED, metadata.iptc)]
    return {
        "photometric": "rgb" if planes >= 3 else "minisblack",
        "planarconfig": "contig" if planes > 1 else None,
        "extrasamples": ["unassalpha"] if planes in (2, 4) else None,
        "compression": "zlib",
        "iccprofile": metadata.icc_profile,
        "resolution": metadata.dpi,
        "resolutionunit": "INCH" if metadata.dpi else None,
        "extratags": [(tag, type, len(block), block, True) for tag, type, block in blocks if block] + tags,
        "metadata": None,
        "software": False,
    }
