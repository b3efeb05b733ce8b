"""Third stage: corrector and decoder learn from what the transformer really predicts.

    python -m training.finish PHOTOGRAPHS RUN --tokenizer TOKENIZER_RUN --transformer TRANSFORMER_RUN --minutes 30

Until now both have seen true tokens. Here they see predicted ones: the corrector learns to sample what is missing of
a predicted latent, the decoder to make the most of right predictions and little of wrong ones. Resumes where RUN was
stopped.
"""

from __future__ import annotations

import argparse
import random
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from training.crops import Batch, Crops, Mix, averaged, stream, validation_batches
from training.design import MINI
from training.diffusion import corrector_loss
from training.measures import psnr_y
from training.progress import Progress, Trained
from training.tokenizer import Tokenizer, load_tokenizer, pixel_loss
from training.transformer import generate, load_model
from varsr.model.config import ModelConfig
from varsr.model.sampling import Sampling, TileNoise
from varsr.model.varsr import VARSR

RATE = 3e-4
TRUE_SHARE = 0.1  # of the steps, on which the decoder's ceiling is kept
CORRECTED_SHARE = 0.5
STRENGTHS = (0.0, MINI.guidance.tiled)
FIDELITIES = (0.5, 1.0, 1.0)
POOL = 60  # generated batches at hand: generating one takes as long as learning from four
USES = 3  # steps for each batch that is generated


@dataclass(frozen=True)
class Generated:
    """A batch and what the transformer predicts for it."""

    batch: Batch
    strength: float
    latent: Tensor
    """The sum of all scales, (B, Z, P, P)."""
    z: Tensor
    """The corrector's condition, (G, B, L, C)."""
    residual: Tensor
    """What the latent lacks of the true one, (B, L, Z)."""


@torch.no_grad()
def generated(model: VARSR, tokenizer: Tokenizer, batch: Batch) -> Generated:
    """Predict a batch with a random strength of guidance and fidelity."""
    strength, sampling = random.choice(STRENGTHS), Sampling(fidelity=random.choice(FIDELITIES))
    noise = TileNoise(0, range(len(batch.sharp)))
    *_, last = model.predict(batch.upsampled.to(tokenizer.dtype), strength, sampling, noise)
    residual = (tokenizer.encode(batch) - last.latent).flatten(2).transpose(1, 2)
    return Generated(batch, strength, last.latent, model.corrector_condition(last), residual)


@torch.no_grad()
def latent_for_decoder(model: VARSR, tokenizer: Tokenizer, given: Generated) -> Tensor:
    """The predicted latent, often corrected, now and then the true tokens' one."""
    choice = random.random()
    if choice < TRUE_SHARE:
        return tokenizer.quantizer.encode(tokenizer.encode(given.batch))[1]
    if choice > 1 - CORRECTED_SHARE:
        sampled = model.corrector.sample(given.z, given.strength, lambda _: torch.randn_like(given.residual))
        return given.latent + sampled.transpose(1, 2).unflatten(2, given.latent.shape[2:])
    return given.latent


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


def measured_gain(examples: list[Generated]) -> float:
    """The corrector's range, in units of the latent: three deviations of what predictions lack."""
    return round(3 * float(torch.cat([example.residual for example in examples]).std()), 2)


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
    progress = Progress(options.run, options.minutes * 60)
    state = progress.resume()
    random.seed(progress.step)
    crops = Crops(options.photographs / "train", MINI.tile_side, options.batch, 2000 + progress.step, Mix(negative=0))
    batches = stream(crops)
    if state:
        model.config = ModelConfig.from_json(state["config"])
    else:
        gain = measured_gain([generated(model, tokenizer, next(batches)) for _ in range(4)])
        corrector = replace(model.config.corrector, gain=gain)
        model.config = replace(model.config, corrector=corrector, fidelity=MINI.fidelity, guidance=MINI.guidance)
    model.corrector.config = model.config.corrector
    parts = nn.ModuleDict({"decoder": model.decoder, "corrector": model.corrector}).requires_grad_(True)
    trained = Trained(parts, weight_decay=1e-4)
    if state:
        trained.load(state["trained"])
    held_out = options.photographs / "validation"
    sets = {
        "clean": validation_batches(held_out, MINI.tile_side, 2, 1),
        "hard": validation_batches(held_out, MINI.tile_side, 2, 0),
    }

    running = torch.zeros(2)
    pool: deque[Generated] = deque(maxlen=POOL)
    for due in progress.steps():
        if progress.step % USES == 0 or not pool:
            pool.append(generated(model, tokenizer, next(batches)))
        given = random.choice(pool)
        pixels = tokenizer.decode(latent_for_decoder(model, tokenizer, given), given.batch)
        loss = torch.stack(
            (pixel_loss(pixels, given.batch.sharp), corrector_loss(model.corrector, given.z[0], given.residual))
        )
        (loss[0] + 0.1 * loss[1]).backward()
        trained.step(progress.rate(RATE, warmup=50))
        running += 0.02 * (loss.detach() - running)
        if due:
            trained.use_mean()
            progress.log(pixels=float(running[0]), corrector=float(running[1]), **validate(model, tokenizer, sets))
            trained.use_masters()
            progress.save(trained=trained.state(), config=model.config.to_json())
    trained.use_mean()
    progress.log(pixels=float(running[0]), corrector=float(running[1]), **validate(model, tokenizer, sets))
    progress.save(trained=trained.state(), config=model.config.to_json())


if __name__ == "__main__":
    main()
