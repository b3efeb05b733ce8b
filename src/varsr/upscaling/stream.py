"""Many images, upscaled one after the other as their results are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from varsr.errors import ResultError
from varsr.images.enlarge import Enlarged
from varsr.images.photo import Photo
from varsr.runtime.engine import Engine
from varsr.runtime.memory import memory_errors
from varsr.tiling.array import FloatImage
from varsr.upscaling.color_fix import fixed_bands
from varsr.upscaling.layout import Layout, layout_of
from varsr.upscaling.preset import Presets, Settings, resolve
from varsr.upscaling.progress import Progress, ProgressCounter
from varsr.upscaling.request import Request, Result
from varsr.upscaling.scheduler import Entry, PendingImage, Scheduler
from varsr.upscaling.still import Reuse
from varsr.upscaling.stitch import Stitcher

T = TypeVar("T")


@dataclass(frozen=True)
class _Planned:
    """A request, ready to be computed."""

    request: Request
    photo: Photo
    layout: Layout
    settings: Settings
    image: PendingImage
    reuse: Reuse | None


@dataclass(frozen=True)
class _Refused:
    """A request that cannot be computed, and why."""

    request: Request
    error: Exception


class _End:
    """The end of an iterator whose items may be None."""


_END = _End()


class UpscaleStream(Iterator["Result | T"], Generic[T]):
    """Results in the order of their requests; anything that is not an image comes back in its place.

    A result is computed as its bands are asked for, and meanwhile further requests are pulled to fill batches. Take
    what you need of one result before you ask for the next.
    """

    def __init__(self, engine: Engine, presets: Presets, requests: Iterable[T]) -> None:
        self._engine = engine
        self._presets = presets
        self._scheduler = Scheduler(engine, map(self._entry, requests))
        self._counter: ProgressCounter | None = None
        self.busy = 0.0
        """Seconds in which images were computed."""

    @property
    def progress(self) -> Progress | None:
        """The progress of the image whose turn it is."""
        return self._counter.state if self._counter else None

    def __next__(self) -> Result | T:
        entry = self._scheduler.next()
        if entry is None:
            raise StopIteration
        item = entry.item
        if isinstance(item, _Refused):
            return Result(item.request, None, (0, 0), 0, _raising(item.error))
        if not isinstance(item, _Planned):
            return item
        self._counter = item.image.progress
        tiles = len(item.reuse.tiles) if item.reuse else len(item.layout.tiles)
        return Result(item.request, item.photo, item.layout.size, tiles, self._steps(item))

    def _entry(self, item: T) -> Entry[T | _Planned | _Refused]:
        """Something pulled: a request planned, anything else as it is."""
        if isinstance(item, Request):
            return self._planned(item)
        if isinstance(item, (Image.Image, np.ndarray, Photo)):
            return self._planned(Request(item))
        return Entry(item, None)

    def _planned(self, request: Request) -> Entry[T | _Planned | _Refused]:
        config = self._engine.model.config
        try:
            photo = request.photo()
            settings = resolve(self._presets, request.options, config)
            layout = layout_of(request.target(photo), settings, config)
        except Exception as error:  # raised at its turn, where its result is asked for
            return Entry(_Refused(request, error), None)
        reuse = Reuse.of(request.change, layout, config.tokenizer.stride) if request.change else None
        computed = [tile for tile in layout.tiles if reuse is None or tile.index in reuse.tiles]
        tiles, windows = len(computed), len(layout.windows if reuse is None else reuse.windows)
        image = PendingImage(
            Enlarged(photo.color, layout.size, layout.padded),
            computed,
            config.tokenizer.stride,
            settings.for_tiles(len(layout.tiles)),
            settings.seed,
            min(request.options.batch_size or self._engine.batch_size, self._engine.largest_batch),
            ProgressCounter(tiles, tiles * (len(config.scales) + 1) + windows, request.on_progress),
        )
        return Entry(_Planned(request, photo, layout, settings, image, reuse), image)

    def _steps(self, planned: _Planned) -> Iterator[FloatImage | None]:
        """The colour in bands of rows, computed as they are asked for, and None where the caller may do other work."""
        image, layout = planned.image, planned.layout
        image.progress.begin()
        decoding = planned.settings.decoding
        reuse, latents = planned.reuse, self._scheduler.latents(image)
        stitcher = Stitcher(self._engine, image.source, layout.tiles, layout.windows, decoding, image.progress, reuse)
        stitched = stitcher.steps(latents if reuse is None else reuse.merged(layout.tiles, latents))
        with memory_errors(self._engine.device):
            yield from self._timed(
                map(_checked, fixed_bands(stitched, image.source.inside, planned.settings.color_fix))
            )

    def _timed(self, steps: Iterator[FloatImage | None]) -> Iterator[FloatImage | None]:
        """The same steps; the time that each takes is counted, but for what was spent on waiting for requests."""
        while True:
            began, waited = time.monotonic(), self._scheduler.waited
            step = next(steps, _END)
            self.busy += time.monotonic() - began - (self._scheduler.waited - waited)
            if isinstance(step, _End):
                return
            yield step


def _raising(error: Exception) -> Iterator[FloatImage | None]:
    raise error
    yield  # a generator: what it raises is raised where its first band is asked for


def _checked(band: FloatImage | None) -> FloatImage | None:
    """A band in [0, 1]. Raises `ResultError` where the model computed values that are not numbers."""
    if band is None:
        return None
    if not np.isfinite(band).all():
        raise ResultError(
            "The model computed values that are not numbers.",
            "Lower `cfg`, use `dtype` fp32, or check the model's file: it may be damaged.",
        )
    return band.clip(0, 1)
