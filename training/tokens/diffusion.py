"""The corrector's loss: predicted noise, and the variational bound for the learned variance.

It is taught at the very timesteps that its sampler visits (Nichol and Dhariwal 2021, eq. 15 and 16).
"""

from __future__ import annotations

import torch
from torch import Tensor

from varsr.model.corrector import Corrector, Step, schedule

BOUND_WEIGHT = 0.01
MOST_BITS = 10.0  # a single token far off must not drown the rest


def corrector_loss(corrector: Corrector, z: Tensor, residual: Tensor, steps: int, gain: float) -> Tensor:
    """The loss for conditions z (B, L, C), before their normalization, and residuals of the latent (B, L, Z).

    `steps` and `gain` are those with which the corrector will sample.
    """
    start = (residual / gain).clamp(-1, 1)
    walk = schedule(steps)
    chosen = torch.randint(len(walk), (len(z),)).tolist()
    times = corrector.time(corrector.embedded([walk[i] for i in chosen]).to(z.dtype))
    constants = torch.tensor([_constants(walk[i]) for i in chosen], device=z.device)[:, :, None, None].unbind(1)
    to_start, to_noise, from_start, _, lower, upper = constants
    noise = torch.randn_like(start)
    x = (start + to_noise * noise) / to_start
    condition = corrector.condition(corrector.norm(z))
    eps, choice = corrector.predict(x, times[:, None], condition[None], 0.0)
    simple = (eps - noise).square().mean()
    with torch.no_grad():
        predicted = (to_start * x - to_noise * eps).clamp(-1, 1)
        distance = (from_start * (start - predicted)).square()
    fraction = (choice + 1) / 2
    log_variance = fraction * upper + (1 - fraction) * lower
    # Kullback-Leibler divergence from the true posterior, whose log variance is the lower bound.
    bound = 0.5 * (log_variance - lower + torch.exp(lower - log_variance) + distance * torch.exp(-log_variance) - 1)
    return simple + BOUND_WEIGHT * bound.clamp(max=MOST_BITS).mean()


def _constants(step: Step) -> tuple[float, ...]:
    return (*step.noise_to_start, *step.posterior_mean, *step.log_variance)
