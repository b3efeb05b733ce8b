"""New tokens: the tokenizer, which codes what the decoder at realism 0 lacks of the ground truth.

    python -m training.tokens.tokenizer photographs/train --validation photographs/validation --run runs/tokenizer \
        --decoder training/decoder/decoder-3.safetensors

Encoder, quantizer and the decoder's path of the latent are trained; the rest of the decoder stands still.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.decoder.data import Photographs, pixel_loss, psnr_y
from training.decoder.network import SCALE, Decoder
from training.design import MINI, initialize
from training.progress import RunningMeans, Trained, TrainingRun, stage_parser
from training.tokens.batches import Batch, Batches, flat, load_decoder, validation_batches
from varsr.model.config import DialConfig, ModelConfig
from varsr.model.dial_decoder import DialDecoder
from varsr.model.quantizer import Quantizer
from varsr.model.tokenizer import Encoder

COMMITMENT = 0.05
SPREAD = 0.1
WARMUP = 200  # steps without quantization: a decoder that does not yet heed the latent lets it shrink to nothing
RESTART_EVERY = 40
RESTART_UNTIL = 0.8  # of the budget; codes must stand still for a while before the transformer learns them


class Tokenizer(nn.Module):
    """Encoder, quantizer and decoder."""

    def __init__(self, config: ModelConfig, decoder: Decoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder = Encoder(config.tokenizer).to(dtype)
        self.quantizer = Quantizer(config)  # float32, as always
        self.decoder = DialDecoder(config.dial or DialConfig(), config.tokenizer).to(dtype)
        initialize(self)
        with torch.no_grad():
            self.quantizer.codebook.mul_(0.5)
            self.decoder.latent.gate.fill_(0.1)
        self.decoder.load_state_dict(packaged(decoder.state_dict()), strict=False)
        self.decoder.requires_grad_(False)
        self.decoder.latent.requires_grad_(True)
        self.dtype = dtype

    @property
    def trained_parts(self) -> nn.Module:
        """The parameters that this stage trains, under their names in the model."""
        latent_path = nn.ModuleDict({"latent": self.decoder.latent})
        return nn.ModuleDict({"encoder": self.encoder, "quantizer": self.quantizer, "decoder": latent_path})

    def encode(self, batch: Batch) -> Tensor:
        """The continuous latent (B, Z, P, P) of tiles, float32."""
        latent: Tensor = self.encoder(batch.lacking.to(self.dtype).contiguous(memory_format=torch.channels_last))
        return latent.float()

    def decode(self, latent: Tensor, batch: Batch, realism: float = 0.0) -> Tensor:
        """Pixels (B, 3, S, S), float32."""
        pixels: Tensor = self.decoder(latent.to(self.dtype), batch.upsampled.to(self.dtype), realism)
        return pixels.float()


def packaged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a decoder that was trained on pixels in [0, 1] for pixels in [-1, 1]."""
    halved = ("conv_in.weight", "conv_in.adapter.down.weight", "estimator.conv1.weight")
    doubled = ("conv_out.weight", "conv_out.bias", "conv_out.adapter.up.weight", "conv_out.adapter.up.bias")
    factors = dict.fromkeys(halved, 0.5) | dict.fromkeys(doubled, 2.0)
    return {name: values * factors.get(name, 1.0) for name, values in weights.items()}


def load_tokenizer(run: Path, config: ModelConfig, decoder: Decoder, dtype: torch.dtype) -> Tokenizer:
    """The tokenizer that a run has come to, frozen: its EMA weights."""
    tokenizer = Tokenizer(config, decoder, dtype)
    ema = torch.load(run / "state.pt", weights_only=True, map_location="cpu")["trained"]["ema"]
    tokenizer.load_state_dict(ema, strict=False)
    return tokenizer.requires_grad_(False)


def shorten(totals: list[Tensor]) -> Tensor:
    """For each tile the latent after its last scale, or (3 in 10) after an earlier one or none.

    A decoder that has seen unfinished latents makes the best of a poorly predicted one.
    """
    count, tiles = len(totals), len(totals[0])
    stops = torch.where(torch.rand(tiles) < 0.3, torch.randint(0, count + 1, (tiles,)), count)
    stacked = torch.stack([torch.zeros_like(totals[0]), *totals])
    return stacked[stops.to(stacked.device), torch.arange(tiles, device=stacked.device)]


def spread(latent: Tensor) -> Tensor:
    """Distance of a latent from zero mean and unit variance, which codes and corrector rely on."""
    return (latent.std() - 1).square() + latent.mean().square()


def continuous_loss(tokenizer: Tokenizer, batch: Batch) -> Tensor:
    """The loss of the unquantized latent."""
    latent = tokenizer.encode(batch)
    return pixel_loss(tokenizer.decode(latent, batch), batch.target).mean() + SPREAD * spread(latent)


