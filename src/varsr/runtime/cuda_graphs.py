"""CUDA graphs: the thousands of small kernels of a batch, captured once and from then on launched together.

What the kernels of the small scales compute takes a GPU less time than Python needs to launch them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from varsr.model.sampling import Noise
from varsr.runtime.memory import is_about_memory

MAX_GRAPHS = 2  # captured at a time; each holds the memory of its batch
BatchFunction = Callable[[Tensor, Noise], Iterator[Tensor]]
"""Tiles (T, 3, S, S) -> what is made of them, growing; the same kernels for every batch of the same shape."""


class StaticNoise:
    """The random numbers of one batch after the other, at the same places in the device's memory.

    The first batch, whose numbers are those of `first`, fixes what is drawn, and in which order.
    """

    def __init__(self, first: Noise, device: torch.device) -> None:
        self._first = first
        self._device = device
        self._drawn: list[tuple[str, tuple[int, ...], Tensor]] = []
        self.position = 0
        """How many draws of the batch have been handed out."""

    def rewind(self) -> None:
        """Hand out from the first place on again."""
        self.position = 0

    def renew(self, source: Noise, start: int, stop: int) -> None:
        """Replace the numbers of some draws, which must be done in order."""
        for kind, shape, values in self._drawn[start:stop]:
            values.copy_(_pinned(getattr(source, kind)(*shape), self._device), non_blocking=True)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (T, *shape)."""
        return self._draw("normal", shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (T, *shape)."""
        return self._draw("uniform", shape)

    def _draw(self, kind: str, shape: tuple[int, ...]) -> Tensor:
        if self.position == len(self._drawn):
            self._drawn.append((kind, shape, getattr(self._first, kind)(*shape).to(self._device)))
        self.position += 1
        return self._drawn[self.position - 1][2]


def _pinned(values: Tensor, device: torch.device) -> Tensor:
    """In memory from which a GPU copies by itself."""
    return values.pin_memory() if device.type == "cuda" else values


@dataclass(frozen=True)
class _Stage:
    graph: torch.cuda.CUDAGraph
    result: Tensor
    draws: tuple[int, int]


class CapturedGraph:
    """One kind of work on one shape of batch: a graph for each of its stages."""

    def __init__(self, work: BatchFunction, stages: int, tiles: Tensor, draws: StaticNoise) -> None:
        """Capture `work` of so many stages, whose numbers were drawn before. Raises `RuntimeError` without memory."""
        self._tiles = tiles.clone()
        self._draws = draws
        self._stages: list[_Stage] = []
        draws.rewind()
        walk = work(self._tiles, draws)
        with torch.cuda.device(tiles.device):  # in a thread it is the first one, whichever the program chose
            pool, stream = torch.cuda.graph_pool_handle(), _capture_stream(tiles.device)
            for _ in range(stages):
                graph, before = torch.cuda.CUDAGraph(), draws.position
                with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
                    result = next(walk)
                self._stages.append(_Stage(graph, result, (before, draws.position)))

    def replay(self, tiles: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Do the work on other tiles. What comes out is overwritten by the next replay."""
        self._tiles.copy_(tiles)
        for stage in self._stages:
            self._draws.renew(noise, *stage.draws)
            stage.graph.replay()
            yield stage.result


@cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """One stream for all captures on a device: libraries keep memory for each stream that they have met."""
    return torch.cuda.Stream(device)


class GraphCache:
    """LRU cache of CUDA graphs. The first call for a shape runs eagerly, to warm up the libraries."""

    def __init__(self) -> None:
        self._warmed_up: dict[Hashable, StaticNoise] = {}
        self._too_large: set[Hashable] = set()
        self._captured: OrderedDict[Hashable, CapturedGraph] = OrderedDict()

    def run(self, key: Hashable, work: BatchFunction, stages: int, tiles: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Run `work` on tiles, stage by stage. `key` and the shape of the tiles identify its graph."""
        key = (key, tiles.shape)
        if key not in self._warmed_up:
            return self._first(key, work, tiles, noise)
        if key not in self._captured and key not in self._too_large:
            self._capture(key, work, stages, tiles)
        if key in self._too_large:
            return work(tiles, noise)
        self._captured.move_to_end(key)
        return self._captured[key].replay(tiles, noise)

    def _first(self, key: Hashable, work: BatchFunction, tiles: Tensor, noise: Noise) -> Iterator[Tensor]:
        draws = StaticNoise(noise, tiles.device)
        yield from work(tiles, draws)
        self._warmed_up[key] = draws

    def _capture(self, key: Hashable, work: BatchFunction, stages: int, tiles: Tensor) -> None:
        while len(self._captured) >= MAX_GRAPHS:
            self._captured.popitem(last=False)
        torch.cuda.empty_cache()
        try:
            self._captured[key] = CapturedGraph(work, stages, tiles, self._warmed_up[key])
        except RuntimeError as error:
            if not is_about_memory(error):
                raise
            self._too_large.add(key)
