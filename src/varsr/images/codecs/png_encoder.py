"""PNG, encoded as the rows come, each with the filter that leaves the smallest differences (W3C PNG, 9 and 12.7)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from varsr.images.codecs.png import SIGNATURE, chunk
from varsr.images.rounding import Pixels

_ROWS = 64
"""Rows that are filtered at a time."""
_WINDOW, _MEMORY = 15, 9  # of zlib, the largest it has
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""By the number of channels."""

Bytes = NDArray[np.uint8]


def write(file: BinaryIO, bands: Iterable[Pixels], shape: tuple[int, int, int], chunks: bytes, level: int) -> None:
    """Write pixels of 8 or 16 bits, which come in bands of rows and are (H, W, C) in all.

    `chunks` stand behind the header, `level` is that of zlib, 0 to 9.
    """
    height, width, planes = shape
    compressor = zlib.compressobj(level, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_FILTERED)
    before: Bytes | None = None
    for band in bands:
        rows = _bytes_of(band)
        if before is None:
            depth = 8 * band.dtype.itemsize
            file.write(
                SIGNATURE + chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, _COLOR_TYPES[planes], 0, 0, 0))
            )
            file.write(chunks)
            before = np.zeros((1, rows.shape[1]), np.uint8)
        for top in range(0, len(rows), _ROWS):
            part = rows[top : top + _ROWS]
            _write_pixels(file, compressor.compress(_filtered(part, before, planes * band.dtype.itemsize).tobytes()))
            before = part[-1:]
    _write_pixels(file, compressor.flush())
    file.write(chunk(b"IEND", b""))


def _write_pixels(file: BinaryIO, compressed: bytes) -> None:
    if compressed:
        file.write(chunk(b"IDAT", compressed))


def _bytes_of(band: Pixels) -> Bytes:
    """The bytes of each row, (rows, W C size), in the order of a PNG."""
    ordered = np.ascontiguousarray(band, band.dtype.newbyteorder(">"))
    return ordered.view(np.uint8).reshape(len(band), -1)


def _filtered(rows: Bytes, before: Bytes, step: int) -> Bytes:
    """Rows (N, B) with the byte of their filter and filtered, (N, 1 + B).

    `before` is the row above the first, `step` the bytes of a pixel. The filter is chosen by the least sum of absolute
    differences, as the standard advises.
    """
    above = np.concatenate((before, rows[:-1]))
    left, above_left = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], above_left[:, step:] = rows[:, :-step], above[:, :-step]
    candidates = (
        rows,
        rows - left,
        rows - above,
        rows - _average(left, above),
        rows - _paeth(left, above, above_left),
    )
    costs = [np.minimum(candidate, -candidate).sum(axis=1, dtype=np.int64) for candidate in candidates]
    best = np.argmin(costs, axis=0)
    out = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    out[:, 0] = best
    for number, candidate in enumerate(candidates):
        chosen = best == number
        out[chosen, 1:] = candidate[chosen]
    return out


def _average(left: Bytes, above: Bytes) -> Bytes:
    return ((left.astype(np.uint16) + above) >> 1).astype(np.uint8)


def _paeth(left: Bytes, above: Bytes, above_left: Bytes) -> Bytes:
    """The neighbour that is nearest to left + above - above left."""
    a, b, c = (part.astype(np.int16) for part in (left, above, above_left))
    to_left, to_above, to_above_left = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where(to_above <= to_above_left, above, above_left)
    return np.where((to_left <= to_above) & (to_left <= to_above_left), left, nearest)
