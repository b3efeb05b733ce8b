"""varsr bench."""

from __future__ import annotations

import json as json_module
import re
from typing import TYPE_CHECKING, Annotated

import typer

from varsr.cli import options as cli
from varsr.upscaling.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varsr.evaluation.benchmark import Machine, Timing

Batch = Annotated[str, typer.Option("--batch", help="Batch sizes in tiles, separated by commas.")]
Runs = Annotated[int, typer.Option("--runs", min=1, help="Timed runs for each batch size; the median is reported.")]
ImageSize = Annotated[str, typer.Option("--size", help="WIDTHxHEIGHT of the output for the images-per-hour figure.")]
JsonReport = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def bench(
    model: cli.ModelName = "",
    batch: Batch = "1,8",
    runs: Runs = 3,
    size: ImageSize = "3000x2000",
    device: cli.Device = "auto",
    dtype: cli.Dtype = "auto",
    speed: cli.SpeedName = DEFAULTS.speed,
    no_compile: cli.NoCompile = False,
    json: JsonReport = False,
    quiet: cli.Quiet = False,
    debug: cli.Debug = False,
    config: cli.Config = None,
    settings: cli.SettingsName = None,
) -> None:
    """Measure how fast a model runs on this machine: time per tile and stage, memory, share of the peak.

    varsr bench

    varsr bench --model varsr --batch 1,2,4,8 --json
    """
    from varsr.evaluation.benchmark import benchmark
    from varsr.upscaling.upscaler import ModelChoice
    from varsr.weights.registry import default_model

    chosen = model or default_model()
    choice = ModelChoice(model=chosen, device=device, dtype=dtype, compiled=not no_compile)
    width, height = _width_and_height(size)
    report = benchmark(choice, Options(speed=speed), (height, width), _numbers(batch, ","), runs)
    if json:
        print(json_module.dumps(report.to_data()))
        return
    machine = report.machine
    print(f"{chosen}, tiles of {report.tile_side} px, {machine.dtype} on {machine.device}, {machine.threads} threads")
    print(f"torch {machine.torch}, matrix products {machine.peak / 1e12:.2f} TFLOP/s")
    print(f"loaded in {report.load_seconds:.1f} s, peak memory {report.peak_memory_bytes / 2**30:.2f} GiB\n")
    _show(machine, report.timings)
    print(f"\n{width} x {height} px: {report.tiles} tiles, {report.images_per_hour:.1f} images per hour")


def _show(machine: Machine, timings: Sequence[Timing]) -> None:
    """Print milliseconds per tile and the share of the peak, for each stage and batch size."""
    print(f"{'ms per tile':14}" + "".join(f"{'batch ' + str(timing.tiles):>12}{'of peak':>9}" for timing in timings))
    for stage in timings[0].seconds:
        cells = [(1000 * t.seconds[stage] / t.tiles, t.share(machine, stage)) for t in timings]
        print(f"{stage:14}" + "".join(f"{ms:12.1f}{share:9.0%}" for ms, share in cells))
    totals = [(1000 * t.per_tile, t.share(machine)) for t in timings]
    print(f"{'total':14}" + "".join(f"{ms:12.1f}{share:9.0%}" for ms, share in totals))
    print(f"{'first run':14}" + "".join(f"{1000 * t.first / t.tiles:12.1f}{'':9}" for t in timings))


def _numbers(text: str, separator: str) -> list[int]:
    if not re.fullmatch(rf"[1-9]\d*({separator}[1-9]\d*)*", text):
        raise typer.BadParameter(f"{text!r} is not a list of numbers.")
    return [int(part) for part in text.split(separator)]


def _width_and_height(text: str) -> tuple[int, int]:
    numbers = _numbers(text, "x")
    if len(numbers) != 2:
        raise typer.BadParameter(f"{text!r} is not WIDTHxHEIGHT.")
    return numbers[0], numbers[1]
