"""Names of choices. Free of heavy imports, so that the command line can list them at once."""

from __future__ import annotations

from typing import Literal

DtypeName = Literal["auto", "fp32", "bf16", "fp16", "int8"]
StoredDtype = Literal["bf16", "fp32"]
ColorFix = Literal["adain", "wavelet", "none"]
Speed = Literal["default", "fast"]
DegradationName = Literal["bicubic", "realesrgan", "noise-jpeg"]
TiffCompression = Literal["deflate", "lzw", "zstd", "none"]
RawColors = Literal["srgb", "wide"]
CmykName = Literal["convert", "keep"]
ChannelsName = Literal["y", "y-full", "rgb"]
VideoCodecName = Literal["h264", "h265", "av1", "ffv1", "prores"]
