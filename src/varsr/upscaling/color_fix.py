"""Colour fixes: colours that generation may have shifted are brought back to the input's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from varsr.choices import ColorFix
from varsr.errors import OutputError, describe
from varsr.tiling.array import FloatImage

LEVELS = 5
REACH_ROWS = 2**LEVELS - 1  # that the blurs together see to either side
EPSILON = 1e-5
IN_MEMORY = 1 << 28  # bytes of waiting bands, beyond which they go to disk

RowReader = Callable[[int, int], FloatImage]
Channels = NDArray[np.float64]


def fixed_bands(steps: Iterable[FloatImage | None], reference: RowReader, fix: ColorFix) -> Iterator[FloatImage | None]:
    """Bands of a result (H, W, 3), from top to bottom, with the colours of the upsampled input.

    `reference` gives the rows of the input from one place to another. None, a step without a band, is passed on.
    """
    if fix == "adain":
        return _match_statistics(steps, reference)
    if fix == "wavelet":
        return _exchange_low_frequencies(steps, reference)
    return iter(steps)


class _Moments:
    """Mean and deviation of each channel of rows seen one band after the other."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = np.zeros(3)
        self._squares = np.zeros(3)

    def add(self, band: FloatImage) -> None:
        values = np.moveaxis(band, -1, 0).astype(np.float64, order="C")  # one after the other, they add up much faster
        self._count += values[0].size
        self._sum += values.sum((1, 2))
        self._squares += np.square(values, out=values).sum((1, 2))

    @property
    def mean(self) -> Channels:
        return self._sum / self._count

    @property
    def deviation(self) -> Channels:
        return np.sqrt(np.maximum(self._squares / self._count - np.square(self.mean), 0) + EPSILON)


def _match_statistics(steps: Iterable[FloatImage | None], reference: RowReader) -> Iterator[FloatImage | None]:
    """Each channel's mean and standard deviation as in the reference (AdaIN, Huang and Belongie 2017, eq. 8).

    They are known when the last band has come: until then bands wait on disk where there are many. Raises
    `OutputError` where the disk is full.
    """
    own, wanted = _Moments(), _Moments()
    lengths, top = [], 0
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as waiting:
        for band in steps:
            if band is None:
                yield None
                continue
            own.add(band)
            wanted.add(reference(top, top + len(band)))
            _append(waiting, band)
            lengths.append(band.shape)
            top += len(band)
            yield None
        gain = wanted.deviation / own.deviation
        offset = (wanted.mean - own.mean * gain).astype(np.float32)
        waiting.seek(0)
        for shape in lengths:
            band = np.frombuffer(waiting.read(4 * int(np.prod(shape))), np.float32).reshape(shape)
            yield band * gain.astype(np.float32) + offset


def _append(waiting: IO[bytes], band: FloatImage) -> None:
    try:
        waiting.write(np.ascontiguousarray(band).tobytes())
    except OSError as error:
        raise OutputError(
            f"The folder for temporary files cannot hold the image ({describe(error)}).",
            "Set TMPDIR to a folder on a larger disk, or use `color_fix` wavelet.",
        ) from error


def _exchange_low_frequencies(steps: Iterable[FloatImage | None], reference: RowReader) -> Iterator[FloatImage | None]:
    """The high frequencies of the result on the low ones of the reference.

    Five levels of the à-trous transform: a binomial 3x3 kernel whose taps move apart by a factor of two. A row's
    low frequencies depend on REACH_ROWS rows above and below it, so rows wait until those have come.
    """
    result = missing = np.zeros((0, 0, 3), np.float32)
    begin = done = 0  # of the rows at hand, and of those that are still to be yielded
    for band in steps:
        if band is None:
            yield None
            continue
        difference = reference(begin + len(result), begin + len(result) + len(band)) - band
        result = np.concatenate((result, band)) if len(result) else band
        missing = np.concatenate((missing, difference)) if len(missing) else difference
        ready = begin + len(result) - REACH_ROWS
        if ready > done:
            yield (result + low_frequencies(missing))[done - begin : ready - begin]
            keep = max(0, ready - REACH_ROWS - begin)
            result, missing, begin, done = result[keep:], missing[keep:], begin + keep, ready
    yield (result + low_frequencies(missing))[done - begin :]


def low_frequencies(image: FloatImage) -> FloatImage:
    """The low frequencies that 5 widening binomial blurs leave; edges are continued by their last pixel."""
    for level in range(LEVELS):
        for axis in (0, 1):
            image = _blur(image, 2**level, axis)
    return image


def _blur(image: FloatImage, distance: int, axis: int) -> FloatImage:
    margins = [(0, 0)] * image.ndim
    margins[axis] = (distance, distance)
    padded = np.moveaxis(np.pad(image, margins, mode="edge"), axis, 0)
    blurred = 0.25 * padded[: -2 * distance] + 0.5 * padded[distance:-distance] + 0.25 * padded[2 * distance :]
    return np.moveaxis(blurred, 0, axis)
