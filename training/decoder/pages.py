"""Pages of text and line drawings, which photographs hold too little of, drawn with the fonts of this machine.

python -m training.decoder.pages FOLDER --count 24
"""

from __future__ import annotations

import argparse
import random
import string
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIDE = 2048  # drawn at, and reduced to half, so that edges are smooth
FONTS = Path("/usr/share/fonts")
Color = tuple[int, int, int]


def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=24)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    fonts = sorted(file for file in FONTS.rglob("*.[to]tf") if _is_latin(file))
    if not fonts:
        raise FileNotFoundError(f"no fonts in {FONTS}: install fonts-dejavu-core")
    for number in range(options.count):
        draw_page(random.Random(number), fonts).reduce(2).save(options.folder / f"page-{number:03}.png")


def draw_page(rng: random.Random, fonts: list[Path]) -> Image.Image:
    """Blocks of text in several sizes, or shapes and lines, on paper of one colour for each block."""
    page = Image.new("RGB", (SIDE, SIDE), _paper(rng))
    draw = ImageDraw.Draw(page)
    top = 0
    while top < SIDE:
        height = rng.randrange(240, 720)
        paper = _paper(rng)
        draw.rectangle((0, top, SIDE, top + height), fill=paper)
        if rng.random() < 0.8:
            _write(draw, rng, fonts, top, height, _ink(rng, paper))
        else:
            _sketch(draw, rng, top, height)
        top += height
    return page


def _write(draw: ImageDraw.ImageDraw, rng: random.Random, fonts: list[Path], top: int, height: int, ink: Color) -> None:
    size = int(32 * 2 ** rng.uniform(0, 2))
    font = ImageFont.truetype(str(rng.choice(fonts)), size)
    left = rng.randrange(0, 40)
    for line in range(top + rng.randrange(0, size), top + height - size, int(size * rng.uniform(1.1, 1.6))):
        draw.text((left, line), _words(rng, 2 * SIDE // size), fill=ink, font=font)


def _sketch(draw: ImageDraw.ImageDraw, rng: random.Random, top: int, height: int) -> None:
    for _ in range(40):
        x, y = rng.randrange(SIDE), top + rng.randrange(height)
        box = (x, y, x + rng.randrange(8, 400), y + rng.randrange(8, 240))
        color, width = _paper(rng), rng.randrange(2, 14)
        shape = rng.choice(("line", "rectangle", "ellipse"))
        if shape == "line":
            draw.line(box, fill=color, width=width)
        elif shape == "rectangle":
            draw.rectangle(box, outline=color, width=width, fill=rng.choice((None, _paper(rng))))
        else:
            draw.ellipse(box, outline=color, width=width, fill=rng.choice((None, _paper(rng))))


def _words(rng: random.Random, letters: int) -> str:
    words: list[str] = []
    while sum(map(len, words)) < letters:
        word = "".join(rng.choices(string.ascii_lowercase, k=rng.randrange(1, 10)))
        words.append(rng.choice((word, word, word.capitalize(), word.upper(), str(rng.randrange(10000)))))
    return " ".join(words)


def _paper(rng: random.Random) -> Color:
    if rng.random() < 0.5:
        grey = rng.choice((255, 255, 250, 240, 225, 60, 30, 0))
        return grey, grey, grey
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _ink(rng: random.Random, paper: Color) -> Color:
    """A colour well apart from the paper's."""
    dark = sum(paper) > 380
    low, high = (0, 90) if dark else (170, 256)
    return rng.randrange(low, high), rng.randrange(low, high), rng.randrange(low, high)


def _is_latin(file: Path) -> bool:
    try:
        font = ImageFont.truetype(str(file), 20)
    except OSError:
        return False
    return font.getmask("g").getbbox() not in (None, font.getmask("\uffff").getbbox())


if __name__ == "__main__":
    main()
