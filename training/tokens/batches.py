"""Batches of tiles for the token stages: what the decoder lacks of the ground truth, and a label of the quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.decoder.data import Photographs, Validation, enlarge
from training.decoder.network import SCALE, Decoder, DecoderConfig, load_weights
from training.decoder.stage import channels_last
from varsr.evaluation.degradation import Draws, blur, gaussian_kernels, jpeg
from varsr.model.guidance import NEGATIVE, POSITIVE

NEGATIVE_SHARE = 0.2


class Batch(NamedTuple):
    """B tiles. Pixels are (B, 3, S, S) in [-1, 1]."""

    target: Tensor
    upsampled: Tensor
    restored: Tensor
    """By the decoder at realism 0, without tokens."""
    labels: Tensor
    """(B)."""

    @property
    def lacking(self) -> Tensor:
        """The target less what the decoder restores, which is what the tokenizer codes."""
        return self.target - self.restored


class Batches:
    """Batches of random crops of photographs, degraded, some with targets of low quality."""

    def __init__(
        self,
        photographs: Photographs,
        decoder: Decoder,
        size: int,
        tile_side: int,
        negative_share: float = NEGATIVE_SHARE,
    ) -> None:
        self.photographs, self.decoder = photographs, decoder
        self.size, self.side = size, tile_side // SCALE
        self.negative_share = negative_share

    def draw(self) -> Batch:
        """A new batch."""
        small, large = self.photographs.pairs(self.size, self.side)
        draws = self.photographs.draws
        labels = torch.where(draws.uniform(self.size) < self.negative_share, NEGATIVE, POSITIVE)
        is_negative = (labels == NEGATIVE).view(-1, 1, 1, 1)
        return batch_of(self.decoder, small, torch.where(is_negative, low_quality(large, draws), large), labels)


def low_quality(images: Tensor, draws: Draws) -> Tensor:
    """Images (B, 3, H, W) out of focus or strongly compressed.

    All that is bad here lacks detail, so that guidance, which leads away from it, has one direction: with
    over-sharpened and noisy targets as well, the directions cancelled each other and guidance did nothing.
    """
    blurred = blur(images, gaussian_kernels(15, images.new_full((len(images),), 3.0), draws))
    compressed = jpeg(images, draws.uniform(len(images), 8, 30), draws)
    return torch.where((draws.uniform(len(images)) < 0.6).view(-1, 1, 1, 1), blurred, compressed)


def batch_of(decoder: Decoder, small: Tensor, large: Tensor, labels: Tensor) -> Batch:
    """The batch of small inputs (B, 3, S / 4, S / 4) and large targets (B, 3, S, S) in [0, 1]."""
    upsampled = enlarge(small)
    with torch.no_grad(), torch.autocast(small.device.type, torch.bfloat16):
        restored = decoder(upsampled, upsampled.new_zeros(1, 1, 1, 1))
    return Batch(2 * large - 1, 2 * upsampled - 1, 2 * restored.float().clamp(0, 1) - 1, labels)


def load_decoder(weights: Path, device: torch.device) -> Decoder:
    """A trained decoder, frozen."""
    decoder = channels_last(Decoder(DecoderConfig()), device)
    load_weights(decoder, load_file(weights))
    return decoder.requires_grad_(False)


def validation_batches(
    folders: Sequence[Path], decoder: Decoder, tile_side: int, device: torch.device, count: int = 16
) -> dict[str, Batch]:
    """A clean and a degraded batch of photographs that training does not see, the same at every call."""
    pairs = Validation(folders, device, count, tile_side // SCALE).pairs
    labels = torch.full((count,), POSITIVE, device=device)
    return {name: batch_of(decoder, small, large, labels) for name, (small, large) in pairs.items()}


def flat(measures: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float]:
    """The measures of each batch under "BATCH MEASURE"."""
    return {f"{batch} {name}": float(value) for batch, row in measures.items() for name, value in row.items()}
