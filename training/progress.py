"""A training run that can be stopped at any moment: its options, its budget, its state on disk, its log."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from varsr.storage.local import replacing


def stage_parser(doc: str | None, minutes: float, rate: float) -> argparse.ArgumentParser:
    """The options that all stages share."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument("photographs", type=Path, nargs="+", help="folders to learn from")
    parser.add_argument("--validation", type=Path, nargs="+", required=True, help="folders to measure on")
    parser.add_argument("--run", type=Path, required=True, help="folder of the state and the log")
    parser.add_argument("--minutes", type=float, default=minutes, help="budget; a run goes on until it is spent")
    parser.add_argument("--save-every", type=float, default=300, help="seconds between saved states")
    parser.add_argument("--rate", type=float, default=rate, help="highest learning rate")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    return parser


class TrainingRun:
    """Seconds spent and steps made of a budget, kept in FOLDER/state.pt with whatever is to be resumed."""

    def __init__(self, folder: Path, seconds: float, save_every: float = 300, log_every: int = 100) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.budget = seconds
        self.save_every = save_every
        self.log_every = log_every
        self.spent = 0.0
        self.step = 0

    @property
    def state_file(self) -> Path:
        """Where the state is kept."""
        return self.folder / "state.pt"

    def resume(self) -> dict[str, Any] | None:
        """The state of an earlier run, if there is one."""
        if not self.state_file.exists():
            return None
        state: dict[str, Any] = torch.load(self.state_file, weights_only=True, map_location="cpu")
        self.spent, self.step = state["spent"], state["step"]
        return state

    @property
    def done(self) -> float:
        """The share of the budget that is spent, in [0, 1]."""
        return min(self.spent / self.budget, 1)

    def save(self, **state: Any) -> None:
        """Write the state so that it is whole at every moment."""
        with replacing(self.state_file) as temporary:
            torch.save({"spent": self.spent, "step": self.step, **state}, temporary)

    def keep(self, trained: Trained, measure: Callable[[], Mapping[str, float]], **state: Any) -> None:
        """Log what the EMA weights measure, and save."""
        trained.use_ema()
        self.log(**measure())
        trained.use_float32_weights()
        self.save(trained=trained.state(), **state)

    def steps(self) -> Iterator[bool]:
        """Count steps until the budget is spent; true where it is time to validate and to save."""
        last = self.spent
        while self.spent < self.budget:
            start = time.monotonic()
            due = self.spent - last >= self.save_every
            yield due
            last = self.spent if due else last
            self.step += 1
            # A step that took very long was one during which the machine slept or the process was stopped.
            self.spent += min(time.monotonic() - start, 60)

    def train(self, step: Callable[[], Mapping[str, Tensor]], keep: Callable[[RunningMeans], None]) -> None:
        """Make steps until the budget is spent.

        `step` returns losses; `keep` validates, logs and saves when it is time.
        """
        means = RunningMeans()
        for due in self.steps():
            means.add(step())
            if due:
                keep(means)
            elif self.step % self.log_every == 0:
                self.log(**means.read())
        keep(means)

    def rate(self, peak: float, warmup: int = 200) -> float:
        """The learning rate: a short rise, then half a cosine to a fiftieth over the budget."""
        return peak * min(1, (self.step + 1) / warmup) * (0.02 + 0.98 * (1 + math.cos(math.pi * self.done)) / 2)

    def log(self, **values: float) -> None:
        """Append a line to FOLDER/log.jsonl and print it."""
        line = json.dumps(
            {"step": self.step, "minutes": round(self.spent / 60, 1), **{k: round(v, 4) for k, v in values.items()}}
        )
        print(line, flush=True)
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(line + "\n")


class Trained:
    """A module's weights as they are trained: float32 weights under narrower ones, and their EMA.

    The module computes in the types that it will have when it is used. Gradients go to the float32 weights, which
    the optimizer moves; `ema` is what is kept in the end.
    """

    def __init__(
        self, module: nn.Module, weight_decay: float, decay: float = 0.998, betas: tuple[float, float] = (0.9, 0.99)
    ) -> None:
        self.weights = dict(module.named_parameters())
        self.float32_weights = {name: p.detach().float().clone() for name, p in self.weights.items()}
        self.ema = {name: m.clone() for name, m in self.float32_weights.items()}
        self.decay = decay
        groups = [
            {"params": [m for m in self.float32_weights.values() if m.dim() >= 2], "weight_decay": weight_decay},
            {"params": [m for m in self.float32_weights.values() if m.dim() < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1.0, betas=betas, fused=True)
        self.steps = 0

    def step(self, rate: float, clip: float = 1.0) -> None:
        """Move the weights along their gradients, clipped together to norm `clip`."""
        for name, weight in self.weights.items():
            self.float32_weights[name].grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None
        nn.utils.clip_grad_norm_(self.float32_weights.values(), clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.steps += 1
        momentum = min(self.decay, self.steps / (self.steps + 10))
        torch._foreach_lerp_(list(self.ema.values()), list(self.float32_weights.values()), 1 - momentum)
        self._show(self.float32_weights)

    def _show(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list(self.weights.values()), list(values.values()))

    def use_ema(self) -> None:
        """Compute with the EMA weights until `use_float32_weights`."""
        self._show(self.ema)

    def use_float32_weights(self) -> None:
        """Compute with the float32 weights again."""
        self._show(self.float32_weights)

    def state(self) -> dict[str, Any]:
        """All that `load` needs."""
        return {
            "float32_weights": self.float32_weights,
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`."""
        for name, master in self.float32_weights.items():
            master.copy_(state["float32_weights"][name])
            self.ema[name].copy_(state["ema"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        self.use_float32_weights()


class RunningMeans:
    """Means of losses over about the last hundred steps, kept on the device so that no step waits for them."""

    def __init__(self) -> None:
        self.means: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Take in one step's losses."""
        for name, value in values.items():
            new = value.detach().float()
            self.means[name] = torch.lerp(self.means.get(name, new), new, 0.01)

    def read(self) -> dict[str, float]:
        """The means as numbers."""
        return {name: float(value) for name, value in self.means.items()}
