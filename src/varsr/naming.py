"""What results are called."""

from __future__ import annotations

from pathlib import Path

from varsr.imaging.write import SUFFIXES


def default_output(source: Path, format: str, scale: float) -> Path:
    """The name beside `source`: photo.jpg at scale 4 becomes photo_x4.jpg.

    The suffix stays where it names the picture's own format and that can be written; otherwise it is .png.
    """
    suffix = source.suffix if SUFFIXES.get(source.suffix.lower()) == format else ".png"
    return source.with_name(f"{source.stem}_x{scale:g}{suffix}")
