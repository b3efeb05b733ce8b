"""Inference settings of the network: values that can be chosen for each run and shape no tensor."""

from __future__ import annotations

from dataclasses import dataclass

from varsr.model.sampling import ARGMAX, Sampling

VIEWS = (1, 2, 4)


@dataclass(frozen=True)
class InferenceConfig:
    """Settings under which latents are predicted. The defaults are those of the published model for a single tile.

    Raises `ValueError` for values that the network cannot use.
    """

    guidance_scale: float = 6.0
    """Weight of classifier-free guidance at the last scale, 0 for none; it rises linearly from 0 at the first."""
    guided_scales: int = 10
    """Number of the last scales that are guided, at least 2; a number above the model's scales means all."""
    guided_tokens: float = 1.0
    """Share of the computed tokens of the last scale that also get the negative pass, in (0, 1]."""
    tokens: bool = True
    """False predicts no token: the latent stays zero, and a decoder that restores its input by itself works alone."""
    keep_ratio: float = 1.0
    """Token pruning: share of the tokens of the last 2 scales that are computed, in (0, 1]."""
    sampling: Sampling = ARGMAX
    fidelity: float = 0.0
    """From 0, the code of each token, to 1, the mean of all codes by their probability: higher PSNR, less sharp."""
    corrector_steps: int = 10
    """Denoising steps of the corrector, at least 2; 0 leaves the corrector out."""
    corrector_gain: float = 0.6
    """Factor from the corrector's sample to the residual of the latent."""

    def __post_init__(self) -> None:
        for name in ("keep_ratio", "guided_tokens"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, not {getattr(self, name)}")
        if not 0 <= self.fidelity <= 1:
            raise ValueError(f"fidelity must be 0 to 1, not {self.fidelity}")
        if self.guided_scales < 2:
            raise ValueError(f"guided_scales must be at least 2, not {self.guided_scales}")
        if self.corrector_steps != 0 and not 2 <= self.corrector_steps <= 1000:
            raise ValueError(f"corrector_steps must be 0 or 2 to 1000, not {self.corrector_steps}")


@dataclass(frozen=True)
class DecodeConfig:
    """Settings under which a decoder with a realism dial decodes latents; others decode alike under all.

    Raises `ValueError` for values that it cannot use.
    """

    realism: float = 1.0
    """From 0, faithful, to 1, realistic."""
    views: int = 1
    """Mirrored views that are decoded, of which the mean is taken: 1, 2 or 4."""

    def __post_init__(self) -> None:
        if not 0 <= self.realism <= 1:
            raise ValueError(f"realism must be 0 to 1, not {self.realism}")
        if self.views not in VIEWS:
            raise ValueError(f"views must be 1, 2 or 4, not {self.views}")
