"""Second stage: prefix encoder, transformer and corrector, over the tokens of a finished tokenizer.

    python -m training.transformer PHOTOGRAPHS RUN --tokenizer TOKENIZER_RUN --minutes 120

Resumes where RUN was stopped.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.crops import Batch, Crops, averaged, stream, validation_sets
from training.design import MINI, PRESET, initialize
from training.diffusion import corrector_loss
from training.progress import Trained, TrainingRun, stage_parser
from training.teacher_forcing import Walk, forward_all_scales, prepare, step
from training.tokenizer import Tokenizer, load_tokenizer
from varsr.evaluation.metrics import psnr_y
from varsr.model.config import ModelConfig
from varsr.model.inference import InferenceConfig
from varsr.model.sampling import TileNoise
from varsr.model.varsr import VARSR

RATE = 1e-3
ERROR = 1.0  # spread of the mistakes that the transformer is taught to mend
CORRECTOR_WEIGHT = 0.2
Batches = dict[str, list[Batch]]


class TrainedParts(nn.Module):
    """The trained part of a model, on a frozen tokenizer."""

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        whole = VARSR(config).to(tokenizer.dtype)
        self.prefix, self.transformer, self.corrector = whole.prefix, whole.transformer, whole.corrector
        self.transformer.rotary = self.transformer.rotary.float()
        initialize(self)
        with torch.no_grad():
            self.transformer.head.weight.mul_(0.1)
            self.corrector.output.weight.zero_()
            self.transformer.head_modulation.zero_()
            for block in whole.transformer.blocks:
                block.attention.query_scale.fill_(4)  # type: ignore[union-attr, operator]
                block.modulation.zero_()[:, :2] = 0.3  # type: ignore[operator]


def model_of(parts: TrainedParts, tokenizer: Tokenizer, config: ModelConfig) -> VARSR:
    """The whole model, as it is used, sharing the weights."""
    model = VARSR(config)
    model.prefix, model.transformer, model.corrector = parts.prefix, parts.transformer, parts.corrector
    model.quantizer, model.decoder = tokenizer.quantizer, tokenizer.decoder
    return model


def measured_gain(tokenizer: Tokenizer, batches: list[Batch]) -> float:
    """The corrector's range, in units of the latent: three deviations of what quantization loses."""
    with torch.no_grad():
        latents = [tokenizer.encode(batch) for batch in batches]
        lost = torch.cat([latent - tokenizer.quantizer.encode(latent)[1] for latent in latents])
    return round(3 * float(lost.std()), 2)


def losses(
    parts: TrainedParts, tokenizer: Tokenizer, batch: Batch, gain: float, error: float, walk: Walk = step
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy, share of right tokens, corrector's loss."""
    with torch.no_grad():
        latent = tokenizer.encode(batch)
        targets = prepare(tokenizer.quantizer, latent, error)
    prefix = parts.prefix(batch.upsampled.to(tokenizer.dtype))
    logits, hidden = forward_all_scales(parts.transformer, tokenizer.quantizer, prefix, targets, batch.labels, walk)
    tokens = torch.cat(targets.targets, dim=1)
    entropy = F.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten())
    right = (logits.argmax(-1) == tokens).float().mean()
    codes = tokenizer.quantizer.codes(targets.taken)
    z = hidden[:, -codes.shape[1] :] + parts.transformer.word_embed(codes.to(hidden.dtype))
    residual = (latent - targets.totals[-1]).flatten(2).transpose(1, 2)
    return entropy, right, corrector_loss(parts.corrector, z, residual, PRESET.corrector_steps, gain)


@torch.inference_mode()
def generate(model: VARSR, batch: Batch, generation: InferenceConfig, dtype: torch.dtype) -> Tensor:
    """Pixels as the model would give them, (B, 3, S, S)."""
    tiles = batch.upsampled.to(dtype)
    noise = TileNoise(0, range(len(tiles)))
    *_, latent = model.generate(tiles, generation, noise)
    pixels: Tensor = model.decoder(latent.to(dtype), tiles)
    return pixels.float()


@torch.no_grad()
def validate(parts: TrainedParts, tokenizer: Tokenizer, model: VARSR, gain: float, sets: Batches) -> dict[str, float]:
    """Cross-entropy and right tokens; PSNR-Y of the input, of generation, with guidance, with the corrector."""
    corrected = replace(PRESET.inference(), guidance_scale=0, corrector_gain=gain)
    plain = replace(corrected, corrector_steps=0)

    def measure(batch: Batch) -> dict[str, Tensor]:
        entropy, right, corrector = losses(parts, tokenizer, batch, gain, error=0)
        results = {
            "bicubic": batch.upsampled,
            "plain": generate(model, batch, plain, tokenizer.dtype),
            "guided": generate(model, batch, replace(plain, guidance_scale=1), tokenizer.dtype),
            "corrected": generate(model, batch, corrected, tokenizer.dtype),
        }
        quality = {name: psnr_y(result, batch.sharp).mean() for name, result in results.items()}
        return {"entropy": entropy, "right": right, "corrector": corrector, **quality}

    return averaged(sets, measure)


def main() -> None:
    """Train for the given minutes, those of earlier runs counted."""
    parser = stage_parser(__doc__, minutes=120)
    parser.add_argument("--tokenizer", type=Path, required=True)
    options = parser.parse_args()
    device = options.device

    torch.manual_seed(0)
    tokenizer = load_tokenizer(options.tokenizer, MINI, torch.bfloat16).to(device)
    sets = validation_sets(options.photographs / "validation", MINI.tile_side, 2, device)
    gain = measured_gain(tokenizer, sets["clean"] + sets["hard"])
    parts = TrainedParts(MINI, tokenizer).to(device)
    model = model_of(parts, tokenizer, MINI)
    trained = Trained(parts, weight_decay=0.03)
    progress = TrainingRun(options.run, options.minutes * 60)
    if state := progress.resume():
        trained.load(state["trained"])
    crops = Crops(options.photographs / "train", MINI.tile_side, options.batch, seed=1000 + progress.step)
    batches = stream(crops, device)

    walk = torch.compile(step)
    running = torch.zeros(3)

    def keep() -> None:
        progress.keep(
            trained,
            lambda: _named(running) | validate(parts, tokenizer, model, gain, sets),
            config=MINI.to_json(),
            gain=gain,
        )

    for due in progress.steps():
        entropy, right, corrector = losses(parts, tokenizer, next(batches), gain, ERROR, walk)
        (entropy + CORRECTOR_WEIGHT * corrector).backward()
        trained.step(progress.rate(RATE))
        running += 0.02 * (torch.stack((entropy, right, corrector)).detach().cpu() - running)
        if due:
            keep()
    keep()


def _named(values: Tensor) -> dict[str, float]:
    return dict(zip(("entropy", "right", "corrector"), values.tolist(), strict=True))


if __name__ == "__main__":
    main()
