"""Previews: images that every browser shows, for the page's slider."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from varsr.images.photo import Photo
from varsr.images.pillow import to_image

LONGEST = 4096


def write_preview(photo: Photo, path: Path) -> None:
    """Write the first frame as a JPEG in sRGB, at most `LONGEST` pixels long, transparency on white."""
    image = to_image(photo.without_profile().on((255, 255, 255)))
    if max(image.size) > LONGEST:
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    image.convert("RGB").save(path, "JPEG", quality=92, subsampling="4:4:4")
