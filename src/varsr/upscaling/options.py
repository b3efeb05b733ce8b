"""Options that a user may set for an image, under the names of the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from varsr.choices import ColorFix, Speed
from varsr.errors import RequestError


@dataclass(frozen=True)
class Options:
    """Options of upscaling. None leaves a value to the model's preset, which `speed` chooses.

    Raises:
        RequestError: a value is of the wrong kind or out of its range.

    """

    speed: Speed = "default"
    """Preset of the model: "default", or "fast", which computes less and changes the image a little."""
    realism: float | None = None
    """From 0, faithful, to 1, realistic. Models without a dial scale their guidance by it, unless `cfg` is given."""
    cfg: float | None = None
    """Guidance scale, 0 to 1000. 0 turns guidance off; more is sharper and less faithful."""
    fidelity: float | None = None
    """From 0, the code of each token, to 1, the mean of all codes by their probability: higher PSNR, less sharp."""
    seed: int = 0
    """Seed of everything that is drawn: by the corrector, and by token sampling unless `top_k` is 1."""
    top_k: int = 1
    """Sample tokens from the K most likely; 1 takes the most likely, 0 considers all."""
    top_p: float = 1.0
    """Sample from the fewest tokens that together have this probability, 0 to 1."""
    temperature: float = 1.0
    """Flatten (above 1) or sharpen (below 1) the distribution that tokens are sampled from."""
    corrector: bool = True
    """Correct quantization errors with the diffusion network."""
    corrector_steps: int | None = None
    """Denoising steps of the corrector, 2 to 1000."""
    color_fix: ColorFix | None = None
    """Transfer the input's colours to the result: "adain", "wavelet" or "none"."""
    tile_overlap: int | None = None
    """Latent positions that neighbouring tiles share, from 0 to the side of a tile less 1."""
    tokens: bool | None = None
    """Predict tokens. Without them a model with a dial restores by its decoder alone; others need them."""
    keep_ratio: float | None = None
    """Token pruning: share of the tokens of the last 2 scales that are computed, 0.01 to 1."""
    guided_tokens: float | None = None
    """Share of these that also get the negative pass of guidance at the last scale, 0.01 to 1."""
    guided_scales: int | None = None
    """Guidance interval: how many of the last scales are guided, 2 to 1000; more than the model has means all."""
    batch_size: int | None = None
    """Tiles computed at a time. None chooses by model and device."""

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and low <= value <= high):
                raise RequestError(f"`{name}` cannot be {value!r}.", f"Use {low:g} to {high:g}.")
        for name, choices in _CHOICES:
            if (chosen := getattr(self, name)) not in choices:
                known = ", ".join(choice for choice in choices if choice is not None)
                raise RequestError(f"`{name}` cannot be {chosen!r}.", f"Use one of {known}.")


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("realism", 0, 1),
    ("cfg", 0, 1000),
    ("fidelity", 0, 1),
    ("seed", 0, 2**63 - 1),
    ("top_k", 0, math.inf),
    ("top_p", 0, 1),
    ("temperature", 1e-3, 1000),
    ("corrector_steps", 2, 1000),
    ("keep_ratio", 0.01, 1),
    ("guided_tokens", 0.01, 1),
    ("guided_scales", 2, 1000),
    ("batch_size", 1, math.inf),
)
_CHOICES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    ("speed", get_args(Speed)),
    ("color_fix", (None, *get_args(ColorFix))),
)
DEFAULTS = Options()
