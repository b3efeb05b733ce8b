"""Third stage: the finished decoder adapts to noise and compression, and stays what it is for other images.

    python -m training.decoder.refine photographs/train --validation photographs/validation --run runs/refine \
        --start decoder.safetensors --estimator runs/estimator

One set of weights that must guess how an image is degraded makes a compromise. Here all that the decoder was is frozen,
and so is the estimator with the shares that follow from it. Only experts and the biases by the estimates learn. They
hardly change what is made of images that are estimated to be neither noisy nor compressed.

At realism 0 it learns from the ground truth. What realism adds in the decoder without them is added, above `LOWEST`, to
what it makes with them at realism 0: the target is determined by the input, so that a plain loss of pixels can hold
on to it, without teacher, features and discriminator. The adapters of the fourth stage are not there yet.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from training.decoder.data import Mixture, Photographs, Validation, enlarge, pixel_loss, structure_loss
from training.decoder.estimator import estimator_of
from training.decoder.network import SCALE, Decoder, DecoderConfig
from training.decoder.stage import Training
from training.progress import RunningMeans, TrainingRun, stage_parser

WITHOUT_ADAPTERS = 1.0
"""A realism at which the adapters of the next stage are off."""
LOWEST = 0.7
"""Realism from which results are held; below, the dial goes evenly from what is learned to what is held."""
STRUCTURE_WEIGHT = 5.0
"""Of 1 - SSIM beside the loss of pixels: about 30 times as much as it, with 100 times its gradient."""
MIXTURE = Mixture(clean=0.05, compressed=0.9)
"""Clean crops show what small shares of the experts do to images that need none."""
ADAPTING = ("condition", "expert")
"""Parts of the names of what learns. Shares that could learn fell to 0.06, and with them the experts' rate."""


def main() -> None:
    """Train until the budget is spent."""
    parser = stage_parser(__doc__, minutes=300, rate=2e-4)
    parser.add_argument("--side", type=int, default=48, help="side of the small crops in pixels")
    parser.add_argument("--start", type=Path, required=True, help="made by training.decoder.keep")
    parser.add_argument("--estimator", type=Path, help="folder of its run, for a start without one")
    parser.add_argument("--faithful", type=int, default=12, help="crops a step at realism 0")
    parser.add_argument("--held", type=int, default=6, help="crops a step at a realism that is held")
    options = parser.parse_args()
    device = options.device
    validation = Validation(options.validation, device)
    progress = TrainingRun(options.run, options.minutes * 60, options.save_every)
    training = Training(DecoderConfig(), device, decay=0.999)
    start = load_file(options.start)
    if options.estimator:
        start |= estimator_of(options.estimator)
    if "estimator.out.weight" not in start:
        parser.error("--start has no estimator: name one with --estimator")
    training.start_from(start)
    training.freeze_all_but(ADAPTING)
    common = without_adaptation(training.ema)
    state = progress.resume()
    if state:
        training.load(state["training"])
    photographs = Photographs(options.photographs, SCALE * (options.side + 8), device, progress.step, MIXTURE)
    faithful = slice(0, options.faithful)
    held = slice(options.faithful, None)

    def step() -> dict[str, Tensor]:
        small, large = photographs.alike_pairs(options.faithful + options.held, options.side)
        enlarged = enlarge(small)
        realism = LOWEST + (1 - LOWEST) * torch.rand(len(enlarged), 1, 1, 1, device=device)
        realism[faithful] = 0
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            at_zero = torch.zeros_like(realism[held])
            added = common(enlarged[held], realism[held]) - common(enlarged[held], at_zero)
            target = training.ema(enlarged[held], at_zero).float() + added
            adaptation = training.ema.adapted_alike(enlarged, realism=WITHOUT_ADAPTERS)
        with torch.autocast(device.type, torch.bfloat16):
            restored = training.decoder.restore(enlarged, realism, adaptation).float()
        pixels = pixel_loss(restored[faithful], large[faithful]).mean()
        structure = structure_loss(restored[faithful], large[faithful]).mean()
        drift = pixel_loss(restored[held], target).mean()
        (pixels + STRUCTURE_WEIGHT * structure + drift).backward()
        training.step(progress.rate(options.rate))
        return {"pixels": pixels, "structure": structure, "drift": drift}

    def keep(means: RunningMeans) -> None:
        progress.log(**means.read(), **training.gains(validation, (0, 0.9)))
        progress.save(training=training.state())

    progress.train(step, keep)


def without_adaptation(decoder: Decoder) -> Decoder:
    """A decoder of the same weights that makes of every image what it makes of one that is not degraded."""
    common = copy.deepcopy(decoder)
    for name, weight in common.named_parameters():
        if any(part in name for part in ADAPTING):
            nn.init.zeros_(weight)
    return common


if __name__ == "__main__":
    main()
