"""The pace of this machine: seconds a megapixel of earlier runs, by which the next one's time is estimated."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from contextlib import suppress
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np

from varsr.images.size import Size
from varsr.jobs.outcome import Outcome
from varsr.jobs.preflight import is_about_video
from varsr.storage.local import replacing
from varsr.upscaling.options import Options
from varsr.weights.cache import cache_folder

if TYPE_CHECKING:
    from varsr.upscaling.upscaler import Upscaler

QUICK = 3.0
"""Seconds for a tile, up to which more are computed to measure the pace."""
RUNS_KEPT = 10
SETTINGS_KEPT = 50
LEAST_PIXELS = 512 * 512
"""An image with a smaller result takes as long as one of this size, which a tile or a few of them cover."""
_FILE = "pace.json"


def work_of(size: Size) -> float:
    """Megapixels that a result of (height, width) counts for."""
    return max(size[0] * size[1], LEAST_PIXELS) / 1e6


def pace_key(model: str, device: str, dtype: str, workers: str | None, options: Options) -> str:
    """The settings that decide how fast a run is, on this machine, as a name."""
    parts = [platform.node(), model, device, dtype, str(workers), *map(str, astuple(options))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


class Stopwatch:
    """The work of a run and the seconds it took, from the start of its first image: loading a model is not work."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._end = 0.0
        self._work = 0.0

    def add(self, outcome: Outcome, elapsed: float) -> None:
        """Count an outcome that came `elapsed` seconds into the run; not a video, of which a part is computed."""
        if outcome.status != "done" or outcome.target_size is None or is_about_video(outcome.job):
            return
        if self._start is None:
            self._start = max(0.0, elapsed - outcome.seconds)
        self._end = elapsed
        self._work += outcome.frames * work_of(outcome.target_size)

    def remember(self, key: str) -> None:
        """Add the run to those of its settings. A machine without a place for caches forgets it."""
        if self._start is None:
            return
        with suppress(OSError):
            known = _read()
            runs = [*known.pop(key, []), {"megapixels": self._work, "seconds": self._end - self._start}]
            known[key] = runs[-RUNS_KEPT:]
            latest = dict(list(known.items())[-SETTINGS_KEPT:])
            cache_folder().mkdir(parents=True, exist_ok=True)
            with replacing(cache_folder() / _FILE) as temporary:
                temporary.write_text(json.dumps(latest))


def known_pace(key: str) -> float | None:
    """Seconds a megapixel in the last runs with these settings; None where there were none."""
    runs = _read().get(key, [])
    work = sum(run["megapixels"] for run in runs)
    return sum(run["seconds"] for run in runs) / work if work else None


def _read() -> dict[str, list[dict[str, float]]]:
    try:
        found: Any = json.loads((cache_folder() / _FILE).read_text())
        return {
            str(key): [{name: float(run[name]) for name in ("megapixels", "seconds")} for run in runs]
            for key, runs in found.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def measured_pace(upscaler: Upscaler, options: Options) -> float:
    """Seconds a megapixel, by one tile, and where that is quick by an image of a few."""
    config = upscaler.model.config
    side, seconds = config.tile_side, _seconds(upscaler, config.tile_side // 4, options)
    if seconds < QUICK:
        side, seconds = 2 * side, _seconds(upscaler, side // 2, options)
    return seconds / (side * side / 1e6)


def _seconds(upscaler: Upscaler, side: int, options: Options) -> float:
    """Seconds that an image of `side` pixels a side takes, 4 times as large."""
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    began = time.monotonic()
    upscaler.upscale(image, 4.0, options)
    return time.monotonic() - began
