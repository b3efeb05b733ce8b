"""Colours that a file describes by numbers instead of a profile: cICP, nclx, gAMA and cHRM.

What has the primaries of sRGB is converted to sRGB. Other primaries become an ICC profile, which every format that
holds profiles can carry. HDR transfers keep their code values and their tag.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from varsr.images.metadata import Metadata
from varsr.tiling.array import FloatImage

Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
"""Chromaticities of red, green, blue and white."""
_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
SRGB: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
_PRIMARIES: dict[int, Primaries] = {
    1: SRGB,
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
"""ITU-T H.273, table 2."""
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
"""Transfers of H.273, table 3, that are powers. Those of television (1, 6, 14, 15) are shown as sRGB (13) is."""
_PQ, _HLG = 16, 18
HDR = {_PQ: "PQ", _HLG: "HLG"}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])
_SAMPLES = 1024
_NEAR = 0.004  # by which chromaticities may differ that files round


@dataclass(frozen=True)
class Coding:
    """Primaries and the exponent of the transfer, None for sRGB's own."""

    primaries: Primaries
    gamma: float | None = None


def coded(color: FloatImage, metadata: Metadata, coding: Coding) -> tuple[FloatImage, Metadata]:
    """Pixels (H, W, C) as sRGB, or with a profile of their primaries, which grey ones do not need."""
    if color.shape[-1] >= 3 and not _alike(coding.primaries, SRGB):
        return color, replace(metadata, icc_profile=matrix_profile(coding))
    if coding.gamma is None:
        return color, metadata
    count = 1 if color.shape[-1] < 3 else 3
    converted = color.copy()
    converted[..., :count] = encoded_srgb(color[..., :count] ** np.float32(coding.gamma))
    return converted, metadata


def coding_of_cicp(cicp: tuple[int, int, int, int] | None) -> Coding | None:
    """The coding that code points describe; None for sRGB and for unspecified or unknown ones."""
    if cicp is None or cicp[1] in HDR:
        return None
    coding = Coding(_PRIMARIES.get(cicp[0], SRGB), _GAMMAS.get(cicp[1]))
    return None if coding == Coding(SRGB) else coding


def coding_of_gamma(gamma: float | None, chromaticities: tuple[float, ...] | None) -> Coding | None:
    """The coding that gAMA (the inverse exponent) and cHRM (white, red, green, blue) describe; None for sRGB."""
    primaries = SRGB
    if chromaticities and len(chromaticities) == 8:
        points = [(chromaticities[i], chromaticities[i + 1]) for i in range(0, 8, 2)]
        if all(y > 0.01 for _, y in points):
            primaries = points[1], points[2], points[3], points[0]
    exponent = None
    if gamma is not None and 0.1 < gamma < 10 and abs(gamma - 1 / 2.2) > 0.01:
        exponent = 1 / gamma
    if _alike(primaries, SRGB):
        primaries = SRGB
    coding = Coding(primaries, exponent)
    return None if coding == Coding(SRGB) else coding


def matrix_profile(coding: Coding) -> bytes:
    """An ICC profile, version 2, of primaries and a transfer (ICC.1:2001-04, 6.3.1.2)."""
    white = _xyz(coding.primaries[3])
    adapted = _adaptation(white)
    columns = np.stack([_xyz(point) for point in coding.primaries[:3]], axis=1)
    matrix = adapted @ (columns * np.linalg.solve(columns, white))
    curve = _curve(coding.gamma)
    tags = {
        b"desc": _description("RGB by its primaries"),
        b"cprt": b"text\0\0\0\0public domain\0",
        b"wtpt": _xyz_tag(_D50),
        **{name: _xyz_tag(matrix[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(
        ">I4sI4s4s4s6H4s4sIIIQI3I4s", start + len(body), b"\0\0\0\0", 0x02100000, b"mntr", b"RGB ", b"XYZ ",
        2024, 1, 1, 0, 0, 0, b"acsp", b"\0\0\0\0", 0, 0, 0, 0, 0, *(_fixed(v) for v in _D50), b"\0\0\0\0",
    )  # fmt: skip
    return header.ljust(128, b"\0") + table + body


def encoded_srgb(linear: FloatImage) -> FloatImage:
    """Light in [0, 1] as sRGB (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055).astype(
        np.float32
    )


def decoded_srgb(values: FloatImage) -> FloatImage:
    """SRGB in [0, 1] as light."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _curve(gamma: float | None) -> bytes:
    decode: Callable[[FloatImage], FloatImage] = decoded_srgb if gamma is None else lambda x: x ** np.float32(gamma)
    values = decode(np.linspace(0, 1, _SAMPLES, dtype=np.float32))
    return b"curv\0\0\0\0" + struct.pack(">I", _SAMPLES) + (values * 65535 + 0.5).astype(">u2").tobytes()


def _description(text: str) -> bytes:
    plain = text.encode("ascii") + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(plain)) + plain + bytes(8 + 3 + 67)


def _xyz_tag(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(_fixed(value) for value in values))


def _fixed(value: float) -> int:
    return round(value * 65536)


def _xyz(point: tuple[float, float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    x, y = point
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _adaptation(
    white: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """From one white to D50, in which profiles are written (Bradford's transform)."""
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    return np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD


def _alike(first: Primaries, second: Primaries) -> bool:
    return bool(np.abs(np.array(first) - np.array(second)).max() < _NEAR)
