"""Fourth stage: low-rank changes of its convolutions restore noisy, compressed images more faithfully.

    python -m training.decoder.adapt photographs/train --validation photographs/validation --run runs/adapt \
        --start decoder.safetensors

Only the adapters learn. They are on at realism 0 and off from `ADAPTED_BELOW`, so that results with realism stay what
they are: experts that serve both draw them along, and they grow soft.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.decoder.data import Mixture, Photographs, Validation, enlarge, pixel_loss, structure_loss
from training.decoder.network import SCALE, DecoderConfig
from training.decoder.refine import STRUCTURE_WEIGHT
from training.decoder.stage import Training
from training.progress import RunningMeans, TrainingRun, stage_parser

MIXTURE = Mixture(clean=0.02, compressed=0.96)
"""For clean crops the adapters' share is near to 0, so that little is learned from them."""
ADAPTING = ("adapter",)


def main() -> None:
    """Train until the budget is spent."""
    parser = stage_parser(__doc__, minutes=60, rate=3e-4)
    parser.add_argument("--side", type=int, default=48, help="side of the small crops in pixels")
    parser.add_argument("--start", type=Path, required=True, help="made by training.decoder.keep")
    parser.add_argument("--batch", type=int, default=17)
    options = parser.parse_args()
    device = options.device
    validation = Validation(options.validation, device)
    progress = TrainingRun(options.run, options.minutes * 60, options.save_every)
    training = Training(DecoderConfig(), device, decay=0.999)
    training.start_from(load_file(options.start))
    training.freeze_all_but(ADAPTING)
    if state := progress.resume():
        training.load(state["training"])
    photographs = Photographs(options.photographs, SCALE * (options.side + 8), device, progress.step, MIXTURE)
    at_zero = torch.zeros(options.batch, 1, 1, 1, device=device)

    def step() -> dict[str, Tensor]:
        small, large = photographs.alike_pairs(options.batch, options.side)
        enlarged = enlarge(small)
        with torch.autocast(device.type, torch.bfloat16):
            with torch.no_grad():
                adaptation = training.ema.adapted_alike(enlarged, realism=0)
            restored = training.decoder.restore(enlarged, at_zero, adaptation).float()
        pixels, structure = pixel_loss(restored, large).mean(), structure_loss(restored, large).mean()
        (pixels + STRUCTURE_WEIGHT * structure).backward()
        training.step(progress.rate(options.rate))
        return {"pixels": pixels, "structure": structure}

    def keep(means: RunningMeans) -> None:
        progress.log(**means.read(), **training.gains(validation, (0, 0.5)))
        progress.save(training=training.state())

    progress.train(step, keep)


if __name__ == "__main__":
    main()
