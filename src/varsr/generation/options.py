"""The wish for an image, and the options of generation, under the names of the command line."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from varsr.errors import RequestError


@dataclass(frozen=True)
class Wish:
    """An image that is asked for: equal wishes give equal images."""

    label: int
    """Number of the class, from 0."""
    seed: int = 0


@dataclass(frozen=True)
class GenerationOptions:
    """Options of generation. None leaves a value to the model's preset.

    Raises:
        RequestError: a value is of the wrong kind or out of its range.

    """

    cfg: float | None = None
    """Guidance scale, 0 to 1000. 0 turns guidance off; more keeps closer to the class and varies less."""
    top_k: int = 20
    """Sample tokens from the K most likely; 1 takes the most likely, 0 considers all."""
    top_p: float = 0.75
    """Sample from the fewest tokens that together have this probability, 0 to 1."""
    temperature: float = 1.0
    """Flatten (above 1) or sharpen (below 1) the distribution that tokens are sampled from."""
    corrector: bool = True
    """Correct quantization errors with the diffusion network."""
    batch_size: int | None = None
    """Images computed at a time. None chooses by model and device."""

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and low <= value <= high):
                raise RequestError(f"`{name}` cannot be {value!r}.", f"Use {low:g} to {high:g}.")

    def described(self) -> dict[str, Any]:
        """The options that change an image, without those that are left to the preset."""
        return {k: v for k, v in asdict(self).items() if v is not None and k != "batch_size"}


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("cfg", 0, 1000),
    ("top_k", 0, math.inf),
    ("top_p", 0, 1),
    ("temperature", 1e-3, 1000),
    ("batch_size", 1, math.inf),
)
