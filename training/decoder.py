"""Third stage: the decoder learns from what the transformer really predicts.

    python -m training.decoder PHOTOGRAPHS RUN --tokenizer TOKENIZER_RUN --transformer TRANSFORMER_RUN --minutes 30

Until now it has seen true latents. Here it sees generated ones, with and without guidance and corrector, so that
it makes the most of right predictions and little of wrong ones. Resumes where RUN was stopped.
"""

from __future__ import annotations

import argparse
import random
from collections import deque
from pathlib import Path

import torch
from torch import Tensor

from training.crops import Batch, Crops, Mix, averaged, stream, validation_batches
from training.design import MINI
from training.measures import psnr_y
from training.progress import Progress, Trained
from training.tokenizer import Tokenizer, load_tokenizer, pixel_loss
from training.transformer import generate, load_model
from varsr.model.sampling import Sampling, TileNoise
from varsr.model.varsr import VARSR

RATE = 2e-4
TRUE_SHARE = 0.2  # of the batches, on which the ceiling is kept
STRENGTHS = (0.0, MINI.guidance.tiled)
FIDELITIES = (0.0, 0.5, 1.0)
POOL = 60  # generated batches at hand: generating one takes as long as learning from four
USES = 3  # steps for each batch that is generated


@torch.no_grad()
def latent_of(model: VARSR, tokenizer: Tokenizer, batch: Batch) -> Tensor:
    """A latent (B, Z, P, P) as the decoder will meet it."""
    if random.random() < TRUE_SHARE:
        return tokenizer.quantizer.encode(tokenizer.encode(batch))[1]
    noise = TileNoise(random.getrandbits(32), range(len(batch.sharp)))
    return model.restore(
        batch.upsampled.to(tokenizer.dtype),
        random.choice(STRENGTHS),
        Sampling(fidelity=random.choice(FIDELITIES)),
        noise,
        corrected=random.random() < 0.5,
        on_scale=lambda _: None,
    )


@torch.no_grad()
def validate(model: VARSR, tokenizer: Tokenizer, sets: dict[str, list[Batch]]) -> dict[str, float]:
    """PSNR-Y of the input, of plain, guided, and guided and corrected generation, and of the true tokens."""

    def measure(batch: Batch) -> dict[str, Tensor]:
        results = {
            "bicubic": batch.upsampled,
            "plain": generate(model, batch, 0, False, tokenizer.dtype),
            "guided": generate(model, batch, MINI.guidance.tiled, False, tokenizer.dtype),
            "corrected": generate(model, batch, MINI.guidance.tiled, True, tokenizer.dtype),
            "true": tokenizer.decode(tokenizer.quantizer.encode(tokenizer.encode(batch))[1], batch),
        }
        return {name: psnr_y(result, batch.sharp).mean() for name, result in results.items()}

    return averaged(sets, measure)


def main() -> None:
    """Train for the given minutes, those of earlier runs counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--transformer", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()

    torch.manual_seed(0)
    tokenizer = load_tokenizer(options.tokenizer, MINI, torch.bfloat16)
    model = load_model(options.transformer, tokenizer)
    trained = Trained(model.decoder.requires_grad_(True), weight_decay=1e-4)
    progress = Progress(options.run, options.minutes * 60)
    if state := progress.resume():
        trained.load(state["trained"])
    random.seed(progress.step)
    crops = Crops(options.photographs / "train", MINI.tile_side, options.batch, 2000 + progress.step, Mix(negative=0))
    batches = stream(crops)
    held_out = options.photographs / "validation"
    sets = {
        "clean": validation_batches(held_out, MINI.tile_side, 2, 1),
        "hard": validation_batches(held_out, MINI.tile_side, 2, 0),
    }

    running = 0.0
    pool: deque[tuple[Tensor, Batch]] = deque(maxlen=POOL)
    for due in progress.steps():
        if progress.step % USES == 0 or not pool:
            fresh = next(batches)
            pool.append((latent_of(model, tokenizer, fresh), fresh))
        latent, batch = random.choice(pool)
        loss = pixel_loss(tokenizer.decode(latent, batch), batch.sharp)
        loss.backward()
        trained.step(progress.rate(RATE, warmup=50))
        running += 0.02 * (float(loss.detach()) - running)
        if due:
            trained.use_mean()
            progress.log(loss=running, **validate(model, tokenizer, sets))
            trained.use_masters()
            progress.save(trained=trained.state())
    trained.use_mean()
    progress.log(loss=running, **validate(model, tokenizer, sets))
    progress.save(trained=trained.state())


if __name__ == "__main__":
    main()
