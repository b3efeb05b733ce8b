"""Seconds, memory and share of the machine's peak for one tile, stage by stage.

    python -m benchmarks.tile MODEL.safetensors --dtype bf16 --photo tests/data/dandelion.jpg

The first run of a process pays for memory that the system hands out; both runs are shown.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from varsr.device import DTYPES, Precision, pick_device, pick_precision
from varsr.imaging.read import read_photo
from varsr.imaging.resize import resize
from varsr.model.config import ModelConfig
from varsr.model.sampling import ARGMAX, TileNoise
from varsr.model.varsr import VARSR
from varsr.weights.checkpoint import load_model

Mark = Callable[[str], None]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--photo", type=Path, required=True)
    options = parser.parse_args()

    device = pick_device(options.device)
    precision = pick_precision(options.dtype, device)
    model = load_model(options.model, device, precision)
    loaded = seconds_since_start()
    tile = tile_of(options.photo, model.config, precision).to(device)
    work = operations(model.config, precision)
    with torch.inference_mode():
        runs = [timed(model, tile) for _ in range(2)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    peak = matrix_peak(device, precision)

    print(f"{platform.processor() or platform.machine()}, {processor()}, {torch.get_num_threads()} threads, {device}")
    print(f"torch {torch.__version__}, weights {precision.weights}, arithmetic {precision.compute}")
    print(f"matrix products reach {peak / 1e12:.2f} TFLOP/s")
    print(f"process start to model loaded {loaded:.1f} s, peak resident memory {memory:.2f} GiB")
    print(f"{'stage':10} {'first s':>8} {'second s':>9} {'TFLOP':>7} {'of peak':>8}")
    for stage, second in runs[1].items():
        share = work[stage] / second / peak
        print(f"{stage:10} {runs[0][stage]:8.2f} {second:9.2f} {work[stage] / 1e12:7.2f} {share:8.0%}")
    totals = [sum(run.values()) for run in runs]
    whole = sum(work.values())
    print(f"{'total':10} {totals[0]:8.2f} {totals[1]:9.2f} {whole / 1e12:7.2f} {whole / totals[1] / peak:8.0%}")


def stages(model: VARSR, tile: Tensor, mark: Mark) -> None:
    """Restore a tile and call `mark` with the name of each stage as it is done."""
    noise = TileNoise(0, range(len(tile)))
    strength = model.config.guidance.single
    for prediction in model.predict(tile, strength, ARGMAX, noise):
        mark(f"scale {prediction.scale + 1}")
    latent = model.correct(prediction, strength, noise)
    mark("corrector")
    model.decoder(latent.to(tile.dtype), tile)
    mark("decoder")


def timed(model: VARSR, tile: Tensor) -> dict[str, float]:
    """Seconds of each stage."""
    seconds: dict[str, float] = {}
    last = time.perf_counter()

    def mark(stage: str) -> None:
        nonlocal last
        if tile.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        seconds[stage], last = now - last, now

    stages(model, tile, mark)
    return seconds


def operations(config: ModelConfig, precision: Precision) -> dict[str, int]:
    """Floating-point operations of each stage, counted without computing them."""
    with torch.device("meta"):
        model = VARSR(config).to("meta", precision.compute)
        tile = torch.empty(1, 3, config.tile_side, config.tile_side, dtype=precision.compute)
    model.quantizer.float()
    counted: dict[str, int] = {}
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        stages(model, tile, lambda stage: counted.update({stage: counter.get_total_flops() - sum(counted.values())}))
    return counted


def tile_of(path: Path, config: ModelConfig, precision: Precision) -> Tensor:
    """The photo, upsampled to one tile: (1, 3, S, S) in [-1, 1]."""
    pixels = resize(read_photo(path).color, (config.tile_side, config.tile_side)).clip(0, 1)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].mul(2).sub(1).to(precision.compute)


def matrix_peak(device: torch.device, precision: Precision) -> float:
    """Operations a second of a large matrix product, the best of five."""
    side = 4096
    a, b = (torch.randn(side, side, device=device, dtype=precision.compute) for _ in range(2))
    best = 0.0
    for _ in range(5):
        with stopwatch(device) as seconds:
            a @ b
        best = max(best, 2 * side**3 / seconds[0])
    return best


@contextmanager
def stopwatch(device: torch.device) -> Iterator[list[float]]:
    """Yield a list that holds the block's seconds once it is done."""
    seconds: list[float] = []
    start = time.perf_counter()
    yield seconds
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds.append(time.perf_counter() - start)


def seconds_since_start() -> float:
    """Since this process was started, imports included (Linux)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def processor() -> str:
    """The processor's name (Linux)."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
