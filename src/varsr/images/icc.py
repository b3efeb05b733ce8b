"""ICC profiles of three primaries and three curves, which most working spaces and cameras have (ICC.1:2022)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from varsr.tiling.array import FloatImage

_SAMPLES = 4096
_PRIMARIES, _CURVES, _TABLES = (b"rXYZ", b"gXYZ", b"bXYZ"), (b"rTRC", b"gTRC", b"bTRC"), (b"A2B0", b"B2A0")


@dataclass(frozen=True)
class Curve:
    """Light at evenly spaced values of a channel, rising."""

    light: NDArray[np.float32]

    def decoded(self, values: FloatImage) -> FloatImage:
        """Values in [0, 1] as light."""
        return np.interp(values, np.linspace(0, 1, len(self.light)), self.light).astype(np.float32)

    def encoded(self, light: FloatImage) -> FloatImage:
        """Light in [0, 1] as values."""
        return np.interp(light, self.light, np.linspace(0, 1, len(self.light))).astype(np.float32)


@dataclass(frozen=True)
class MatrixProfile:
    """Curves of red, green and blue, and the matrix of their light to XYZ under D50."""

    to_pcs: NDArray[np.float64]
    curves: tuple[Curve, Curve, Curve]


def read_matrix_profile(profile: bytes) -> MatrixProfile | None:
    """The primaries and curves of a profile; None for one that holds tables too, or is of another kind."""
    tags = _tags(profile)
    if any(name in tags for name in _TABLES) or not all(name in tags for name in (*_PRIMARIES, *_CURVES)):
        return None
    try:
        columns = [_xyz(tags[name]) for name in _PRIMARIES]
        red, green, blue = (_curve(tags[name]) for name in _CURVES)
    except (struct.error, ValueError):
        return None
    return MatrixProfile(np.stack(columns, axis=1), (red, green, blue))


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = int.from_bytes(profile[128:132], "big")
    found = {}
    for number in range(min(count, 200)):
        at = 132 + 12 * number
        offset, size = (int.from_bytes(profile[at + k : at + k + 4], "big") for k in (4, 8))
        found[profile[at : at + 4]] = profile[offset : offset + size]
    return found


def _xyz(tag: bytes) -> NDArray[np.float64]:
    if tag[:4] != b"XYZ ":
        raise ValueError("not an XYZ tag")
    return np.array(struct.unpack(">3i", tag[8:20]), np.float64) / 65536


def _curve(tag: bytes) -> Curve:
    values = np.linspace(0, 1, _SAMPLES)
    if tag[:4] == b"curv":
        light = _sampled(tag, values)
    elif tag[:4] == b"para":
        light = _parametric(tag, values)
    else:
        raise ValueError("not a curve")
    rising = np.maximum.accumulate(light.clip(0, 1))
    if not np.isfinite(rising).all() or rising[-1] <= rising[0]:
        raise ValueError("not a rising curve")
    return Curve(rising.astype(np.float32))


def _sampled(tag: bytes, values: NDArray[np.float64]) -> NDArray[np.float64]:
    (count,) = struct.unpack(">I", tag[8:12])
    if count == 0:
        return values
    if count == 1:
        gamma: float = struct.unpack(">H", tag[12:14])[0] / 256
        return values**gamma
    samples = np.frombuffer(tag, ">u2", count, 12) / 65535
    return np.interp(values, np.linspace(0, 1, count), samples)


def _parametric(tag: bytes, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Functions 0 to 4 of table 68: (a x + b)^g + e from d on, c x + f below."""
    (kind,) = struct.unpack(">H", tag[8:10])
    names = {0: "g", 1: "gab", 2: "gabc", 3: "gabcd", 4: "gabcdef"}.get(kind)
    if names is None:
        raise ValueError("unknown function")
    numbers = np.array(struct.unpack(f">{len(names)}i", tag[12 : 12 + 4 * len(names)])) / 65536
    p = dict.fromkeys("abcdef", 0.0) | {"a": 1.0} | dict(zip(names, numbers, strict=True))
    if kind in (1, 2):  # the straight part ends where the power begins, at height c
        p |= {"d": -p["b"] / p["a"], "e": p["c"], "f": p["c"], "c": 0.0}
    power = np.maximum(p["a"] * values + p["b"], 0) ** p["g"] + p["e"]
    return np.where(values >= p["d"], power, p["c"] * values + p["f"])
