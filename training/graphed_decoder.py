"""The decoder for training: compiled for a CPU, CUDA graphs for a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from training.design import MINI, PRESET

Decode = Callable[[Tensor, Tensor], Tensor]


def faster_decoder(decoder: nn.Module, dtype: torch.dtype, windows: int) -> Decode:
    """A faster `decoder` of the same weights, for so many windows and for the single tiles of them.

    On a GPU its kernels, forward and backward, are captured as CUDA graphs; the result is valid until the next call.
    During the capture nothing else may take memory on the GPU.
    """
    device = next(decoder.parameters()).device
    if device.type != "cuda":
        return torch.compile(decoder)
    torch.backends.cudnn.benchmark = True
    shapes = (windows, PRESET.decode_window), (windows * PRESET.decode_window**2, 1)
    by_count = {count: _recorded(decoder, *_example(count, side, dtype, device)) for count, side in shapes}
    return lambda latent, upsampled: by_count[len(latent)](latent, upsampled)


def _example(count: int, side: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Latents and inputs of squares of `side` by `side` tiles."""
    cells, pixels = side * MINI.latent_side, side * MINI.tile_side
    latent = torch.zeros(count, MINI.tokenizer.channels, cells, cells, dtype=dtype, device=device)
    return latent, torch.zeros(count, 3, pixels, pixels, dtype=dtype, device=device)


class _Forward(nn.Module):
    """A decoder's forward alone: recording replaces it, and the decoder itself is used in other shapes too."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latent: Tensor, upsampled: Tensor) -> Tensor:
        pixels: Tensor = self.decoder(latent, upsampled)
        return pixels


def _recorded(decoder: nn.Module, latent: Tensor, upsampled: Tensor) -> Decode:
    return cast("Decode", torch.cuda.make_graphed_callables(_Forward(decoder), (latent, upsampled)))
