"""Files of 16 bits a channel."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from varsr.images.encoding import DEFAULT
from varsr.images.metadata import Metadata
from varsr.images.photo import from_channels
from varsr.images.rows import write_channels
from varsr.tiling.array import FloatImage


def write_sixteen_bit(channels: FloatImage, file: Path | BinaryIO, format: str, metadata: Metadata) -> None:
    """Write (H, W, C) in [0, 1] as PNG or TIFF of 16 bits."""
    photo = from_channels(channels, format, metadata, sixteen_bit=True)
    buffer = io.BytesIO()
    write_channels(photo, photo.size, [channels], buffer, format, DEFAULT)
    if isinstance(file, Path):
        file.write_bytes(buffer.getvalue())
    else:
        file.write(buffer.getvalue())
