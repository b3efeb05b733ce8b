"""Limits of the server: everything that a client could make large, many or slow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bytes, pixels, numbers and seconds that a client cannot exceed."""

    body_bytes: int = 100 << 20
    field_bytes: int = 16 << 10
    """Of all fields of a form together, its file aside."""
    pixels: int = 100_000_000
    """Of all pages or frames of an input together."""
    result_pixels: int = 400_000_000
    waiting: int = 64
    """Jobs that wait for the worker."""
    kept: int = 256
    """Jobs in all, finished ones among them."""
    keep_seconds: float = 3600
    """Until a finished job expires."""
    connections: int = 1000
    header_seconds: float = 10
    body_seconds: float = 120
    decode_bytes: int = 6 << 30
    """Address space of the process that decodes."""
    decode_seconds: float = 120


DEFAULT = Limits()
