"""First stage: the tokenizer, its quantizer with it.

    python -m training.tokenizer PHOTOGRAPHS RUN --minutes 60

Resumes where RUN was stopped.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.crops import Batch, Crops, averaged, stream, validation_sets
from training.design import MINI, adopt, initialize
from training.progress import Trained, TrainingRun, stage_parser
from varsr.evaluation.metrics import psnr_y
from varsr.model.config import ModelConfig
from varsr.model.quantizer import Quantizer
from varsr.model.tokenizer import Decoder, Encoder

RATE = 6e-4
FREQUENCY_WEIGHT = 0.05
COMMITMENT = 0.05
SPREAD = 0.1
WARMUP = 700  # steps without quantization: a decoder that does not yet heed the latent lets it shrink to nothing
RESTART_EVERY = 40
RESTART_UNTIL = 0.8  # of the budget; codes must stand still for a while before the transformer learns them


class Tokenizer(nn.Module):
    """Encoder, quantizer and decoder."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder = Encoder(config.tokenizer).to(dtype)
        self.quantizer = Quantizer(config)  # float32, as always
        self.decoder = Decoder(config.tokenizer).to(dtype)
        self.dtype = dtype

    def encode(self, batch: Batch) -> Tensor:
        """The continuous latent (B, Z, P, P) of the sharp tiles, float32."""
        difference = batch.sharp - batch.upsampled
        latent: Tensor = self.encoder(difference.to(self.dtype).contiguous(memory_format=torch.channels_last))
        return latent.float()

    def decode(self, latent: Tensor, batch: Batch) -> Tensor:
        """Pixels (B, 3, S, S), float32."""
        pixels: Tensor = self.decoder(latent.to(self.dtype), batch.upsampled.to(self.dtype))
        return pixels.float()


def new_tokenizer(config: ModelConfig, dtype: torch.dtype) -> Tokenizer:
    """A tokenizer with new weights, which decodes to its input."""
    tokenizer = Tokenizer(config, dtype)
    initialize(tokenizer)
    with torch.no_grad():
        tokenizer.decoder.conv_out.weight.mul_(0.1)
        _begin_as_the_input(tokenizer.decoder)
        tokenizer.quantizer.codebook.mul_(0.5)
    return tokenizer


def _begin_as_the_input(decoder: Decoder) -> None:
    """The trunk passes its input on and shows nothing by itself."""
    for name, parameter in decoder.named_parameters():
        if ("trunk" in name and "conv2" in name) or "restored" in name:
            parameter.zero_()


def load_tokenizer(run: Path, config: ModelConfig, dtype: torch.dtype) -> Tokenizer:
    """The tokenizer that a run has come to, frozen: the mean of its weights."""
    tokenizer = new_tokenizer(config, dtype)
    adopt(tokenizer, torch.load(run / "state.pt", weights_only=True, map_location="cpu")["trained"]["mean"])
    return tokenizer.requires_grad_(False)


def shorten(totals: list[Tensor]) -> Tensor:
    """For each tile the latent after its last scale, or (three in ten) after an earlier one or none.

    A decoder that has seen unfinished latents makes the best of a poorly predicted one.
    """
    count, tiles = len(totals), len(totals[0])
    stops = torch.where(torch.rand(tiles) < 0.3, torch.randint(0, count + 1, (tiles,)), count)
    stacked = torch.stack([torch.zeros_like(totals[0]), *totals])
    return stacked[stops.to(stacked.device), torch.arange(tiles, device=stacked.device)]


def pixel_loss(result: Tensor, truth: Tensor) -> Tensor:
    """L1 of the pixels and, for sharpness, of their spectrum."""
    spectrum = torch.fft.rfft2(result - truth, norm="ortho").abs().mean()
    return F.l1_loss(result, truth) + FREQUENCY_WEIGHT * spectrum


def warmup_loss(tokenizer: Tokenizer, batch: Batch) -> Tensor:
    """The loss of the unquantized latent."""
    latent = tokenizer.encode(batch)
    return pixel_loss(tokenizer.decode(latent, batch), batch.sharp) + SPREAD * spread(latent)


def spread(latent: Tensor) -> Tensor:
    """Distance of a latent from zero mean and unit variance, which codes and corrector rely on."""
    return (latent.std() - 1).square() + latent.mean().square()


def loss_of(tokenizer: Tokenizer, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """The loss and the tokens of every scale."""
    latent = tokenizer.encode(batch)
    steps = list(tokenizer.quantizer.approach(latent.detach()))
    totals = [total for _, total in steps]
    # Codes learn from every scale. The latent is drawn to the last sum alone: drawn to the coarse ones it shrinks.
    codes = torch.stack([F.mse_loss(total, latent.detach()) for total in totals]).mean()
    held = COMMITMENT * F.mse_loss(latent, totals[-1].detach()) + SPREAD * spread(latent)
    chosen = shorten(totals)
    passed = latent + (chosen - latent).detach()  # straight through
    result = tokenizer.decode(passed, batch)
    return pixel_loss(result, batch.sharp) + codes + held, [tokens for tokens, _ in steps]


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
            for values in (self.trained.float32_weights, self.trained.mean, self.trained.weights):
                values["quantizer.codebook"].data[code] = vector
        return len(dead)


@torch.no_grad()
def validate(tokenizer: Tokenizer, sets: dict[str, list[Batch]]) -> dict[str, float]:
    """PSNR-Y of the upsampled input, of what all tokens, no tokens and the unquantized latent decode to."""

    def measure(batch: Batch) -> dict[str, Tensor]:
        latent = tokenizer.encode(batch)
        total = tokenizer.quantizer.encode(latent)[1]
        latents = {"tokens": total, "empty": torch.zeros_like(total), "latent": latent}
        results = {"bicubic": batch.upsampled, **{name: tokenizer.decode(x, batch) for name, x in latents.items()}}
        return {name: psnr_y(result, batch.sharp).mean() for name, result in results.items()}

    spread = float(tokenizer.encode(sets["clean"][0]).std())
    return {"latent_std": spread, **averaged(sets, measure)}


def main() -> None:
    """Train for the given minutes, those of earlier runs counted."""
    parser = stage_parser(__doc__, minutes=60)
    options = parser.parse_args()
    device = options.device

    torch.manual_seed(0)
    tokenizer = new_tokenizer(MINI, torch.bfloat16).to(device)
    trained = Trained(tokenizer, weight_decay=1e-4)
    restarts = Restarts(trained, MINI.tokenizer.codes)
    progress = TrainingRun(options.run, options.minutes * 60)
    if state := progress.resume():
        trained.load(state["trained"])
    crops = Crops(options.photographs / "train", MINI.tile_side, options.batch, seed=progress.step)
    batches = stream(crops, device)
    sets = validation_sets(options.photographs / "validation", MINI.tile_side, 4, device)

    def keep() -> None:
        progress.keep(trained, lambda: {"loss": running, "dead": dead, **validate(tokenizer, sets)})

    running, dead = 0.0, 0
    for due in progress.steps():
        batch = next(batches)
        if progress.step < WARMUP:
            loss = warmup_loss(tokenizer, batch)
        else:
            loss, tokens = loss_of(tokenizer, batch)
            restarts.count(tokens)
        loss.backward()
        trained.step(progress.rate(RATE))
        running += 0.02 * (float(loss.detach()) - running)
        if progress.step % RESTART_EVERY == 0 and progress.spent < RESTART_UNTIL * progress.budget:
            dead = restarts.apply(tokenizer, batch)
        if due:
            keep()
    keep()


if __name__ == "__main__":
    main()
