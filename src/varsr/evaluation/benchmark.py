"""A model timed on this machine: seconds, memory and share of the matrix peak, stage by stage."""

from __future__ import annotations

import logging
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from varsr.generation.generator import Generator
from varsr.images.size import Size
from varsr.model.inference import DecodeConfig, InferenceConfig
from varsr.model.sampling import TileNoise
from varsr.model.varsr import VARSR
from varsr.runtime.engine import Engine
from varsr.runtime.memory import memory_errors
from varsr.tiling.grid import Tile
from varsr.upscaling.layout import Layout
from varsr.upscaling.options import Options
from varsr.upscaling.upscaler import ModelChoice
from varsr.weights.checkpoint import read_config
from varsr.weights.registry import default_model
from varsr.weights.store import resolve_model

_log = logging.getLogger(__name__)
PEAK_SIDES = (1024, 2048, 4096)  # of the matrices whose products are taken for what the machine can do
PEAK_RUNS = 5


@dataclass(frozen=True)
class Machine:
    """Where it was measured. `peak` is in operations a second, for large matrix products in the type computed in."""

    device: str
    threads: int
    torch: str
    dtype: str
    peak: float


@dataclass(frozen=True)
class Timing:
    """Median seconds of each stage for a batch of tiles, and what it takes in operations."""

    tiles: int
    seconds: dict[str, float]
    operations: dict[str, int]
    first: float
    """Seconds of the warm-up runs of this size."""

    @property
    def total(self) -> float:
        """Seconds for the batch."""
        return sum(self.seconds.values())

    @property
    def per_tile(self) -> float:
        """Seconds for one of its tiles."""
        return self.total / self.tiles

    def of_image(self, tiles: Sequence[Tile], windows: Sequence[Tile]) -> float:
        """Seconds for an image of these tiles, decoded in these windows."""
        decoder = self.seconds["decoder"] / self.tiles
        decoded = sum((window.side / tiles[0].side) ** 2 for window in windows)
        return len(tiles) * (self.per_tile - decoder) + decoded * decoder

    def share(self, machine: Machine, stage: str | None = None) -> float:
        """Of the machine's peak, in a stage or in all."""
        if stage is None:
            return sum(self.operations.values()) / self.total / machine.peak
        return self.operations[stage] / self.seconds[stage] / machine.peak


@dataclass(frozen=True)
class Report:
    """A benchmark of a model: `size` is (height, width) of the image that `images_per_hour` is about."""

    model: str
    speed: str
    machine: Machine
    tile_side: int
    load_seconds: float
    peak_memory_bytes: int
    size: Size
    tiles: int
    windows: int
    images_per_hour: float
    timings: list[Timing]

    def to_data(self) -> dict[str, Any]:
        """The report as JSON data."""
        data = asdict(self)
        machine, timings, (height, width) = data.pop("machine"), data.pop("timings"), data.pop("size")
        derived = (
            {"seconds_per_tile": timing.per_tile, "share_of_peak": timing.share(self.machine)}
            for timing in self.timings
        )
        batches = [timing | more for timing, more in zip(timings, derived, strict=True)]
        return data | machine | {"size": [width, height], "batches": batches}


def benchmark(choice: ModelChoice, options: Options, size: Size, batch_sizes: Sequence[int], runs: int) -> Report:
    """Load a model and time it, `runs` times for each batch size. Raises as loading and upscaling do."""
    name = choice.model or default_model()
    started = time.monotonic()
    engine, inference, work = _opened(replace(choice, model=name), options, size)
    loaded = time.monotonic() - started
    machine = describe(engine)
    timings = measure(engine, batch_sizes, runs, inference)
    return Report(
        model=name,
        speed=options.speed,
        machine=machine,
        tile_side=engine.model.config.tile_side,
        load_seconds=loaded,
        peak_memory_bytes=peak_memory(engine.device),
        size=work.size,
        tiles=len(work.tiles),
        windows=len(work.windows),
        images_per_hour=3600 / min(timing.of_image(work.tiles, work.windows) for timing in timings),
        timings=timings,
    )


def _opened(choice: ModelChoice, options: Options, size: Size) -> tuple[Engine, InferenceConfig, Layout]:
    """A model of either kind, its settings, and the tiles of an image: of `size`, or of the one size it makes."""
    assert choice.model is not None
    if read_config(resolve_model(choice.model, choice.dtype)).classes is None:
        upscaler = choice.load()
        return upscaler.engine, upscaler.settings(options).inference, upscaler.layout(size, options)
    arguments = {"device": choice.device, "dtype": choice.dtype, "compiled": choice.compiled}
    generator = Generator.from_pretrained(choice.model, **arguments)  # type: ignore[arg-type]
    side, whole = generator.config.tile_side, [Tile(0, 0, 0, generator.config.latent_side)]
    return generator.engine, generator.inference, Layout((side, side), (side, side), whole, whole)


