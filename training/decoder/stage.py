"""Shared by both stages: the decoder in training with its EMA weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from training.decoder.data import Validation
from training.decoder.network import Decoder, DecoderConfig, load_weights

AnyModule = TypeVar("AnyModule", bound=nn.Module)
ADAPTATION = ("estimator", "router", "condition", "expert", "adapter")
"""Parts of the names of what adapts to an image's degradation. Its stages come after those of all other weights."""
BIASES = ("dial", "condition")
BIAS_RATE = 10
"""The biases of dial and estimate start at zero and have far to go."""


def channels_last(module: AnyModule, device: torch.device) -> AnyModule:
    """`module` on a device, in the layout in which convolutions are fastest."""
    module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


class Training:
    """A decoder, its optimizer and the EMA of its weights, which is what is kept in the end."""

    def __init__(self, config: DecoderConfig, device: torch.device, decay: float) -> None:
        self.device = device
        self.decoder = channels_last(Decoder(config), device)
        self.ema = copy.deepcopy(self.decoder).requires_grad_(False)
        self.decay = decay
        named = dict(self.decoder.named_parameters())
        biases = [weight for name, weight in named.items() if name.endswith(BIASES)]
        others = [weight for name, weight in named.items() if not name.endswith(BIASES)]
        groups = [{"params": others, "times": 1}, {"params": biases, "times": BIAS_RATE}]
        for name, weight in named.items():
            weight.requires_grad_(not any(part in name for part in ADAPTATION))
        self.optimizer = torch.optim.AdamW(groups, lr=0, betas=(0.9, 0.99), weight_decay=1e-5, fused=True)
        self.steps = 0

    def restore(self, enlarged: Tensor, realism: Tensor) -> Tensor:
        """The decoder in training, computed in bfloat16."""
        with torch.autocast(self.device.type, torch.bfloat16):
            restored: Tensor = self.decoder(enlarged, realism)
        return restored

    def restore_by_ema(self, realism: float) -> Callable[[Tensor], Tensor]:
        """The decoder with EMA weights at one realism, in bfloat16."""

        def restore(enlarged: Tensor) -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16):
                restored: Tensor = self.ema(enlarged, enlarged.new_full((len(enlarged), 1, 1, 1), realism))
            return restored

        return restore

    def gains(self, validation: Validation, realisms: Sequence[float]) -> dict[str, float]:
        """By how many dB the EMA weights are above enlarged inputs, of each kind of images at each realism."""
        return {
            f"{name} {realism:g}": gain
            for realism in realisms
            for name, gain in validation.gain(self.restore_by_ema(realism)).items()
        }

    def step(self, rate: float) -> None:
        """Move the weights along their gradients, clipped together to norm 0.5, and their EMA after them."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["times"]
        nn.utils.clip_grad_norm_(self.decoder.parameters(), 0.5)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 9))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.decoder.parameters()), 1 - decay)

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with EMA weights of other runs; what they lack stays as it is."""
        load_weights(self.decoder, weights)
        load_weights(self.ema, weights)

    def freeze_all_but(self, parts: tuple[str, ...]) -> None:
        """Leave every weight as it is whose name has none of `parts` in it."""
        for name, weight in self.decoder.named_parameters():
            weight.requires_grad_(any(part in name for part in parts))

    def state(self) -> dict[str, Any]:
        """All that `load` needs."""
        return {
            "decoder": self.decoder.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`."""
        self.decoder.load_state_dict(state["decoder"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
