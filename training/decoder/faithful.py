"""First stage: the decoder at realism 0, by the pixels and the spectrum of the ground truth alone.

python -m training.decoder.faithful photographs/train --validation photographs/validation --run runs/faithful
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.decoder.data import Photographs, Validation, enlarge, pixel_loss
from training.decoder.network import SCALE, DecoderConfig
from training.decoder.stage import Training
from training.progress import RunningMeans, TrainingRun, stage_parser


def main() -> None:
    """Train until the budget is spent."""
    parser = stage_parser(__doc__, minutes=300, rate=4e-4)
    parser.add_argument("--side", type=int, default=48, help="side of the small crops in pixels")
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    validation = Validation(options.validation, options.device)
    progress = TrainingRun(options.run, options.minutes * 60, options.save_every, log_every=250)
    training = Training(DecoderConfig(), options.device, decay=0.999)
    state = progress.resume()
    if state:
        training.load(state["training"])
    photographs = Photographs(options.photographs, SCALE * (options.side + 8), options.device, seed=progress.step)
    faithful = torch.zeros(options.batch, 1, 1, 1, device=options.device)

    def step() -> dict[str, Tensor]:
        small, large = photographs.pairs(options.batch, options.side)
        loss = pixel_loss(training.restore(enlarge(small), faithful).float(), large).mean()
        loss.backward()
        training.step(progress.rate(options.rate))
        return {"loss": loss}

    def keep(means: RunningMeans) -> None:
        gains = validation.gain(training.restore_by_ema(0))
        progress.log(**means.read(), **gains)
        progress.save(training=training.state())

    progress.train(step, keep)


if __name__ == "__main__":
    main()
