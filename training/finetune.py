"""Third stage: fine-tune the corrector and the decoder on the transformer's predictions.

    python -m training.finetune PHOTOGRAPHS RUN --start MODEL.safetensors --minutes 30

The first 2 stages train both on ground-truth tokens. Here they get predicted ones: the corrector learns to sample the
residual of a predicted latent; the decoder learns to use right predictions, and to do without wrong ones.
At first the decoder is trained with the pixel loss on unguided, uncorrected latents; a GAN loss on guided and corrected
latents is added later. It sees windows of several tiles, and sometimes single tiles. Resumes where RUN was stopped.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from training.crops import Batch, Crops, Mix, averaged, stream, validation_sets
from training.design import MINI, PRESET
from training.diffusion import corrector_loss
from training.gan import GanLoss
from training.graphed_decoder import Decode, faster_decoder
from training.progress import Trained, TrainingRun, stage_parser
from training.tokenizer import Tokenizer, pixel_loss
from varsr.evaluation.metrics import psnr_y
from varsr.model.inference import InferenceConfig
from varsr.model.sampling import TileNoise
from varsr.model.tokenizer import Decoder
from varsr.model.varsr import VARSR
from varsr.runtime.device import Precision, pick_precision
from varsr.weights.checkpoint import load_encoder, load_model

RATE = 4e-4
EVERY_TOKEN = InferenceConfig(guided_scales=PRESET.guided_scales)
WINDOW = PRESET.decode_window  # tiles along the side of what the decoder sees
SINGLE_SHARE = 0.2  # of the steps, those in which it sees single tiles, as in the smallest images
EMPTY_SHARE = 0.4  # of the steps, those in which the decoder has the input alone: they cost no generation
TRUE_SHARE = 0.05  # of those on faithful latents, the ones on true tokens: more, and it trusts predicted ones too far
GUIDED_SHARE = 0.5  # of generated batches, those with guidance and corrector, once there is a discriminator
CORRECTED_SHARE = 0.8  # of these, those with the corrector
GUIDANCE_SCALES = (1.0, 2.0, 4.0)
FIDELITIES = (0.5, 1.0, 1.0, 1.0)
REALISM = 1.0  # weight of the GAN loss against the pixel loss
GAN_FROM = 0.6  # of the budget
POOL = 60  # generated batches at hand: generating one takes as long as learning from four
USES = 10  # training steps for each batch that is generated


@dataclass(frozen=True)
class Generated:
    """A batch of B windows of T tiles in all, and what the transformer predicts for them."""

    batch: Batch
    guidance_scale: float
    latent: Tensor
    """The sum of all scales, (B, Z, W, W)."""
    z: Tensor
    """The corrector's condition, (G, T, L, C)."""
    residual: Tensor
    """What the latents lack of the true ones, (T, L, Z)."""


def split_windows(windows: Tensor) -> Tensor:
    """The tiles of windows: (B, C, W, W) -> (T, C, P, P)."""
    rows_and_columns = windows.unflatten(3, (WINDOW, -1)).unflatten(2, (WINDOW, -1))  # (B, C, i, h, j, w)
    return rows_and_columns.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def join_tiles(tiles: Tensor) -> Tensor:
    """The reverse of `split_windows`."""
    windows = tiles.unflatten(0, (-1, WINDOW, WINDOW))  # (B, i, j, C, h, w)
    return windows.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def tiles_of(batch: Batch) -> Batch:
    """The tiles of a batch of windows."""
    return Batch(split_windows(batch.sharp), split_windows(batch.upsampled), batch.labels.repeat_interleave(WINDOW**2))


def generated(model: VARSR, tokenizer: Tokenizer, batch: Batch, guided_share: float) -> Generated:
    """Predict a batch, some with a random guidance_scale of guidance, all with a random fidelity."""
    guidance_scale = random.choice(GUIDANCE_SCALES) if random.random() < guided_share else 0.0
    return predicted(model, tokenizer, batch, guidance_scale, random.choice(FIDELITIES))