def quantized_loss(tokenizer: Tokenizer, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """The loss and the tokens of every scale."""
    latent = tokenizer.encode(batch)
    steps = list(tokenizer.quantizer.approach(latent.detach()))
    totals = [total for _, total in steps]
    # Codes learn from every scale. The latent is drawn to the last sum alone: drawn to the coarse ones it shrinks.
    codes = torch.stack([F.mse_loss(total, latent.detach()) for total in totals]).mean()
    held = COMMITMENT * F.mse_loss(latent, totals[-1].detach()) + SPREAD * spread(latent)
    passed = latent + (shorten(totals) - latent).detach()  # straight through
    pixels = pixel_loss(tokenizer.decode(passed, batch), batch.target).mean()
    return pixels + codes + held, [tokens for tokens, _ in steps]


class Restarts:
    """Codes that nothing chooses are set where the latents are."""

    def __init__(self, trained: Trained, codes: int) -> None:
        self.trained = trained
        self.used = torch.zeros(codes)

    def count(self, tokens: list[Tensor]) -> None:
        """Take note of a batch's choices."""
        self.used += torch.cat([t.flatten() for t in tokens]).bincount(minlength=len(self.used)).cpu()

    @torch.no_grad()
    def apply(self, tokenizer: Tokenizer, batch: Batch) -> int:
        """Move the unused codes to what is left of a batch's latents at random scales; return their number."""
        quantizer, latent = tokenizer.quantizer, tokenizer.encode(batch)
        rests = [latent, *(latent - total for _, total in quantizer.approach(latent))]
        pools = [quantizer.at_scale(rest, k).flatten(0, 1) for k, rest in enumerate(rests[:-1])]
        dead = (self.used < 2).nonzero().flatten()
        self.used.zero_()
        for code, scale in zip(dead.tolist(), torch.randint(0, len(pools), (len(dead),)).tolist(), strict=True):
            pool = pools[scale]
            vector = pool[int(torch.randint(0, len(pool), (1,)))]
            for values in (self.trained.float32_weights, self.trained.ema, self.trained.weights):
                values["quantizer.codebook"].data[code] = vector
        return len(dead)


@torch.no_grad()
def validate(tokenizer: Tokenizer, batches: Mapping[str, Batch]) -> dict[str, float]:
    """PSNR-Y of the input, of the decoder alone, and of what all, no and unquantized tokens decode to."""

    def measure(batch: Batch) -> dict[str, Tensor]:
        latent = tokenizer.encode(batch)
        total = tokenizer.quantizer.encode(latent)[1]
        latents = {"tokens": total, "empty": torch.zeros_like(total), "latent": latent}
        results = {"bicubic": batch.upsampled, "restored": batch.restored}
        results |= {name: tokenizer.decode(x, batch) for name, x in latents.items()}
        quality = {name: psnr_y((x + 1) / 2, (batch.target + 1) / 2).mean() for name, x in results.items()}
        return quality | {"spread": latent.std()}

    return flat({name: measure(batch) for name, batch in batches.items()})


def main() -> None:
    """Train until the budget is spent."""
    parser = stage_parser(__doc__, minutes=60, rate=6e-4)
    parser.add_argument("--decoder", type=Path, required=True, help="weights of the second stage")
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    device = options.device
    decoder = load_decoder(options.decoder, device)
    tokenizer = Tokenizer(MINI, decoder, torch.bfloat16).to(device)
    trained = Trained(tokenizer.trained_parts, weight_decay=1e-4)
    restarts = Restarts(trained, MINI.tokenizer.codes)
    progress = TrainingRun(options.run, options.minutes * 60, options.save_every)
    if state := progress.resume():
        trained.load(state["trained"])
    photographs = Photographs(options.photographs, MINI.tile_side + 8 * SCALE, device, seed=progress.step)
    batches = Batches(photographs, decoder, options.batch, MINI.tile_side)
    held_out = validation_batches(options.validation, decoder, MINI.tile_side, device)

    def step() -> dict[str, Tensor]:
        batch, restarted = batches.draw(), {}
        if progress.step < WARMUP:
            loss = continuous_loss(tokenizer, batch)
        else:
            loss, tokens = quantized_loss(tokenizer, batch)
            restarts.count(tokens)
        loss.backward()
        trained.step(progress.rate(options.rate))
        if progress.step % RESTART_EVERY == 0 and progress.done < RESTART_UNTIL:
            restarted = {"restarted": torch.tensor(restarts.apply(tokenizer, batch))}
        return {"loss": loss, **restarted}

    def keep(means: RunningMeans) -> None:
        progress.keep(trained, lambda: means.read() | validate(tokenizer, held_out))

    progress.train(step, keep)


if __name__ == "__main__":
    main()
