"""Writing large pictures row by row, as they are made: PNG and TIFF."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import png

from varsr.images.metadata import Metadata
from varsr.images.photo import Photo
from varsr.images.png import HEADER_BYTES, metadata_chunks
from varsr.images.rounding import rounded
from varsr.images.size import Size
from varsr.images.tiff import Bytes, Page, write_pages
from varsr.tiling.array import FloatImage

FORMATS = ("PNG", "TIFF")


def write_rows(photo: Photo, size: Size, bands: Iterable[FloatImage], path: Path, format: str) -> None:
    """Write `photo` enlarged to `size`, whose colour in sRGB comes in bands, as PNG or TIFF."""
    depth: np.dtype[Any] = np.dtype(np.uint16 if photo.deep else np.uint8)
    planes = (1 if photo.grey else 3) + (photo.alpha is not None)
    rows = (rounded(band, depth) for band in photo.channel_bands(size, bands))
    if (format, planes) == ("TIFF", 2):  # few programs read grey with transparency from a TIFF
        rows, planes = (band[..., [0, 0, 0, 1]] for band in rows), 4
    write = _write_png if format == "PNG" else _write_tiff
    write(rows, (*size, planes), depth, path, photo.metadata)


def _write_png(
    bands: Iterable[Bytes], shape: tuple[int, int, int], depth: np.dtype[Any], path: Path, metadata: Metadata
) -> None:
    height, width, planes = shape
    writer = png.Writer(width, height, greyscale=planes < 3, alpha=planes in (2, 4), bitdepth=8 * depth.itemsize)
    rows = (row.astype(depth.newbyteorder(">")).tobytes() for band in bands for row in band)
    with path.open("wb") as file:
        writer.write_packed(_WithMetadata(file, metadata_chunks(metadata)), rows)


class _WithMetadata:
    """A PNG file into which metadata is put behind the header."""

    def __init__(self, file: BinaryIO, chunks: bytes) -> None:
        self._file = file
        self._chunks = chunks
        self._written = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._written += len(data)
        if self._written >= HEADER_BYTES and self._chunks:
            assert self._written == HEADER_BYTES
            self._file.write(self._chunks)
            self._chunks = b""


def _write_tiff(
    bands: Iterable[Bytes], shape: tuple[int, int, int], depth: np.dtype[Any], path: Path, metadata: Metadata
) -> None:
    write_pages(path, [Page(bands, shape, depth, metadata)])