@torch.no_grad()
def predicted(model: VARSR, tokenizer: Tokenizer, batch: Batch, guidance_scale: float, fidelity: float) -> Generated:
    """The transformer's prediction of a batch."""
    tiles = tiles_of(batch)
    noise = TileNoise(0, range(len(tiles.sharp)))
    generation = replace(EVERY_TOKEN, guidance_scale=guidance_scale, fidelity=fidelity)
    *_, last = model.predict(tiles.upsampled.to(tokenizer.dtype), generation, noise)
    residual = (tokenizer.encode(tiles) - last.latent).flatten(2).transpose(1, 2)
    return Generated(batch, guidance_scale, join_tiles(last.latent), model.corrector_condition(last), residual)


@torch.no_grad()
def faithful(tokenizer: Tokenizer, given: Generated) -> tuple[Batch, Tensor]:
    """The predicted latent, or the turned batch with its true tokens'."""
    if random.random() < TRUE_SHARE:
        batch = turned(given.batch)
        return batch, true_latent(tokenizer, batch)
    return given.batch, given.latent


def true_latent(tokenizer: Tokenizer, batch: Batch) -> Tensor:
    """The latent of the true tokens of windows, (B, Z, W, W)."""
    return join_tiles(tokenizer.quantizer.encode(tokenizer.encode(tiles_of(batch)))[1])


@torch.no_grad()
def guided_latent(model: VARSR, given: Generated, gain: float) -> tuple[Batch, Tensor]:
    """The guided prediction, mostly corrected."""
    if random.random() > CORRECTED_SHARE:
        return given.batch, given.latent
    return given.batch, given.latent + corrected(model, given, gain)


def corrected(model: VARSR, given: Generated, gain: float) -> Tensor:
    """The corrector's part of the latent, (B, Z, W, W)."""
    steps = PRESET.corrector_steps
    sampled = model.corrector.sample(
        given.z, given.guidance_scale, lambda _: torch.randn_like(given.residual), steps, gain
    )
    side = model.config.latent_side
    return join_tiles(sampled.transpose(1, 2).unflatten(2, (side, side)))


def turned(batch: Batch) -> Batch:
    """The same pairs, turned and mirrored at random."""
    turns, mirrored = random.randrange(4), random.random() < 0.5

    def turn(images: Tensor) -> Tensor:
        rotated = images.rot90(turns, (2, 3))
        return (rotated.flip(3) if mirrored else rotated).contiguous()

    return Batch(turn(batch.sharp), turn(batch.upsampled), batch.labels)


@torch.no_grad()
def validate(model: VARSR, tokenizer: Tokenizer, gain: float, sets: dict[str, list[Batch]]) -> dict[str, float]:
    """PSNR-Y and share of detail: of the input, plain, guided, guided and corrected generation, and the true tokens."""
    guidance_scale = PRESET.guidance_scale_tiled

    def measure(batch: Batch) -> dict[str, Tensor]:
        plain, guided = (predicted(model, tokenizer, batch, t, PRESET.fidelity) for t in (0.0, guidance_scale))
        latents = {
            "plain": plain.latent,
            "guided": guided.latent,
            "corrected": guided.latent + corrected(model, guided, gain),
            "empty": torch.zeros_like(plain.latent),
            "true": true_latent(tokenizer, batch),
        }
        results = {"bicubic": batch.upsampled} | {name: tokenizer.decode(x, batch) for name, x in latents.items()}
        quality = {name: psnr_y(result, batch.sharp).mean() for name, result in results.items()}
        return quality | {f"{name}_detail": detail(x) / detail(batch.sharp) for name, x in results.items()}

    return averaged(sets, measure)


def detail(images: Tensor) -> Tensor:
    """The mean difference between neighbouring pixels."""
    return images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()


def measured_gain(examples: list[Generated]) -> float:
    """The corrector's range, in units of the latent: three deviations of what predictions lack."""
    return round(3 * float(torch.cat([example.residual for example in examples]).std()), 2)


