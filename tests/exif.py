"""The EXIF of a camera."""

from __future__ import annotations

from PIL import Image
from PIL.TiffImagePlugin import IFDRational


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    details, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    details[0x829A] = IFDRational(1, 250)
    details[0x9003] = "2024:05:01 12:00:00"
    place[1], place[2] = "N", (IFDRational(48), IFDRational(8), IFDRational(30))
    return exif
