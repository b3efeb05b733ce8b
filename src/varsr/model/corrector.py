"""The quantization-error corrector: a small diffusion network over single tokens.

Given what the transformer knows of a token of the last scale, it samples the part of the latent that
the codebook could not express.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from varsr.model.config import TRAINING_STEPS, CorrectorConfig
from varsr.model.guidance import POSITIVE, guide
from varsr.model.layers import LayerNorm, Linear, modulated_norm

NoiseSource = Callable[[int], Tensor]
"""Draw n of a sampler: 0 is the start, then one after each step but the last. (T, L, Z)."""


@dataclass(frozen=True)
class Step:
    """The constants of one denoising step; alpha_bar is the share of signal left, as in DDPM."""

    timestep: int
    noise_to_start: tuple[float, float]
    """x0 = first * x - second * eps."""
    posterior_mean: tuple[float, float]
    """mean = first * x0 + second * x."""
    log_variance: tuple[float, float]
    """The lower and the upper bound, between which the network chooses."""


def schedule(steps: int) -> list[Step]:
    """The cosine schedule (Nichol and Dhariwal 2021, eq. 17) respaced to `steps`, noisiest first."""
    moments = np.arange(TRAINING_STEPS + 1) / TRAINING_STEPS
    curve = np.cos((moments + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = np.minimum(1 - curve[1:] / curve[:-1], 0.999)
    timesteps = np.linspace(0, TRAINING_STEPS - 1, steps).round().astype(int)
    alpha_bar = np.cumprod(1 - betas)[timesteps]
    before = np.concatenate([[1.0], alpha_bar[:-1]])
    beta = 1 - alpha_bar / before
    posterior = beta * (1 - before) / (1 - alpha_bar)
    posterior[0] = posterior[1]  # the true one is 0; its logarithm is clipped to the next
    return [
        Step(
            timestep=int(timesteps[i]),
            noise_to_start=(1 / math.sqrt(alpha_bar[i]), math.sqrt(1 / alpha_bar[i] - 1)),
            posterior_mean=(
                beta[i] * math.sqrt(before[i]) / (1 - alpha_bar[i]),
                (1 - before[i]) * math.sqrt(1 - beta[i]) / (1 - alpha_bar[i]),
            ),
            log_variance=(math.log(posterior[i]), math.log(beta[i])),
        )
        for i in reversed(range(steps))
    ]


class CorrectorBlock(nn.Module):
    """A residual two-layer perceptron, modulated by timestep and condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm(width)
        self.mlp = nn.Sequential(Linear(width, width), nn.SiLU(inplace=True), Linear(width, width))
        self.modulation = Linear(width, 3 * width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """X (G, N, w), SiLU of the condition y (G, N, w) -> (G, N, w)."""
        shift, scale, gate = self.modulation(y).chunk(3, dim=-1)
        return torch.addcmul(x, gate, self.mlp(torch.addcmul(shift, self.norm(x), 1 + scale)))


class Corrector(nn.Module):
    """The network and its sampler."""

    timesteps: Tensor

    def __init__(self, config: CorrectorConfig, channels: int, condition_width: int) -> None:
        super().__init__()
        self.config = config
        self.norm = LayerNorm(condition_width)
        self.condition = Linear(condition_width, config.width)
        self.time = nn.Sequential(
            Linear(config.frequencies, config.width), nn.SiLU(), Linear(config.width, config.width)
        )
        self.input = Linear(channels, config.width)
        self.blocks = nn.ModuleList(CorrectorBlock(config.width) for _ in range(config.blocks))
        self.output_modulation = Linear(config.width, 2 * config.width)
        self.output = Linear(config.width, 2 * channels)
        self.register_buffer("timesteps", timestep_table(config.frequencies), persistent=False)

    def predict(self, x: Tensor, time: Tensor, condition: Tensor, guidance_scale: float) -> tuple[Tensor, Tensor]:
        """Guided noise and variance choice (T, L, Z) for x (T, L, Z), from embedded time (w) and (G, T, L, w)."""
        y = F.silu(condition + time)
        h: Tensor = self.input(x.to(y.dtype)).expand_as(y)
        for block in self.blocks:
            h = block(h, y)
        shift, scale = self.output_modulation(y).chunk(2, dim=-1)
        h = modulated_norm(h, scale, shift)
        # The output layer is linear, so guidance may come before it; the variance is the positive row's.
        noise_weight, choice_weight = self.output.weight.to(h.dtype).chunk(2)
        noise_bias, choice_bias = self.output.bias.to(h.dtype).chunk(2)
        noise = F.linear(guide(h, guidance_scale), noise_weight, noise_bias)
        return noise.float(), F.linear(h[POSITIVE], choice_weight, choice_bias).float()

    def embedded(self, steps: Sequence[Step]) -> Tensor:
        """The timesteps of some steps as the network's input, (steps, frequencies)."""
        return torch.stack([self.timesteps[step.timestep] for step in steps])

    def sample(self, z: Tensor, guidance_scale: float, noise: NoiseSource, steps: int, gain: float) -> Tensor:
        """Condition z (G, T, L, C), before its normalization -> residual of the latent (T, L, Z), float32.

        The respaced sampler takes `steps` steps; `gain` multiplies its sample to give the residual.
        """
        condition = self.condition(self.norm(z))
        walk = schedule(steps)
        times = self.time(self.embedded(walk).to(z.dtype))
        x = noise(0).to(z.device)
        for n, (step, time) in enumerate(zip(walk, times, strict=True), start=1):
            eps, choice = self.predict(x, time, condition, guidance_scale)
            x = _denoise(x, eps, step)
            if n < len(walk):
                x = x + torch.exp(0.5 * _log_variance(choice, step)) * noise(n).to(x.device)
        return gain * x


def _denoise(x: Tensor, eps: Tensor, step: Step) -> Tensor:
    start = step.noise_to_start[0] * x - step.noise_to_start[1] * eps
    return step.posterior_mean[0] * start.clamp_(-1, 1) + step.posterior_mean[1] * x


def _log_variance(choice: Tensor, step: Step) -> Tensor:
    lower, upper = step.log_variance
    fraction = (choice + 1) / 2
    return fraction * upper + (1 - fraction) * lower


def timestep_table(count: int) -> Tensor:
    """All timesteps in so many numbers each, (S, count): cosines, then sines, of geometrically falling frequencies."""
    half = count // 2
    frequencies = np.exp(np.float32(-math.log(10_000) / half) * np.arange(half, dtype=np.float32))
    angles = np.arange(TRAINING_STEPS, dtype=np.float32)[:, None] * frequencies
    return torch.from_numpy(np.concatenate((np.cos(angles), np.sin(angles)), axis=-1))
