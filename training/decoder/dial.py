"""Second stage: the whole dial, from faithful at 0 to realistic at 1.

    python -m training.decoder.dial photographs/train --validation photographs/validation --run runs/dial \
        --start runs/faithful/state.pt --teacher realesrgan-x4plus --features vgg16.safetensors

At 0 the decoder is trained on the ground truth alone. At 1 its target is the teacher's output with the coarse band of
the ground truth: nearly determined by the input, so that sharpness can be learned by a plain loss, and right in
colour and brightness. Features are compared with the target too, and a discriminator separates results from targets;
where it separates them from photographs, results grow a stipple in place of grain that they cannot know. With a large
share they grow one even so, which NIQE rewards: local textures are therefore held to the target's, and patterns on the
decoder's grid of 4 px are suppressed. All four gradients are scaled to a share of the length of the pixels' gradient,
so that no weights have to be tuned. In between, in proportion.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from training.decoder.data import Photographs, Validation, enlarge, pixel_loss
from training.decoder.discriminator import Discriminator, hinge_loss, realism_loss
from training.decoder.features import Features, feature_loss, texture_loss
from training.decoder.network import SCALE, DecoderConfig
from training.decoder.stage import Training, channels_last
from training.decoder.teacher import Teacher
from training.progress import RunningMeans, TrainingRun, stage_parser

DISCRIMINATOR_RATE = 2e-4
"""Constant: with a rate that fell as the decoder's, results grew softer again towards the end."""
RISE = 200
"""Steps in which the discriminator's share rises from 0."""
LATTICE = 4
LATTICE_CELLS = 8
"""Cells of the lattice along a patch, whose texture is nearly gone in their mean."""
COARSE = 3.0
"""Deviation in pixels of the Gaussian that parts the ground truth's coarse band from the teacher's fine one."""


@dataclass(frozen=True)
class Shares:
    """Composition of a training step."""

    faithful: int = 4
    """Images at realism 0."""
    realistic: int = 8
    """Images above it, a quarter of them between 0 and 1."""
    fresh: int = 1
    """New images in the pool a step."""
    window: int = 128
    """Side of what features and discriminator see."""
    features: float = 0.7
    """Length of the features' gradient in that of the pixels'."""
    discriminator: float = 0.6
    """Length of the discriminator's gradient in that of the pixels'."""
    discriminator_steps: int = 3
    """Steps of the discriminator for one of the decoder, each on another window."""
    texture: float = 1.0
    """Length of the texture's gradient in that of the pixels'."""
    lattice: float = 0.5
    """Length of the lattice's gradient in that of the pixels'."""


class PoolBatch(NamedTuple):
    """Images of the pool: what is given and what is wanted, (B, 3, h, w) and twice (B, 3, 4h, 4w)."""

    small: Tensor
    ground_truth: Tensor
    teacher_output: Tensor


class Pool:
    """The latest pairs with the teacher's results, as uint8, so that each is seen several times."""

    def __init__(self, photographs: Photographs, teacher: Teacher, size: int, side: int, device: torch.device) -> None:
        self.photographs, self.teacher, self.side = photographs, teacher, side
        shapes = side, SCALE * side, SCALE * side
        self.planes = [torch.zeros(size, 3, n, n, dtype=torch.uint8, device=device) for n in shapes]
        self.added = 0

    @torch.no_grad()
    def add(self, count: int) -> None:
        """Put `count` new pairs in the place of the oldest."""
        small, large = self.photographs.pairs(count, self.side)
        with torch.autocast(small.device.type, torch.bfloat16):
            teacher_output = self.teacher(small.contiguous(memory_format=torch.channels_last))
        places = torch.arange(self.added, self.added + count, device=small.device) % len(self.planes[0])
        for plane, values in zip(self.planes, (small, large, teacher_output.float().clamp(0, 1)), strict=True):
            plane[places] = (values * 255).round().byte()
        self.added += count

    def draw(self, count: int) -> PoolBatch:
        """`count` of the pool, all turned and mirrored alike."""
        filled = min(self.added, len(self.planes[0]))
        chosen = torch.randint(filled, (count,), device=self.planes[0].device)
        turns, mirrored = random.randrange(4), random.random() < 0.5

        def turned(plane: Tensor) -> Tensor:
            x = torch.rot90(plane[chosen].float() / 255, turns, (2, 3))
            return (x.flip(3) if mirrored else x).contiguous()

        return PoolBatch(*(turned(plane) for plane in self.planes))


