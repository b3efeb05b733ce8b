"""Stitching: tiles' latents are blended, decoded in windows, and the windows' pixels blended, in bands of rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby, islice

import numpy as np

from varsr.images.enlarge import Enlarged
from varsr.model.inference import DecodeConfig
from varsr.runtime.engine import Engine
from varsr.tiling.array import FloatImage
from varsr.tiling.blend import BandBlend
from varsr.tiling.grid import Tile
from varsr.upscaling.progress import ProgressCounter
from varsr.upscaling.still import Reuse

BAND_ROWS = 96
"""Rows of pixels that are handed on at a time: whoever takes them makes copies."""


class Stitcher:
    """The pixels of one image, from the latents of its tiles in reading order.

    Only a few rows of tiles and windows are in memory at a time.
    """

    def __init__(
        self,
        engine: Engine,
        source: Enlarged,
        tiles: Sequence[Tile],
        windows: Sequence[Tile],
        decoding: DecodeConfig,
        progress: ProgressCounter,
        reuse: Reuse | None = None,
    ) -> None:
        """Begin. With `reuse` only some windows are decoded, and the others taken from memory."""
        self._engine = engine
        self._reuse = reuse
        self._source = source
        self._tiles = tiles
        self._decoding = decoding
        self._progress = progress
        self._stride = engine.model.config.tokenizer.stride
        self._windows_at_once = max(1, engine.batch_size * tiles[0].side ** 2 // windows[0].side ** 2)
        last = windows[-1]
        self._bottom, width = last.top + last.side, last.left + last.side
        self._undecoded = deque(list(row) for _, row in groupby(windows, key=lambda window: window.top))
        self._latent = BandBlend(width, engine.model.config.tokenizer.channels)
        self._pixels = BandBlend(width * self._stride, 3)
        self._finished = 0

    def steps(self, latents: Iterator[FloatImage]) -> Iterator[FloatImage | None]:
        """Bands of rows (rows, W, 3) from top to bottom, and None after each tile, when the caller may do other work.

        `latents` are those of the tiles, each (P, P, Z).
        """
        coming = [tile.top for tile in self._tiles[1:]] + [self._bottom]
        for tile, values, next_top in zip(self._tiles, latents, coming, strict=True):
            self._latent.add(tile, values)
            yield None
            yield from self._decoded_above(next_top)

    def _decoded_above(self, final: int) -> Iterator[FloatImage]:
        """Decode the windows that lie above the latent row `final`, which no further tile touches."""
        while self._undecoded and self._undecoded[0][0].top + self._undecoded[0][0].side <= final:
            self._decode(self._undecoded.popleft())
            yield from self._finished_rows()

    def _finished_rows(self) -> Iterator[FloatImage]:
        """Hand on the rows of pixels that no further window touches, and forget them."""
        height, width = self._source.size
        next_top = self._undecoded[0][0].top if self._undecoded else self._bottom
        final = min(next_top * self._stride, height)
        for top in range(self._finished, final, BAND_ROWS):
            yield self._pixels.rows(top, min(top + BAND_ROWS, final))[:, :width]
        self._finished = final
        if self._undecoded:
            self._latent.drop(next_top)
            self._pixels.drop(final)

    def _decode(self, row: Sequence[Tile]) -> None:
        """Decode a row of windows, at a time as many as a batch of tiles is large, and blend them in the same order."""
        band = self._latent.rows(row[0].top, row[0].top + row[0].side)
        rest = iter(row)
        while windows := list(islice(rest, self._windows_at_once)):
            for window, values in zip(windows, self._restored(windows, band), strict=True):
                self._pixels.add(window.times(self._stride), values)

    def _restored(self, windows: Sequence[Tile], band: FloatImage) -> Sequence[FloatImage]:
        """The pixels of windows, decoded from their latents, or from memory where they have not changed."""
        reuse = self._reuse
        if reuse is None:
            return self._decoded(windows, band)
        new = [window for window in windows if window.index in reuse.windows]
        reuse.memory.pixels.update(zip((window.index for window in new), self._decoded(new, band), strict=True))
        return [reuse.memory.pixels[window.index] for window in windows]

    def _decoded(self, windows: Sequence[Tile], band: FloatImage) -> Sequence[FloatImage]:
        if not windows:
            return ()
        latents = np.stack([band[:, window.area[1]] for window in windows])
        inputs = np.stack([self._source.tile(window.times(self._stride)) for window in windows])
        restored = self._engine.decode(latents, inputs, self._decoding)
        self._progress.add(len(windows), "decoding")
        return [*restored]
