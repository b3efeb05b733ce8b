"""The last stage: what is taken over, and what the discriminator does."""

from __future__ import annotations

from dataclasses import replace

import torch

from tests.conftest import CPU
from tests.nano import MINI_LIKE
from training.crops import Batch
from training.design import adopt
from training.finetune import turned
from training.gan import STRIDE, GanLoss, shifted
from training.tokenizer import new_tokenizer, pixel_loss


def photographs(count: int) -> Batch:
    """Grainy images and smooth copies."""
    generator = torch.Generator().manual_seed(count)
    smooth = torch.nn.functional.interpolate(torch.rand(count, 3, 4, 4, generator=generator) * 2 - 1, scale_factor=16)
    sharp = (smooth + 0.3 * torch.randn(smooth.shape, generator=generator)).clamp(-1, 1)
    return Batch(sharp, smooth, torch.zeros(count, dtype=torch.long))


def test_a_longer_input_path_begins_as_the_short_one() -> None:
    """Weights of a design with fewer blocks are taken over, and the decoder does what it did."""
    torch.manual_seed(0)
    short = new_tokenizer(MINI_LIKE, torch.float32)
    longer = replace(MINI_LIKE, tokenizer=replace(MINI_LIKE.tokenizer, input_blocks=4))
    grown = new_tokenizer(longer, torch.float32)
    adopt(grown, dict(short.named_parameters()))
    latent, pixels = torch.randn(2, 8, 4, 4), torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(grown.decoder(latent, pixels), short.decoder(latent, pixels))


def test_the_judge_learns_to_tell_photographs_from_smooth_copies() -> None:
    torch.manual_seed(0)
    gan = GanLoss(CPU)
    batch = photographs(4)
    losses = [float(gan.learn(batch.upsampled, batch.sharp, batch.upsampled)) for _ in range(120)]
    assert losses[0] > 1.5
    assert sum(losses[-10:]) / 10 < 0.5


def test_pixels_and_judge_pull_as_hard_as_told() -> None:
    torch.manual_seed(0)
    gan = GanLoss(CPU)
    batch = photographs(2)
    restored = batch.upsampled.clone().requires_grad_(True)
    (to_truth,) = torch.autograd.grad(pixel_loss(restored, batch.sharp), restored)
    alone = gan.gradient(restored, batch.sharp, batch.upsampled, realism=0)
    torch.testing.assert_close(alone, to_truth)
    for realism in (0.5, 2.0):
        both = gan.gradient(restored, batch.sharp, batch.upsampled, realism)
        torch.testing.assert_close((both - alone).norm(), realism * to_truth.norm(), rtol=1e-3, atol=0)


def test_the_judge_sees_images_from_every_corner() -> None:
    """All from the same one at a time, so that no place in a image is always at the same place of its grid."""
    side = 4 * STRIDE
    rows = torch.arange(side).view(1, 1, side, 1).expand(2, 3, side, side)
    columns = rows.transpose(2, 3)
    corners = set()
    for _ in range(40 * STRIDE):
        seen_rows, seen_columns = shifted(rows, columns)
        assert seen_rows.shape == seen_columns.shape == (2, 3, side - STRIDE, side - STRIDE)
        corners.add((int(seen_rows[0, 0, 0, 0]) % STRIDE, int(seen_columns[0, 0, 0, 0]) % STRIDE))
    assert {row for row, _ in corners} == {column for _, column in corners} == set(range(STRIDE))


def test_pairs_turn_together() -> None:
    """Eight ways to hold a image, the sharp and the upsampled one alike."""
    batch = photographs(1)
    pairs = Batch(batch.sharp, batch.sharp.neg(), batch.labels)
    ways = [turned(pairs) for _ in range(200)]
    assert all(torch.equal(way.sharp, way.upsampled.neg()) for way in ways)
    assert len({way.sharp.numpy().tobytes() for way in ways}) == 8
