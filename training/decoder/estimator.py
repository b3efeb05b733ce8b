"""Before the third stage: the estimator of an image's degradation learns how training's images were compressed.

    python -m training.decoder.estimator photographs/train --validation photographs/validation --run runs/estimator

The third stage leaves it as it is: shares that could learn with the decoder shrank.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.decoder.data import Described, Photographs, enlarge
from training.decoder.network import SCALE, Decoder, DecoderConfig, folded, load_weights
from training.progress import RunningMeans, TrainingRun, stage_parser


def main() -> None:
    """Train until the budget is spent."""
    parser = stage_parser(__doc__, minutes=10, rate=2e-3)
    parser.add_argument("--side", type=int, default=48, help="side of the small crops in pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--start", type=Path, help="a decoder whose estimator is trained on")
    options = parser.parse_args()
    progress = TrainingRun(options.run, options.minutes * 60, options.save_every)
    decoder = Decoder(DecoderConfig()).to(options.device)
    if options.start:
        load_weights(decoder, load_file(options.start))
    estimator = decoder.estimator
    optimizer = torch.optim.AdamW(estimator.parameters(), lr=0, betas=(0.9, 0.99))
    state = progress.resume()
    if state:
        estimator.load_state_dict(state["estimator"])
        optimizer.load_state_dict(state["optimizer"])
    largest = SCALE * (options.side + 8)
    photographs = Photographs(options.photographs, largest, options.device, seed=progress.step)
    unseen = Photographs(options.validation, largest, options.device, seed=7).described_pairs(64, options.side)

    def error(small: Tensor, described: Described) -> Tensor:
        return described.error(estimator(folded(enlarge(small))))

    def step() -> dict[str, Tensor]:
        small, _, described = photographs.described_pairs(options.batch, options.side)
        loss = error(small, described)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = progress.rate(options.rate, warmup=50)
        optimizer.step()
        return {"error": loss}

    @torch.no_grad()
    def keep(means: RunningMeans) -> None:
        progress.log(**means.read(), unseen=float(error(unseen[0], unseen[2])))
        progress.save(estimator=copy.deepcopy(estimator.state_dict()), optimizer=optimizer.state_dict())

    progress.train(step, keep)


def estimator_of(run: Path) -> dict[str, Tensor]:
    """The weights that a run has come to, by their names in a decoder."""
    state = torch.load(run / "state.pt", weights_only=True, map_location="cpu")
    return {f"estimator.{name}": values for name, values in state["estimator"].items()}


if __name__ == "__main__":
    main()