class DialTraining:
    """Decoder and discriminator, and the gradients that both get of a step."""

    def __init__(self, training: Training, features: Features, shares: Shares) -> None:
        self.training, self.features, self.shares = training, features, shares
        self.discriminator = channels_last(Discriminator(), training.device)
        self.optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=DISCRIMINATOR_RATE, betas=(0.5, 0.99), fused=True
        )

    def step(self, faithful: tuple[Tensor, Tensor], batch: PoolBatch, rate: float) -> dict[str, Tensor]:
        """Train on faithful pairs and on a batch of the pool; return the losses."""
        small, large = faithful
        realistic = slice(len(small), None)
        realism = dial_positions(len(small), len(batch.small), small.device)
        amount = realism.view(-1)
        enlarged = enlarge(torch.cat((small, batch.small)))
        target = (batch.teacher_output + coarse(batch.ground_truth - batch.teacher_output)).clamp(0, 1)
        restored = self.training.restore(enlarged, realism)

        pixels = restored.detach().float().requires_grad_(True)
        to_ground_truth = pixel_loss(pixels, torch.cat((large, batch.ground_truth)))
        to_target = pixel_loss(pixels[realistic], target)
        loss = ((1 - amount) * to_ground_truth).sum() + (amount[realistic] * to_target).sum()
        gradient = torch.autograd.grad(loss, pixels)[0].clone()
        losses = {"ground truth": to_ground_truth[: len(small)], "target": to_target}

        images = pixels.detach()[realistic], target, enlarged[realistic]
        if self.shares.discriminator:
            losses["discriminator"] = self._train_discriminator(*images)
        window = random_window(pixels.shape[-1], self.shares.window)
        seen, wanted, given = (x[window].contiguous() for x in images)
        added = self._realistic_gradient(seen.requires_grad_(True), wanted, given, amount[realistic], losses)
        losses = {name: values.detach().mean() for name, values in losses.items()}
        gradient[realistic][window] += gradient[realistic][window].norm() * added
        restored.backward((gradient / len(gradient)).to(restored.dtype))
        self.training.step(rate)
        return losses

    def _realistic_gradient(
        self, seen: Tensor, wanted: Tensor, given: Tensor, amount: Tensor, losses: dict[str, Tensor]
    ) -> Tensor:
        """Gradients of features, texture and discriminator, each of the length of its share."""
        shares = self.shares
        with torch.autocast(seen.device.type, torch.bfloat16):
            with torch.no_grad():
                wanted_maps = self.features(wanted)
            maps = self.features(seen)
        losses["features"] = feature_loss(maps, wanted_maps)
        losses["texture"] = texture_loss(maps, wanted_maps)
        gradient = shares.features * _unit_gradient(losses["features"] * amount, seen, keep_graph=True)
        gradient += shares.texture * _unit_gradient(losses["texture"] * amount, seen)
        losses["lattice"] = lattice_loss(seen, wanted)
        gradient += shares.lattice * _unit_gradient(losses["lattice"] * amount, seen)
        if shares.discriminator:
            with torch.autocast(seen.device.type, torch.bfloat16):
                realism = realism_loss(self.discriminator, seen, given)
            rise = min(1, self.training.steps / RISE)
            gradient += rise * shares.discriminator * _unit_gradient(realism * amount, seen)
        return gradient

    def _train_discriminator(self, fake: Tensor, real: Tensor, given: Tensor) -> Tensor:
        losses = []
        for _ in range(self.shares.discriminator_steps):
            window = random_window(real.shape[-1], self.shares.window)
            seen = [images[window].contiguous() for images in (real, fake, given)]
            with torch.autocast(real.device.type, torch.bfloat16):
                loss = hinge_loss(self.discriminator, *seen)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    def start_from(self, state: dict[str, Any]) -> None:
        """Begin with the EMA weights of another run, and with its discriminator where it had one."""
        earlier = state.get("dial", state)
        self.training.start_from(earlier["training"]["ema"])
        if "discriminator" in earlier:
            self.discriminator.load_state_dict(earlier["discriminator"])

    def state(self) -> dict[str, Any]:
        """All that `load` needs."""
        return {
            "training": self.training.state(),
            "discriminator": self.discriminator.state_dict(),
            "discriminator_optimizer": self.optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`."""
        self.training.load(state["training"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["discriminator_optimizer"])


def dial_positions(faithful: int, realistic: int, device: torch.device) -> Tensor:
    """(faithful + realistic, 1, 1, 1): zeros, ones, and a quarter of the latter anywhere between."""
    realism = torch.ones(faithful + realistic, 1, 1, 1, device=device)
    realism[:faithful] = 0
    between = realistic // 4
    realism[len(realism) - between :] = torch.rand(between, 1, 1, 1, device=device)
    return realism


def coarse(x: Tensor) -> Tensor:
    """(B, 3, H, W) through a Gaussian of COARSE pixels."""
    reach = round(3 * COARSE)
    line = torch.exp(-(torch.arange(-reach, reach + 1, device=x.device) ** 2) / (2 * COARSE**2))
    kernel = (line / line.sum()).view(1, 1, 1, -1).repeat(3, 1, 1, 1)
    x = F.conv2d(F.pad(x, (reach,) * 4, mode="reflect"), kernel, groups=3)
    return F.conv2d(x, kernel.transpose(2, 3), groups=3)


def lattice_loss(results: Tensor, targets: Tensor) -> Tensor:
    """Per image (B): the size of the patterns of LATTICE px that results have in patches on average, and targets not.

    Doublings that repeat pixels can still draw a pattern on their grid, which a discriminator is slow to see.
    """
    patches = rearrange(
        results - targets,
        "b c (i h p) (j w q) -> b (i j) c (h w) p q",
        h=LATTICE_CELLS, w=LATTICE_CELLS, p=LATTICE, q=LATTICE,
    )  # fmt: skip
    pattern = patches.mean(3)
    pattern = pattern - pattern.mean((3, 4), keepdim=True)
    return (pattern.square().mean((2, 3, 4)) + 1e-8).sqrt().mean(1)


def random_window(side: int, window: int) -> tuple[slice, slice, slice, slice]:
    """A window of a batch of square images."""
    top, left = random.randrange(side - window + 1), random.randrange(side - window + 1)
    return slice(None), slice(None), slice(top, top + window), slice(left, left + window)


def main() -> None:
    """Train until the budget is spent."""
    parser = stage_parser(__doc__, minutes=300, rate=2e-4)
    parser.add_argument("--side", type=int, default=48, help="side of the small crops in pixels")
    parser.add_argument(
        "--start", type=Path, required=True, help="state of the first stage, or of an earlier run of this one"
    )
    parser.add_argument("--teacher", type=Path, required=True, help="Real-ESRGAN's ncnn files, without suffix")
    parser.add_argument("--features", type=Path, required=True, help="made by training.decoder.features")
    parser.add_argument("--pool", type=int, default=700)
    for field in fields(Shares):
        parser.add_argument(f"--{field.name.replace('_', '-')}-share", type=type(field.default), default=field.default)
    options = parser.parse_args()
    shares = Shares(**{field.name: getattr(options, f"{field.name}_share") for field in fields(Shares)})
    device = options.device
    validation = Validation(options.validation, device)
    teacher = channels_last(Teacher.from_ncnn(options.teacher), device)
    features = channels_last(Features.from_file(options.features), device)
    progress = TrainingRun(options.run, options.minutes * 60, options.save_every)
    dial = DialTraining(Training(DecoderConfig(), device, decay=0.998), features, shares)
    state = progress.resume()
    if state:
        dial.load(state["dial"])
    else:
        dial.start_from(torch.load(options.start, weights_only=True, map_location=device))
    photographs = Photographs(options.photographs, SCALE * (options.side + 8), device, seed=progress.step)
    pool = Pool(photographs, teacher, options.pool, options.side, device)
    while pool.added < options.pool:
        pool.add(8 * shares.fresh)

    def step() -> dict[str, Tensor]:
        pool.add(shares.fresh)
        pairs = photographs.pairs(shares.faithful, options.side)
        return dial.step(pairs, pool.draw(shares.realistic), progress.rate(options.rate, warmup=100))

    def keep(means: RunningMeans) -> None:
        gains = {
            f"{name} {realism}": gain
            for realism in (0, 1)
            for name, gain in validation.gain(dial.training.restore_by_ema(realism)).items()
        }
        progress.log(**means.read(), **gains)
        progress.save(dial=dial.state())

    progress.train(step, keep)


def _unit_gradient(losses: Tensor, seen: Tensor, keep_graph: bool = False) -> Tensor:
    gradient = torch.autograd.grad(losses.sum(), seen, retain_graph=keep_graph)[0]
    return gradient / gradient.norm().clamp(min=1e-12)


if __name__ == "__main__":
    main()
