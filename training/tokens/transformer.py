"""New tokens: prefix encoder, transformer and corrector, over the tokens of a finished tokenizer.

python -m training.tokens.transformer photographs/train --validation photographs/validation --run runs/transformer \
        --decoder training/decoder/decoder-3.safetensors --tokenizer runs/tokenizer
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.decoder.data import Photographs, psnr_y
from training.decoder.network import SCALE
from training.design import MINI, PRESET, initialize
from training.progress import RunningMeans, Trained, TrainingRun, stage_parser
from training.tokens.batches import Batch, Batches, flat, load_decoder, validation_batches
from training.tokens.diffusion import corrector_loss
from training.tokens.teacher_forcing import Walk, forward_all_scales, prepare, step
from training.tokens.tokenizer import Tokenizer, load_tokenizer
from varsr.model.config import ModelConfig
from varsr.model.inference import DecodeConfig, InferenceConfig
from varsr.model.sampling import TileNoise
from varsr.model.varsr import VARSR

ERROR = 1.0  # spread of the mistakes that the transformer is taught to mend
CORRECTOR_WEIGHT = 0.2
CORRECTOR_STEPS = 5  # with which it is trained and will sample


class TrainedParts(nn.Module):
    """The trained part of a model, on a frozen tokenizer."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype) -> None:
        super().__init__()
        whole = VARSR(config).to(dtype)
        self.prefix, self.transformer, self.corrector = whole.prefix, whole.transformer, whole.corrector
        self.transformer.rotary = self.transformer.rotary.float()
        initialize(self)
        with torch.no_grad():
            self.transformer.head.weight.mul_(0.1)
            self.corrector.output.weight.zero_()
            self.transformer.head_modulation.zero_()  # type: ignore[operator]
            for block in whole.transformer.blocks:
                block.attention.query_scale.fill_(4)  # type: ignore[union-attr, operator]
                block.modulation.zero_()[:, :2] = 0.3  # type: ignore[operator]


def model_of(parts: TrainedParts, tokenizer: Tokenizer, config: ModelConfig) -> VARSR:
    """The whole model, as it is used, sharing the weights."""
    model = VARSR(config)
    model.prefix, model.transformer, model.corrector = parts.prefix, parts.transformer, parts.corrector
    model.quantizer, model.decoder = tokenizer.quantizer, tokenizer.decoder
    return model


@torch.no_grad()
def measured_gain(tokenizer: Tokenizer, batches: Mapping[str, Batch]) -> float:
    """The corrector's range, in units of the latent: three deviations of what quantization loses."""
    latents = [tokenizer.encode(batch) for batch in batches.values()]
    lost = torch.cat([latent - tokenizer.quantizer.encode(latent)[1] for latent in latents])
    return round(3 * float(lost.std()), 2)


def losses(
    parts: TrainedParts, tokenizer: Tokenizer, batch: Batch, gain: float, error: float, walk: Walk = step
) -> dict[str, Tensor]:
    """Cross-entropy, share of right tokens, corrector's loss."""
    with torch.no_grad():
        latent = tokenizer.encode(batch)
        targets = prepare(tokenizer.quantizer, latent, error)
    assert parts.prefix is not None
    prefix = parts.prefix(batch.upsampled.to(tokenizer.dtype))
    logits, hidden = forward_all_scales(parts.transformer, tokenizer.quantizer, prefix, targets, batch.labels, walk)
    tokens = torch.cat(targets.targets, dim=1)
    codes = tokenizer.quantizer.codes(targets.taken)
    z = hidden[:, -codes.shape[1] :] + parts.transformer.word_embed(codes.to(hidden.dtype))
    residual = (latent - targets.totals[-1]).flatten(2).transpose(1, 2)
    return {
        "entropy": F.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten()),
        "right": (logits.argmax(-1) == tokens).float().mean(),
        "corrector": corrector_loss(parts.corrector, z, residual, CORRECTOR_STEPS, gain),
    }


@torch.inference_mode()
def generate(model: VARSR, batch: Batch, inference: InferenceConfig, dtype: torch.dtype) -> Tensor:
    """Pixels at realism 0 as the model would give them, (B, 3, S, S)."""
    tiles = batch.upsampled.to(dtype)
    *_, latent = model.generate(model.conditions_of_tiles(tiles), inference, TileNoise(0, range(len(tiles))))
    return model.decode(latent.to(dtype), tiles, DecodeConfig(realism=0)).float()


@torch.no_grad()
def validate(
    parts: TrainedParts, tokenizer: Tokenizer, model: VARSR, gain: float, batches: Mapping[str, Batch]
) -> dict[str, float]:
    """Cross-entropy and right tokens; PSNR-Y of the input, the decoder alone, and generation in four ways."""
    corrected = replace(PRESET.inference(), guidance_scale=0, corrector_steps=CORRECTOR_STEPS, corrector_gain=gain)
    plain = replace(corrected, corrector_steps=0)
    ways = {
        "sampled": replace(plain, fidelity=0),
        "plain": plain,
        "guided": replace(plain, guidance_scale=1),
        "corrected": corrected,
    }

    def measure(batch: Batch) -> dict[str, Tensor]:
        results = {"bicubic": batch.upsampled, "restored": batch.restored}
        results |= {name: generate(model, batch, inference, tokenizer.dtype) for name, inference in ways.items()}
        quality = {name: psnr_y((x + 1) / 2, (batch.target + 1) / 2).mean() for name, x in results.items()}
        return losses(parts, tokenizer, batch, gain, error=0) | quality

    return flat({name: measure(batch) for name, batch in batches.items()})


def main() -> None:
    """Train until the budget is spent."""
    parser = stage_parser(__doc__, minutes=120, rate=1e-3)
    parser.add_argument("--decoder", type=Path, required=True, help="weights of the second stage")
    parser.add_argument("--tokenizer", type=Path, required=True, help="run of the third stage")
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    device = options.device
    decoder = load_decoder(options.decoder, device)
    tokenizer = load_tokenizer(options.tokenizer, MINI, decoder, torch.bfloat16).to(device)
    held_out = validation_batches(options.validation, decoder, MINI.tile_side, device)
    gain = measured_gain(tokenizer, held_out)
    parts = TrainedParts(MINI, tokenizer.dtype).to(device)
    model = model_of(parts, tokenizer, MINI)
    trained = Trained(parts, weight_decay=0.03)
    progress = TrainingRun(options.run, options.minutes * 60, options.save_every)
    if state := progress.resume():
        trained.load(state["trained"])
    photographs = Photographs(options.photographs, MINI.tile_side + 8 * SCALE, device, seed=progress.step)
    batches = Batches(photographs, decoder, options.batch, MINI.tile_side)
    walk = torch.compile(step)

    def teach() -> dict[str, Tensor]:
        found = losses(parts, tokenizer, batches.draw(), gain, ERROR, walk)
        (found["entropy"] + CORRECTOR_WEIGHT * found["corrector"]).backward()
        trained.step(progress.rate(options.rate))
        return found

    def keep(means: RunningMeans) -> None:
        progress.keep(trained, lambda: means.read() | validate(parts, tokenizer, model, gain, held_out), gain=gain)

    progress.train(teach, keep)


if __name__ == "__main__":
    main()
