"""Make the README's image: parts of examples/photo.jpg enlarged by bicubic and by varsr, side by side, with labels.

python -m scripts.readme_image
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from varsr import Upscaler

PHOTO, TARGET = Path("examples/photo.jpg"), Path("docs/dragonfly.jpg")
PART = (330, 50, 330 + 460, 50 + 400)  # of the enlarged image
GAP, LABEL = 8, 30


def main() -> None:
    """Write the image."""
    with Image.open(PHOTO) as opened:
        image = opened.convert("RGB")
    sides = {
        "bicubic": image.resize((4 * image.width, 4 * image.height), Image.Resampling.BICUBIC),
        "varsr": Upscaler.from_pretrained("mini").upscale(image),
    }
    width, height = PART[2] - PART[0], PART[3] - PART[1]
    sheet = Image.new("RGB", (2 * width + GAP, height + LABEL), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (label, enlarged) in enumerate(sides.items()):
        left = column * (width + GAP)
        sheet.paste(enlarged.crop(PART), (left, LABEL))
        draw.text((left + width // 2, LABEL // 2), label, "black", ImageFont.load_default(18), anchor="mm")
    sheet.save(TARGET, quality=88)


if __name__ == "__main__":
    main()
