"""One picture on its way through the model: tiles and their latents, windows and their pixels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import chain, groupby, islice

import numpy as np

from varsr.errors import ResultError
from varsr.images.enlarge import Enlarged
from varsr.runtime.engine import Batch, Engine, Recipe
from varsr.runtime.memory import memory_errors
from varsr.tiling.array import FloatImage
from varsr.tiling.blend import BandBlend
from varsr.tiling.grid import Tile
from varsr.upscaling.progress import Reporter

ROWS = 96  # pixels that are handed on at a time: whoever takes them makes copies
Finish = Callable[[Iterable[FloatImage], Callable[[int, int], FloatImage]], Iterable[FloatImage]]
"""What is done to restored bands last; it is given the enlarged input's rows too."""


class Restoration:
    """A picture begun. `bands` does what is left of it, and fills its last batch with tiles of pictures to come."""

    def __init__(
        self,
        engine: Engine,
        source: Enlarged,
        tiles: Sequence[Tile],
        windows: Sequence[Tile],
        recipe: Recipe,
        batch_size: int,
        reporter: Reporter,
        finish: Finish,
    ) -> None:
        self.tiles = len(tiles)
        self._engine = engine
        self._source = source
        self._recipe = recipe
        self._batch_size = batch_size
        self._reporter = reporter
        self._finish = finish
        self._waiting = deque(tiles)
        self._undecoded = deque(list(row) for _, row in groupby(windows, key=lambda window: window.top))
        self._computed: deque[tuple[Tile, Callable[[], FloatImage]]] = deque()

    def bands(self, following: Callable[[], Iterable[Restoration]] = tuple) -> Iterator[FloatImage]:
        """The restored colour in bands of rows from top to bottom, each (rows, W, 3) in [0, 1].

        Only a few rows of tiles are in memory at a time. `following` is asked for the pictures that come next,
        whenever a batch has room. Raises `TooLittleMemoryError`.
        """
        self._reporter.begin()
        with memory_errors(self._engine.device):
            yield from map(_checked, self._finish(self._restored(following), self._source.inside))

    def _restored(self, following: Callable[[], Iterable[Restoration]]) -> Iterator[FloatImage]:
        """Restore and blend tiles, decode rows of windows, blend these too, and yield pixels as they are finished."""
        config = self._engine.model.config
        stride, (height, width) = config.tokenizer.stride, self._source.size
        undecoded, last = self._undecoded, self._undecoded[-1][-1]
        bottom, padded = last.top + last.side, last.left + last.side
        latent, pixels = BandBlend(padded, config.tokenizer.channels), BandBlend(padded * stride, 3)
        finished = 0
        while undecoded:
            self._supply(following)
            tile, values = self._computed.popleft()
            latent.add(tile, self._latent(tile, values))
            # No further tile touches rows above the first that is to come.
            coming = chain((tile for tile, _ in self._computed), self._waiting)
            final = next((tile.top for tile in coming), bottom)
            while undecoded and undecoded[0][0].top + last.side <= final:
                self._decode(latent, undecoded.popleft(), pixels)
                final_pixels = min((undecoded[0][0].top if undecoded else bottom) * stride, height)
                for top in range(finished, final_pixels, ROWS):
                    yield pixels.rows(top, min(top + ROWS, final_pixels))[:, :width]
                finished = final_pixels
                if undecoded:
                    latent.drop(undecoded[0][0].top)
                    pixels.drop(finished)

    def _supply(self, following: Callable[[], Iterable[Restoration]]) -> None:
        """See to it that a tile is on its way, and that a GPU has work while tiles are blended and decoded."""
        if not self._computed:
            self._compute(following)
        while self._engine.has_room and self._compute(following):
            pass

    def _compute(self, following: Callable[[], Iterable[Restoration]]) -> bool:
        """Begin the next batch, of this picture's tiles and, to fill it, of others'. False where there are none."""
        chosen = self._take(self._batch_size)
        if len(chosen) < self._batch_size:
            for other in following():
                if other._recipe == self._recipe and len(chosen) < self._batch_size:
                    chosen += other._take(self._batch_size - len(chosen))
        if not chosen:
            return False
        try:
            batch = _batch_of(chosen)
        except Exception:  # of another's tile, perhaps: without these, and what is wrong with its own is raised
            chosen = _give_back(chosen, keep=self)
            batch = _batch_of(chosen)
        latents = self._engine.begin(batch, self._batch_size, self._recipe)
        for place, (owner, tile) in enumerate(chosen):
            owner._computed.append((tile, partial(_result_at, latents, place)))
        return True

    def _latent(self, tile: Tile, values: Callable[[], FloatImage]) -> FloatImage:
        """A tile's latent; where its batch failed, that of the tile alone, for another's tile may be the cause."""
        try:
            return values()
        except Exception:
            alone = self._engine.latents(_batch_of([(self, tile)]), self._batch_size, self._recipe)
            return alone[0]

    def _take(self, count: int) -> list[tuple[Restoration, Tile]]:
        """Its next tiles, which from now on no longer wait."""
        return [(self, self._waiting.popleft()) for _ in range(min(count, len(self._waiting)))]

    def _decode(self, latent: BandBlend, row: Sequence[Tile], pixels: BandBlend) -> None:
        """Decode a row of windows from the blended latent and blend their pixels."""
        band = latent.rows(row[0].top, row[0].top + row[0].side)
        stride = self._engine.model.config.tokenizer.stride
        rest = iter(row)
        while windows := list(islice(rest, self._engine.batch_size)):
            latents = np.stack([band[:, window.area[1]] for window in windows])
            decoded = self._engine.decode(latents, np.stack([self._cut(window) for window in windows]))
            for window, values in zip(windows, decoded, strict=True):
                pixels.add(window.times(stride), values)
            self._reporter.step(len(windows), "decoding")

    def _cut(self, tile: Tile) -> FloatImage:
        """The enlarged input's pixels of a tile, (S, S, 3)."""
        place = tile.times(self._engine.model.config.tokenizer.stride)
        return self._source.band(place.top, place.top + place.side)[:, place.area[1]]


def _batch_of(chosen: Sequence[tuple[Restoration, Tile]]) -> Batch:
    return Batch(
        np.stack([owner._cut(tile) for owner, tile in chosen]),
        [tile.index for _, tile in chosen],
        [owner._reporter for owner, _ in chosen],
    )


def _give_back(chosen: Sequence[tuple[Restoration, Tile]], keep: Restoration) -> list[tuple[Restoration, Tile]]:
    """Let the tiles of other pictures wait again; return those of `keep`."""
    for owner, tile in reversed(chosen):
        if owner is not keep:
            owner._waiting.appendleft(tile)
    return [(owner, tile) for owner, tile in chosen if owner is keep]


def _checked(band: FloatImage) -> FloatImage:
    """A band in [0, 1]. Raises `ResultError` where the model computed values that are no numbers."""
    if not np.isfinite(band).all():
        raise ResultError(
            "The model computed values that are not numbers.",
            "Lower --cfg, use --dtype fp32, or check the model's file: it may be damaged.",
        )
    return band.clip(0, 1)


def _result_at(results: Future[FloatImage], place: int) -> FloatImage:
    values: FloatImage = results.result()[place]
    return values
