"""Third stage: corrector and decoder learn from what the transformer really predicts.

    python -m training.finish PHOTOGRAPHS RUN --tokenizer TOKENIZER_RUN --transformer TRANSFORMER_RUN --minutes 30

Until now both have seen true tokens. Here they see predicted ones: the corrector learns to sample what is missing of
a predicted latent, the decoder to make the most of right predictions and little of wrong ones. At first it learns from
what is predicted without guidance and without the corrector, and is drawn to the truth alone. Later what both have
added to takes its turn, and is also judged for its realism. So the two keep a meaning: with them crisp, without them
faithful. Resumes where RUN was stopped; `--start` takes over the decoder and the corrector of an earlier run.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from training.adversary import Trial
from training.crops import Batch, Crops, Mix, averaged, stream, validation_sets
from training.design import MINI, adopt
from training.diffusion import corrector_loss
from training.measures import psnr_y
from training.progress import Progress, Trained, stage_parser
from training.tokenizer import Tokenizer, load_tokenizer, pixel_loss
from training.transformer import generate, load_model
from varsr.model.config import ModelConfig
from varsr.model.sampling import Sampling, TileNoise
from varsr.model.varsr import VARSR

RATE = 4e-4
EMPTY_SHARE = 0.5  # of the steps on faithful latents, on which the decoder has the input alone: they cost no generation
TRUE_SHARE = 0.15  # of them, on which it has the true tokens
CRISP_SHARE = 0.5  # of generated batches, those with guidance and corrector, once there is a judge
CORRECTED_SHARE = 0.8  # of these, those with the corrector
STRENGTHS = (1.0, 2.0, 4.0)
FIDELITIES = (0.5, 1.0, 1.0)
REALISM = 1.0  # how far the judge's word goes against the pixels'
JUDGED_FROM = 0.6  # of the budget
POOL = 60  # generated batches at hand: generating one takes as long as learning from four
USES = 10  # steps for each batch that is generated


Decode = Callable[[Tensor, Tensor], Tensor]


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
def generated(model: VARSR, tokenizer: Tokenizer, batch: Batch, crisp_share: float) -> Generated:
    """Predict a batch, some with a random strength of guidance, all with a random fidelity."""
    strength = random.choice(STRENGTHS) if random.random() < crisp_share else 0.0
    sampling, noise = Sampling(fidelity=random.choice(FIDELITIES)), TileNoise(0, range(len(batch.sharp)))
    *_, last = model.predict(batch.upsampled.to(tokenizer.dtype), strength, sampling, noise)
    residual = (tokenizer.encode(batch) - last.latent).flatten(2).transpose(1, 2)
    return Generated(batch, strength, last.latent, model.corrector_condition(last), residual)


@torch.no_grad()
def faithful(tokenizer: Tokenizer, given: Generated) -> tuple[Batch, Tensor]:
    """The predicted latent, or the turned batch with an empty latent or with its true tokens'."""
    choice = random.random()
    if choice < EMPTY_SHARE:
        return turned(given.batch), torch.zeros_like(given.latent)
    if choice < EMPTY_SHARE + TRUE_SHARE:
        batch = turned(given.batch)
        return batch, tokenizer.quantizer.encode(tokenizer.encode(batch))[1]
    return given.batch, given.latent


@torch.no_grad()
def crisp(model: VARSR, given: Generated) -> tuple[Batch, Tensor]:
    """The guided prediction, mostly corrected."""
    if random.random() > CORRECTED_SHARE:
        return given.batch, given.latent
    sampled = model.corrector.sample(given.z, given.strength, lambda _: torch.randn_like(given.residual))
    return given.batch, given.latent + sampled.transpose(1, 2).unflatten(2, given.latent.shape[2:])


def turned(batch: Batch) -> Batch:
    """The same pairs, turned and mirrored at random."""
    turns, mirrored = random.randrange(4), random.random() < 0.5

    def turn(pictures: Tensor) -> Tensor:
        rotated = pictures.rot90(turns, (2, 3))
        return (rotated.flip(3) if mirrored else rotated).contiguous()

    return Batch(turn(batch.sharp), turn(batch.upsampled), batch.labels)


@torch.no_grad()
def validate(model: VARSR, tokenizer: Tokenizer, sets: dict[str, list[Batch]]) -> dict[str, float]:
    """PSNR-Y and share of detail: of the input, plain, guided, guided and corrected generation, and the true tokens."""

    def measure(batch: Batch) -> dict[str, Tensor]:
        true = tokenizer.quantizer.encode(tokenizer.encode(batch))[1]
        results = {
            "bicubic": batch.upsampled,
            "plain": generate(model, batch, 0, False, tokenizer.dtype),
            "guided": generate(model, batch, MINI.guidance.tiled, False, tokenizer.dtype),
            "corrected": generate(model, batch, MINI.guidance.tiled, True, tokenizer.dtype),
            "empty": tokenizer.decode(torch.zeros_like(true), batch),
            "true": tokenizer.decode(true, batch),
        }
        quality = {name: psnr_y(result, batch.sharp).mean() for name, result in results.items()}
        return quality | {f"{name}_detail": detail(x) / detail(batch.sharp) for name, x in results.items()}

    return averaged(sets, measure)