def describe(engine: Engine) -> Machine:
    """The machine and what matrix products reach on it."""
    device = engine.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    dtype = engine.precision.compute
    return Machine(
        f"{name} ({device})",
        torch.get_num_threads(),
        torch.__version__,
        "int8" if engine.precision.int8 else str(dtype).removeprefix("torch."),
        matrix_peak(device, dtype),
    )


def measure(engine: Engine, batch_sizes: Sequence[int], runs: int, inference: InferenceConfig) -> list[Timing]:
    """Time each batch size `runs` times, once it is ready. Raises `TooLittleMemoryError`."""
    timings: list[Timing] = []
    warm_up = engine.runs_until_ready
    total = len(batch_sizes) * (warm_up + runs)
    for tiles in batch_sizes:
        with memory_errors(engine.device), torch.inference_mode():
            batch = _given(engine, tiles)
            measured = []
            for run in range(warm_up + runs):
                measured.append(_timed(engine, batch, inference))
                _log.info("run %d of %d", len(timings) * (warm_up + runs) + run + 1, total)
        first, others = measured[:-runs], measured[-runs:]
        seconds = {stage: statistics.median(run[stage] for run in others) for stage in others[0]}
        ready = sum(sum(run.values()) for run in first)
        timings.append(Timing(tiles, seconds, operations(engine, tiles, inference), ready))
    return timings


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that CUDA tensors took, elsewhere the most that the process had in memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def operations(engine: Engine, tiles: int, inference: InferenceConfig) -> dict[str, int]:
    """Floating-point operations of each stage, counted without computing them."""
    config = engine.model.config
    with torch.device("meta"):
        model = VARSR(config).to("meta", engine.precision.compute)
    model.quantizer.float()  # these two are float32 whatever the rest is
    model.transformer.rotary = model.transformer.rotary.float()
    counting = Engine(model, torch.device("meta"), engine.precision)
    batch = _given(counting, tiles)
    counted: dict[str, int] = {}
    before = 0
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        for name in _stages(counting, batch, inference):
            total = counter.get_total_flops()
            counted[name], before = total - before, total
    return counted


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of matrix products, the best that any of several sizes reaches in several runs."""
    best = 0.0
    for side in PEAK_SIDES:
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        for _ in range(PEAK_RUNS):
            _wait(device)
            start = time.perf_counter()
            a @ b
            _wait(device)
            best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best


def _stages(engine: Engine, given: Tensor, inference: InferenceConfig) -> Iterator[str]:
    """Compute a batch and yield the name of each stage as it is done; the first has the prefix in it."""
    config, count = engine.model.config, len(given)
    latent = torch.zeros(count, config.tokenizer.channels, *(config.latent_side,) * 2, device=engine.device)
    if inference.tokens:
        names = ["prefix", *(f"scale {side} x {side}" for side in config.scales[1:])]
        names += ["corrector"] if inference.corrector_steps else []
        for name, grown in zip(names, engine.generate(given, TileNoise(0, range(count)), inference), strict=True):
            latent = grown
            yield name
    pixels = torch.zeros(
        count, 3, config.tile_side, config.tile_side, dtype=engine.precision.compute, device=engine.device
    )
    engine.model.decode(latent.to(pixels.dtype), pixels, DecodeConfig())
    yield "decoder"


def _timed(engine: Engine, given: Tensor, inference: InferenceConfig) -> dict[str, float]:
    seconds: dict[str, float] = {}
    _wait(engine.device)
    last = time.perf_counter()
    for stage in _stages(engine, given, inference):
        _wait(engine.device)
        now = time.perf_counter()
        seconds[stage], last = now - last, now
    return seconds


def _given(engine: Engine, count: int) -> Tensor:
    """Tiles of smooth noise, or classes: the time does not depend on what an image shows."""
    config = engine.model.config
    if config.classes is not None:
        return (torch.arange(count) % config.classes).to(engine.device)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator) * 2 - 1
    pixels = torch.nn.functional.interpolate(coarse, size=(config.tile_side,) * 2, mode="bilinear")
    return pixels.to(engine.device, engine.precision.compute)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor() -> str:
    """The processor's name, as far as the system knows it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