def main() -> None:
    """Train for the given minutes, those of earlier runs counted."""
    parser = stage_parser(__doc__, minutes=30)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--save-every", type=float, default=300, help="in seconds")
    options = parser.parse_args()
    device = options.device

    torch.manual_seed(0)
    progress = TrainingRun(options.run, options.minutes * 60, options.save_every)
    state = progress.resume()
    random.seed(progress.step)
    model, tokenizer = load(options.start, device)
    parts = nn.ModuleDict({"decoder": model.decoder, "corrector": model.corrector})
    trained, gan = Trained(parts.requires_grad_(True), weight_decay=1e-4), GanLoss(device)
    # Recorded before there are processes that feed the GPU: while it records nothing else may take memory there.
    decoder = faster_decoder(model.decoder, tokenizer.dtype, options.batch)
    side = WINDOW * MINI.tile_side
    crops = Crops(options.photographs / "train", side, options.batch, 2000 + progress.step, Mix(negative=0))
    batches = stream(crops, device)
    gain = state["gain"] if state else gain_for(model, tokenizer, batches)
    if state:
        trained.load(state["trained"])
        gan.load(state["gan"])
    sets = validation_sets(options.photographs / "validation", side, 1, device)
    running = torch.zeros(3, device=device)

    def keep() -> None:
        progress.keep(
            trained,
            lambda: _named(running) | validate(model, tokenizer, gain, sets),
            gan=gan.state(),
            config=model.config.to_json(),
            gain=gain,
        )

    pool: deque[Generated] = deque(maxlen=POOL)
    for due in progress.steps():
        with_gan = progress.done > GAN_FROM
        if random.random() < EMPTY_SHARE:
            input_only_step(decoder, next(batches), tokenizer.dtype)
        else:
            if not pool or random.random() < 1 / USES:
                pool.append(generated(model, tokenizer, next(batches), GUIDED_SHARE if with_gan else 0))
            losses = training_step(model, tokenizer, decoder, gan, random.choice(pool), gain)
            running += 0.02 * (losses - running)
        trained.step(progress.rate(options.rate, warmup=50))
        if due:
            keep()
    keep()


def load(path: Path, device: torch.device) -> tuple[VARSR, Tokenizer]:
    """A checkpoint as the model and its tokenizer, which share weights."""
    dtype = pick_precision("auto", device).compute
    precision = Precision(dtype, dtype)
    model = load_model(path, device, precision)
    tokenizer = Tokenizer(model.config, dtype)
    tokenizer.encoder = load_encoder(path, device, precision)
    assert isinstance(model.decoder, Decoder)
    tokenizer.quantizer, tokenizer.decoder = model.quantizer, model.decoder
    return model, tokenizer


def gain_for(model: VARSR, tokenizer: Tokenizer, batches: Iterator[Batch]) -> float:
    """The corrector's range for predicted latents."""
    return measured_gain([generated(model, tokenizer, next(batches), GUIDED_SHARE) for _ in range(4)])


def decoded(decoder: Decode, batch: Batch, latent: Tensor, dtype: torch.dtype) -> tuple[Batch, Tensor]:
    """Windows and their pixels, or sometimes single tiles and theirs."""
    if random.random() < SINGLE_SHARE:
        batch, latent = tiles_of(batch), split_windows(latent)
    return batch, decoder(latent.to(dtype), batch.upsampled.to(dtype)).float()


def input_only_step(decoder: Decode, batch: Batch, dtype: torch.dtype) -> None:
    """Leave the gradients of one step on the input alone."""
    side = WINDOW * MINI.latent_side
    empty = batch.sharp.new_zeros(len(batch.sharp), MINI.tokenizer.channels, side, side)
    batch, pixels = decoded(decoder, batch, empty, dtype)
    pixel_loss(pixels, batch.sharp).backward()


def training_step(
    model: VARSR, tokenizer: Tokenizer, decoder: Decode, gan: GanLoss, given: Generated, gain: float
) -> Tensor:
    """Leave the gradients of one step; the losses of pixels, of the corrector and of the discriminator."""
    with_gan = given.guidance_scale > 0
    batch, latent = guided_latent(model, given, gain) if with_gan else faithful(tokenizer, given)
    batch, pixels = decoded(decoder, batch, latent, tokenizer.dtype)
    gan_loss = gan.learn(pixels, batch.sharp, batch.upsampled) if with_gan else pixels.new_zeros(())
    pixels.backward(gan.gradient(pixels, batch.sharp, batch.upsampled, REALISM if with_gan else 0))
    residual = corrector_loss(model.corrector, given.z[0], given.residual, PRESET.corrector_steps, gain)
    (0.1 * residual).backward()
    return torch.stack((pixel_loss(pixels.detach(), batch.sharp), residual.detach(), gan_loss))


def _named(values: Tensor) -> dict[str, float]:
    return dict(zip(("pixels", "corrector", "discriminator"), values.tolist(), strict=True))


if __name__ == "__main__":
    main()
