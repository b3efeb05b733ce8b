"""Matrix products of eight bits, for processors that have no bfloat16: with VNNI twice as fast there as float32.

Weights are rounded once, each output channel to its own range; activations as they come, to the range of the tensor.
What a tile comes to therefore depends on what is multiplied with it, so tiles are computed one at a time.
"""

from __future__ import annotations

import warnings
from functools import cache

import torch
from torch import Tensor, nn

from varsr.model.layers import Linear
from varsr.model.varsr import VARSR

LARGEST = 127


class Int8Linear(nn.Module):
    """y = x W^T + b with W and x rounded to eight bits, the sums exact, y in the type of x."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self._packed = _packed(linear.weight.float(), linear.bias.float())
        self._spares_a_bit = sums_overflow()

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        out: Tensor = torch.ops.quantized.linear_dynamic(x.float(), self._packed, self._spares_a_bit)
        return out.to(x.dtype)


@cache
def sums_overflow() -> bool:
    """True where sums of 8-bit products overflow.

    Processors without VNNI add products in pairs to sixteen bits, in which two of the largest have no room: there
    activations are rounded to seven bits.
    """
    ones = torch.ones(64, 64)
    found: Tensor = torch.ops.quantized.linear_dynamic(ones, _packed(ones, torch.zeros(64)))
    return bool((found - 64).abs().max() > 1)


def _packed(weight: Tensor, bias: Tensor) -> torch.ScriptObject:
    """A float32 layer's weight (O, I) and bias (O), rounded and ordered as the kernel needs them."""
    scales = (weight.abs().amax(1) / LARGEST).clamp(min=1e-12).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch announces a successor in another package
        rounded = torch.quantize_per_channel(
            weight, scales, torch.zeros(len(weight), dtype=torch.int64), 0, torch.qint8
        )
        packed: torch.ScriptObject = torch.ops.quantized.linear_prepack(rounded, bias)
    return packed


def round_to_int8(model: VARSR) -> None:
    """Replace the layers in which the time goes: those of the transformer's and the corrector's blocks."""
    if "onednn" in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = "onednn"  # the fastest of them on every x86 processor tried
    for blocks in (model.transformer.blocks, model.corrector.blocks):
        for owner in list(blocks.modules()):
            for name, layer in list(owner.named_children()):
                if isinstance(layer, Linear):
                    setattr(owner, name, Int8Linear(layer))
