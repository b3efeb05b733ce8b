"""Third stage: the latent's path through the decoder learns to read predicted tokens.

    python -m training.tokens.join photographs/train --validation photographs/validation --run runs/join \
        --decoder decoder.safetensors --model grown.safetensors

Everything else stands still. With the pixel loss on unguided predictions the path uses what is right in them; guidance
and corrector, which it does not see here, add to them at inference.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from training.decoder.data import Photographs, pixel_loss, psnr_y
from training.decoder.network import SCALE
from training.design import MINI, PRESET
from training.progress import RunningMeans, Trained, TrainingRun, stage_parser
from training.tokens.batches import Batch, Batches, flat, load_decoder, validation_batches
from varsr.model.dial_decoder import DialDecoder
from varsr.model.inference import DecodeConfig, InferenceConfig
from varsr.model.sampling import TileNoise
from varsr.model.tokenizer import Encoder
from varsr.model.varsr import VARSR
from varsr.runtime.device import Precision
from varsr.weights.checkpoint import load_encoder, load_model

PLAIN = InferenceConfig(guidance_scale=0, fidelity=1.0, corrector_steps=0)
GUIDANCE = 4.0  # in validation
GATE = 0.3  # at which it begins: at 0 nothing behind it would learn
TRUE_SHARE = 0.1  # of the steps, those on true tokens: more, and it trusts predicted ones too far
EMPTY_SHARE = 0.1
POOL, USES = 40, 3  # predicted batches at hand, and training steps for each that is predicted


@dataclass(frozen=True)
class Predicted:
    """A batch, and the latents (B, Z, P, P) that the transformer predicts for it."""

    batch: Batch
    latent: Tensor


def predict(model: VARSR, batch: Batch, inference: InferenceConfig, dtype: torch.dtype) -> Tensor:
    """The latents that a model predicts for a batch, as it would upscale it."""
    with torch.no_grad():
        conditions = model.conditions_of_tiles(batch.upsampled.to(dtype))
        *_, latent = model.generate(conditions, inference, TileNoise(0, range(len(batch.upsampled))))
    return latent.clone()


def true_latent(model: VARSR, encoder: Encoder, batch: Batch, dtype: torch.dtype) -> Tensor:
    """The latents of the true tokens: of what the upsampled input lacks of the target."""
    with torch.no_grad():
        lacking = (batch.target - batch.upsampled).to(dtype).contiguous(memory_format=torch.channels_last)
        latent: Tensor = model.quantizer.encode(encoder(lacking).float())[1]
    return latent


def decode(model: VARSR, latent: Tensor, batch: Batch, dtype: torch.dtype, realism: float = 0.0) -> Tensor:
    """Pixels (B, 3, S, S), float32."""
    return model.decode(latent.to(dtype), batch.upsampled.to(dtype), DecodeConfig(realism)).float()


@torch.no_grad()
def validate(model: VARSR, encoder: Encoder, batches: Mapping[str, Batch], dtype: torch.dtype) -> dict[str, float]:
    """PSNR-Y of the decoder alone, and with no, predicted, guided, guided and corrected, and true tokens."""
    guided = replace(PLAIN, guidance_scale=GUIDANCE)
    corrected = replace(guided, corrector_steps=5, corrector_gain=PRESET.corrector_gain)

    def measure(batch: Batch) -> dict[str, Tensor]:
        latents = {
            "plain": predict(model, batch, PLAIN, dtype),
            "guided": predict(model, batch, guided, dtype),
            "corrected": predict(model, batch, corrected, dtype),
            "true": true_latent(model, encoder, batch, dtype),
        }
        latents["empty"] = torch.zeros_like(latents["true"])
        results = {"restored": batch.restored}
        results |= {name: decode(model, latent, batch, dtype) for name, latent in latents.items()}
        return {name: psnr_y((x + 1) / 2, (batch.target + 1) / 2).mean() for name, x in results.items()}

    return flat({name: measure(batch) for name, batch in batches.items()})


def main() -> None:
    """Train until the budget is spent."""
    parser = stage_parser(__doc__, minutes=30, rate=1e-3)
    parser.add_argument("--decoder", type=Path, required=True, help="weights of the second stage")
    parser.add_argument("--model", type=Path, required=True, help="written by training.tokens.grow")
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    device, dtype = options.device, torch.bfloat16
    decoder = load_decoder(options.decoder, device)
    model = load_model(options.model, device, Precision(dtype, dtype))
    encoder = load_encoder(options.model, device, Precision(dtype, dtype))
    assert isinstance(model.decoder, DialDecoder)
    path = model.decoder.latent.requires_grad_(True)
    with torch.no_grad():
        path.gate.fill_(GATE)
    trained = Trained(nn.ModuleDict({"decoder": nn.ModuleDict({"latent": path})}), weight_decay=1e-4)
    progress = TrainingRun(options.run, options.minutes * 60, options.save_every)
    if state := progress.resume():
        trained.load(state["trained"])
    random.seed(progress.step)
    photographs = Photographs(options.photographs, MINI.tile_side + 8 * SCALE, device, seed=progress.step)
    batches = Batches(photographs, decoder, options.batch, MINI.tile_side, negative_share=0)
    held_out = validation_batches(options.validation, decoder, MINI.tile_side, device)
    pool: deque[Predicted] = deque(maxlen=POOL)

    def step() -> dict[str, Tensor]:
        if not pool or random.random() < 1 / USES:
            batch = batches.draw()
            pool.append(Predicted(batch, predict(model, batch, PLAIN, dtype)))
        given, kind = random.choice(pool), random.random()
        latent = given.latent
        if kind < TRUE_SHARE:
            latent = true_latent(model, encoder, given.batch, dtype)
        elif kind < TRUE_SHARE + EMPTY_SHARE:
            latent = torch.zeros_like(latent)
        pixels = pixel_loss(decode(model, latent, given.batch, dtype), given.batch.target).mean()
        pixels.backward()
        trained.step(progress.rate(options.rate, warmup=50))
        return {"pixels": pixels, "restored": pixel_loss(given.batch.restored, given.batch.target).mean()}

    def keep(means: RunningMeans) -> None:
        progress.keep(trained, lambda: means.read() | validate(model, encoder, held_out, dtype))

    progress.train(step, keep)


if __name__ == "__main__":
    main()