def detail(pictures: Tensor) -> Tensor:
    """The mean difference between neighbouring pixels."""
    return pictures.diff(dim=-1).abs().mean() + pictures.diff(dim=-2).abs().mean()


def measured_gain(examples: list[Generated]) -> float:
    """The corrector's range, in units of the latent: three deviations of what predictions lack."""
    return round(3 * float(torch.cat([example.residual for example in examples]).std()), 2)


def main() -> None:
    """Train for the given minutes, those of earlier runs counted."""
    parser = stage_parser(__doc__, minutes=30)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--transformer", type=Path, required=True)
    parser.add_argument("--start", type=Path)
    options = parser.parse_args()
    device = options.device

    torch.manual_seed(0)
    tokenizer = load_tokenizer(options.tokenizer, MINI, torch.bfloat16).to(device)
    model = load_model(options.transformer, tokenizer).to(device)
    progress = Progress(options.run, options.minutes * 60)
    state = progress.resume()
    random.seed(progress.step)
    crops = Crops(options.photographs / "train", MINI.tile_side, options.batch, 2000 + progress.step, Mix(negative=0))
    batches = stream(crops, device)
    parts = nn.ModuleDict({"decoder": model.decoder, "corrector": model.corrector})
    if options.start:
        adopt(parts, torch.load(options.start / "state.pt", weights_only=True, map_location="cpu")["trained"]["mean"])
    model.config = ModelConfig.from_json(state["config"]) if state else finished_config(model, tokenizer, batches)
    model.corrector.config = model.config.corrector
    trained, trial = Trained(parts.requires_grad_(True), weight_decay=1e-4), Trial(device)
    if state:
        trained.load(state["trained"])
        trial.load(state["trial"])
    sets = validation_sets(options.photographs / "validation", MINI.tile_side, 2, device)

    decoder = torch.compile(model.decoder)
    running = torch.zeros(3)

    def keep() -> None:
        progress.keep(
            trained,
            lambda: _named(running) | validate(model, tokenizer, sets),
            trial=trial.state(),
            config=model.config.to_json(),
        )

    pool: deque[Generated] = deque(maxlen=POOL)
    for due in progress.steps():
        judged = progress.done > JUDGED_FROM
        if progress.step % USES == 0 or not pool:
            pool.append(generated(model, tokenizer, next(batches), CRISP_SHARE if judged else 0))
        losses = lesson(model, tokenizer, decoder, trial, random.choice(pool))
        trained.step(progress.rate(RATE, warmup=50))
        running += 0.02 * (losses - running)
        if due:
            keep()
    keep()


def finished_config(model: VARSR, tokenizer: Tokenizer, batches: Iterator[Batch]) -> ModelConfig:
    """The design as it will be used, with the range that the corrector needs for predicted latents."""
    gain = measured_gain([generated(model, tokenizer, next(batches), CRISP_SHARE) for _ in range(4)])
    corrector = replace(model.config.corrector, gain=gain)
    tokens = replace(model.config.tokenizer, input_blocks=MINI.tokenizer.input_blocks)
    return replace(
        model.config,
        tokenizer=tokens,
        corrector=corrector,
        fidelity=MINI.fidelity,
        guidance=MINI.guidance,
        overlap=MINI.overlap,
        blend=MINI.blend,
    )


def lesson(model: VARSR, tokenizer: Tokenizer, decoder: Decode, trial: Trial, given: Generated) -> Tensor:
    """Leave the gradients of one step; the losses of pixels, of the corrector and of the judge."""
    judged = given.strength > 0
    batch, latent = crisp(model, given) if judged else faithful(tokenizer, given)
    pixels = decoder(latent.to(tokenizer.dtype), batch.upsampled.to(tokenizer.dtype)).float()
    judgement = trial.learn(pixels, batch.sharp, batch.upsampled) if judged else 0.0
    pixels.backward(trial.gradient(pixels, batch.sharp, batch.upsampled, REALISM if judged else 0))
    corrected = corrector_loss(model.corrector, given.z[0], given.residual)
    (0.1 * corrected).backward()
    return torch.tensor((pixel_loss(pixels, batch.sharp).item(), corrected.item(), judgement))


def _named(values: Tensor) -> dict[str, float]:
    return dict(zip(("pixels", "corrector", "judge"), values.tolist(), strict=True))


if __name__ == "__main__":
    main()
