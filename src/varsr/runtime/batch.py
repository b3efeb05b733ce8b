"""Batches of tiles, and batches that are on their way."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import SimpleQueue

from varsr.model.inference import InferenceConfig
from varsr.model.sampling import TileNoise
from varsr.runtime.worker import DeviceThread
from varsr.tiling.array import FloatImages


@dataclass(frozen=True)
class TileBatch:
    """Tiles of one image or of several, computed with the same settings.

    `pixels` are (T, S, S, 3) in [0, 1]; `positions` are the tiles' places in their images, which seed their noise.
    """

    pixels: FloatImages
    positions: Sequence[int]
    inference: InferenceConfig
    seed: int

    def __len__(self) -> int:
        return len(self.positions)

    def part(self, start: int, stop: int) -> TileBatch:
        """Some of its tiles."""
        return replace(self, pixels=self.pixels[start:stop], positions=self.positions[start:stop])

    def noise(self, chosen: Sequence[int]) -> TileNoise:
        """The random numbers of some tiles."""
        return TileNoise(self.seed, [self.positions[i] for i in chosen])


@dataclass(frozen=True)
class ClassBatch:
    """Images of classes, each with a seed of its own, computed with the same settings."""

    classes: Sequence[int]
    seeds: Sequence[int]
    inference: InferenceConfig

    def __len__(self) -> int:
        return len(self.classes)

    def part(self, start: int, stop: int) -> ClassBatch:
        """Some of its images."""
        return replace(self, classes=self.classes[start:stop], seeds=self.seeds[start:stop])

    def noise(self, chosen: Sequence[int]) -> TileNoise:
        """The random numbers of some images."""
        return TileNoise([self.seeds[i] for i in chosen], [0] * len(chosen))


Batch = TileBatch | ClassBatch


@dataclass(frozen=True)
class Step:
    """Progress of some tiles of a batch; a negative count takes steps back."""

    tiles: slice
    activity: str
    count: int = 1


class PendingBatch:
    """A batch that a device's thread computes, or that is computed as its steps are asked for where there is none."""

    def __init__(self, computation: Generator[Step, None, FloatImages], thread: DeviceThread | None) -> None:
        self._computation = computation
        self._result: Future[FloatImages] = Future()
        self._done: SimpleQueue[Step | None] | None = None
        if thread is not None:
            self._done = SimpleQueue()
            thread.submit(self._compute)

    def steps(self) -> Iterator[Step]:
        """Each step when it is done, until the batch is computed or has failed; once."""
        if self._done is None:
            yield from self._computed()
            return
        while (step := self._done.get()) is not None:
            yield step

    def latents(self) -> FloatImages:
        """The latents (T, P, P, Z), after the last step. Raises what went wrong."""
        return self._result.result()

    def _computed(self) -> Iterator[Step]:
        try:
            self._result.set_result((yield from self._computation))
        except Exception as error:
            self._result.set_exception(error)

    def _compute(self) -> None:
        """On the device's thread."""
        assert self._done is not None
        for step in self._computed():
            self._done.put(step)
        self._done.put(None)
