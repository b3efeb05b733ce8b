"""Third stage: the finished decoder made more faithful at realism 0, while realism adds what it did.

    python -m training.decoder.refine photographs/train --validation photographs/validation --run runs/refine \
        --start decoder.safetensors --estimator runs/estimator

Both ends of the dial share the weights, so that the first stage alone would undo the second. Here what realism added
in the decoder as it was is added, above `LOWEST`, to what the decoder now makes at realism 0: the target is determined
by the input, so that a plain loss of pixels can hold on to it, without teacher, features and discriminator. It needs no
ground truth either, so that inputs may be softer than any that are reduced from something larger.

With `--estimator` it starts from a trained estimator of an image's degradation. What is estimated biases the blocks
and adds shares of the experts to their weights, at first nothing.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.decoder.data import Photographs, Validation, enlarge, pixel_loss, soften, structure_loss
from training.decoder.estimator import estimator_of
from training.decoder.network import SCALE, DecoderConfig
from training.decoder.stage import Training
from training.progress import RunningMeans, TrainingRun, stage_parser

LOWEST = 0.7
"""Realism from which results are held; below, the dial goes evenly from what is learned to what is held."""
STRUCTURE_WEIGHT = 0.4
"""Of 1 - SSIM beside the loss of pixels: about 2.5 times as much as it."""
ESTIMATION_WEIGHT = 0.05
"""Of what the estimator errs by: without it the estimates drift away from what the experts are told apart by."""


def main() -> None:
    """Train until the budget is spent."""
    parser = stage_parser(__doc__, minutes=300, rate=2e-4)
    parser.add_argument("--side", type=int, default=48, help="side of the small crops in pixels")
    parser.add_argument("--start", type=Path, required=True, help="made by training.decoder.keep")
    parser.add_argument("--estimator", type=Path, help="folder of a run of training.decoder.estimator")
    parser.add_argument("--faithful", type=int, default=12, help="crops a step at realism 0")
    parser.add_argument("--held", type=int, default=6, help="crops a step at a realism that is held")
    options = parser.parse_args()
    device = options.device
    validation = Validation(options.validation, device)
    progress = TrainingRun(options.run, options.minutes * 60, options.save_every)
    training = Training(DecoderConfig(), device, decay=0.999)
    training.start_from(load_file(options.start))
    if options.estimator:
        training.start_from(estimator_of(options.estimator))
    as_it_was = copy.deepcopy(training.ema)
    state = progress.resume()
    if state:
        training.load(state["training"])
    photographs = Photographs(options.photographs, SCALE * (options.side + 8), device, seed=progress.step)
    faithful = slice(0, options.faithful)
    held = slice(options.faithful, None)

    def step() -> dict[str, Tensor]:
        small, large, described = photographs.described_pairs(options.faithful, options.side)
        others, _ = photographs.pairs(options.held, options.side)
        enlarged = enlarge(torch.cat([small, soften(others, photographs.draws)]))
        realism = LOWEST + (1 - LOWEST) * torch.rand(len(enlarged), 1, 1, 1, device=device)
        realism[faithful] = 0
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            at_zero = torch.zeros_like(realism[held])
            added = as_it_was(enlarged[held], realism[held]) - as_it_was(enlarged[held], at_zero)
            target = training.ema(enlarged[held], at_zero).float() + added
        restored = training.restore(enlarged, realism).float()
        estimation = described.error(training.decoder.estimate(enlarged[faithful]))
        pixels = pixel_loss(restored[faithful], large).mean()
        structure = structure_loss(restored[faithful], large).mean()
        drift = pixel_loss(restored[held], target).mean()
        (pixels + STRUCTURE_WEIGHT * structure + drift + ESTIMATION_WEIGHT * estimation).backward()
        training.step(progress.rate(options.rate))
        return {"pixels": pixels, "structure": structure, "drift": drift, "estimation": estimation}

    def keep(means: RunningMeans) -> None:
        gains = {
            f"{name} {realism:g}": gain
            for realism in (0, 0.9)
            for name, gain in validation.gain(training.restore_by_ema(realism)).items()
        }
        progress.log(**means.read(), **gains)
        progress.save(training=training.state())

    progress.train(step, keep)


if __name__ == "__main__":
    main()
