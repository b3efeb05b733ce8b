"""varsr bench."""

from __future__ import annotations

import dataclasses
import json as json_module
import re
from typing import TYPE_CHECKING, Annotated

import typer

from varsr.choices import DtypeName, Speed
from varsr.cli.options import Debug, Quiet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varsr.evaluation.benchmark import Machine, Timing

_model = typer.Option("--model", "-m", envvar="VARSR_MODEL", help="As for upscale.", show_default="the default model")
_batch = typer.Option("--batch", help="Tiles at a time, several sizes separated by commas.")
_runs = typer.Option(min=1, help="Timed runs of each size; their median counts.")
_size = typer.Option(help="WIDTHxHEIGHT of the result for which pictures an hour are told.")
_speed = typer.Option(help="The mode to measure, as for upscale.")
_no_compile = typer.Option("--no-compile", help="As for upscale.")
_json = typer.Option("--json", help="Print one JSON object.")
_device = typer.Option(help="auto, cpu, cuda, cuda:1, mps.")
_dtype = typer.Option(help="The type to compute in, as for upscale.")


def bench(
    model: Annotated[str, _model] = "",
    batch: Annotated[str, _batch] = "1,8",
    runs: Annotated[int, _runs] = 3,
    size: Annotated[str, _size] = "3000x2000",
    device: Annotated[str, _device] = "auto",
    dtype: Annotated[DtypeName, _dtype] = "auto",
    speed: Annotated[Speed, _speed] = "default",
    no_compile: Annotated[bool, _no_compile] = False,
    json: Annotated[bool, _json] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure how fast a model is on this machine: seconds a tile, stage by stage, memory, share of the peak.

    varsr bench

    varsr bench --model varsr --batch 1,2,4,8 --json
    """
    import time

    from varsr.evaluation.benchmark import describe, measure, peak_memory
    from varsr.upscaling.options import Options
    from varsr.upscaling.upscaler import Upscaler
    from varsr.weights.registry import default_model

    sizes, (width, height) = _numbers(batch, ","), _two(size)
    chosen = model or default_model()
    started = time.monotonic()
    upscaler = Upscaler.from_pretrained(chosen, device=device, dtype=dtype, compiled=not no_compile)
    loaded = time.monotonic() - started
    machine = describe(upscaler)
    options = Options(speed=speed)
    timings = measure(upscaler, sizes, runs, upscaler.settings(options).inference)
    memory = peak_memory(upscaler.engine.device)
    layout = upscaler.layout((height, width), options)
    tiles, windows = layout.tiles, layout.windows
    hourly = 3600 / min(timing.of_picture(tiles, windows) for timing in timings)
    if json:
        report = {
            "model": chosen,
            "speed": speed,
            "tile_side": upscaler.model.config.tile_side,
            **dataclasses.asdict(machine),
            "load_seconds": loaded,
            "peak_memory_bytes": memory,
            "size": [width, height],
            "tiles": len(tiles),
            "windows": len(windows),
            "pictures_an_hour": hourly,
            "batches": [
                dataclasses.asdict(timing) | {"seconds_a_tile": timing.per_tile, "share_of_peak": timing.share(machine)}
                for timing in timings
            ],
        }
        print(json_module.dumps(report))
        return
    side = upscaler.model.config.tile_side
    print(f"{chosen}, tiles of {side} px, {machine.dtype} on {machine.device}, {machine.threads} threads")
    print(f"torch {machine.torch}, matrix products {machine.peak / 1e12:.2f} TFLOP/s")
    print(f"loaded in {loaded:.1f} s, peak memory {memory / 2**30:.2f} GiB\n")
    _show(machine, timings)
    print(f"\n{width} x {height} px: {len(tiles)} tiles, {hourly:.1f} pictures an hour")


def _show(machine: Machine, timings: Sequence[Timing]) -> None:
    """Milliseconds a tile and share of the peak, for each stage and batch size."""
    print(f"{'ms a tile':14}" + "".join(f"{'batch ' + str(timing.tiles):>12}{'of peak':>9}" for timing in timings))
    for stage in timings[0].seconds:
        cells = [(1000 * t.seconds[stage] / t.tiles, t.share(machine, stage)) for t in timings]
        print(f"{stage:14}" + "".join(f"{ms:12.1f}{share:9.0%}" for ms, share in cells))
    totals = [(1000 * t.per_tile, t.share(machine)) for t in timings]
    print(f"{'together':14}" + "".join(f"{ms:12.1f}{share:9.0%}" for ms, share in totals))
    print(f"{'first run':14}" + "".join(f"{1000 * t.first / t.tiles:12.1f}{'':9}" for t in timings))


def _numbers(text: str, separator: str) -> list[int]:
    if not re.fullmatch(rf"[1-9]\d*({separator}[1-9]\d*)*", text):
        raise typer.BadParameter(f"{text!r} is no list of numbers.")
    return [int(part) for part in text.split(separator)]


def _two(text: str) -> tuple[int, int]:
    numbers = _numbers(text, "x")
    if len(numbers) != 2:
        raise typer.BadParameter(f"{text!r} is no WIDTHxHEIGHT.")
    return numbers[0], numbers[1]
