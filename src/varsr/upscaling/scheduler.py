"""Scheduling: tiles of an image and of those that come after it, in full batches."""

from __future__ import annotations

import collections
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from varsr.images.enlarge import Enlarged
from varsr.model.inference import InferenceConfig
from varsr.runtime.batch import PendingBatch, TileBatch
from varsr.runtime.engine import Engine
from varsr.tiling.array import FloatImage, FloatImages
from varsr.tiling.grid import Tile
from varsr.upscaling.progress import ProgressCounter

AHEAD_PIXELS = 8_000_000
"""Pixels of images that wait for their turn, from which no further one is read or pulled."""
AHEAD_ENTRIES = 64
"""Entries that wait, images or not, from which no further one is pulled."""

T = TypeVar("T")


class PendingImage:
    """An image whose tiles wait for a batch, are being computed, or are computed."""

    def __init__(
        self,
        source: Enlarged,
        tiles: Sequence[Tile],
        stride: int,
        inference: InferenceConfig,
        seed: int,
        batch_size: int,
        progress: ProgressCounter,
    ) -> None:
        self.source = source
        self.inference = inference
        self.seed = seed
        self.batch_size = batch_size
        self.progress = progress
        self.waiting = deque(tiles)
        self.computed: deque[tuple[Tile, _Batch, int]] = deque()
        self._stride = stride

    def shares_batches_with(self, other: PendingImage) -> bool:
        """True for an image that is computed with the same settings."""
        return (self.inference, self.seed) == (other.inference, other.seed)

    def take(self, count: int) -> list[tuple[PendingImage, Tile]]:
        """The next tiles, which from now on no longer wait."""
        return [(self, self.waiting.popleft()) for _ in range(min(count, len(self.waiting)))]

    def pixels(self, tile: Tile) -> FloatImage:
        """The enlarged input's pixels of a tile, (S, S, 3)."""
        return self.source.tile(tile.times(self._stride))


class _Batch:
    """A batch that was begun, and the counters of the images that its tiles are of."""

    def __init__(self, pending: PendingBatch, counters: Sequence[ProgressCounter]) -> None:
        self._pending = pending
        self._counters = counters
        self._is_counted = False

    def latents(self) -> FloatImages:
        """The latents (T, P, P, Z), waited for, each step counted meanwhile. Raises what went wrong."""
        if not self._is_counted:
            self._is_counted = True
            for step in self._pending.steps():
                for counter, tiles in collections.Counter(self._counters[step.tiles]).items():
                    counter.add(tiles * step.count, step.activity)
        return self._pending.latents()


@dataclass(frozen=True)
class Entry(Generic[T]):
    """Something pulled: `image` is what it has to be computed to, if it is an image."""

    item: T
    image: PendingImage | None


class Scheduler(Generic[T]):
    """Hands on entries in order, and the latents of the one whose turn it is.

    Where a batch of its tiles has room, further entries are pulled, and their tiles fill it.
    """

    def __init__(self, engine: Engine, entries: Iterator[Entry[T]]) -> None:
        self._engine = engine
        self._entries = entries
        self._ahead: deque[Entry[T]] = deque()
        self.waited = 0.0
        """Seconds for which entries were waited for."""

    def next(self) -> Entry[T] | None:
        """The entry whose turn it is now; None at the end."""
        return self._ahead.popleft() if self._ahead else self._pull()

    def latents(self, image: PendingImage) -> Iterator[FloatImage]:
        """The latents (P, P, Z) of an image's tiles in reading order."""
        while image.computed or image.waiting:
            if not image.computed:
                self._begin_batch(image)
            while self._engine.has_room and self._begin_batch(image):
                pass
            tile, batch, position = image.computed.popleft()
            try:
                latents = batch.latents()[position]
            except Exception:  # another's tile may be the cause: once more, alone
                latents = self._begun([(image, tile)], image.batch_size).latents()[0]
            yield latents

    def _begin_batch(self, image: PendingImage) -> bool:
        """Begin the next batch, of this image's tiles and, to fill it, of others'. False where there are none."""
        chosen = image.take(image.batch_size)
        if len(chosen) < image.batch_size:
            for other in self._following():
                if other.shares_batches_with(image):
                    chosen += other.take(image.batch_size - len(chosen))
                if len(chosen) == image.batch_size:
                    break
        if not chosen:
            return False
        try:
            batch = self._begun(chosen, image.batch_size)
        except Exception:  # of another's tile, perhaps: without these, and what is wrong with its own is raised
            chosen = _give_back(chosen, keep=image)
            batch = self._begun(chosen, image.batch_size)
        for position, (owner, tile) in enumerate(chosen):
            owner.computed.append((tile, batch, position))
        return True

    def _begun(self, chosen: Sequence[tuple[PendingImage, Tile]], size: int) -> _Batch:
        """A batch of tiles, begun. Raises where their pixels cannot be had."""
        return _Batch(self._engine.submit(_batch_of(chosen), size), [owner.progress for owner, _ in chosen])

    def _following(self) -> Iterator[PendingImage]:
        """The images after the one whose turn it is, pulled as they are asked for while memory allows it."""
        yield from [entry.image for entry in self._ahead if entry.image]
        while self._has_room():
            entry = self._pull()
            if entry is None:
                return
            self._ahead.append(entry)
            if entry.image:
                yield entry.image

    def _has_room(self) -> bool:
        pixels = sum(entry.image.source.input_pixels for entry in self._ahead if entry.image)
        return pixels < AHEAD_PIXELS and len(self._ahead) < AHEAD_ENTRIES

    def _pull(self) -> Entry[T] | None:
        began = time.monotonic()
        entry = next(self._entries, None)
        self.waited += time.monotonic() - began
        return entry


def _batch_of(chosen: Sequence[tuple[PendingImage, Tile]]) -> TileBatch:
    owner, _ = chosen[0]
    return TileBatch(
        np.stack([image.pixels(tile) for image, tile in chosen]),
        [tile.index for _, tile in chosen],
        owner.inference,
        owner.seed,
    )


def _give_back(chosen: Sequence[tuple[PendingImage, Tile]], keep: PendingImage) -> list[tuple[PendingImage, Tile]]:
    """Let the tiles of other images wait again; return those of `keep`."""
    for owner, tile in reversed(chosen):
        if owner is not keep:
            owner.waiting.appendleft(tile)
    return [(owner, tile) for owner, tile in chosen if owner is keep]
