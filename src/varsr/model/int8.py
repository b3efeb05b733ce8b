"""Matrix products of eight bits, for processors that have no bfloat16: three times as fast there as float32.

Weights are rounded once, each output channel to its own range; activations as they come, to the range of the tensor.
What a tile comes to therefore depends on what is multiplied with it, so tiles are computed one at a time.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from varsr.model.layers import Linear
from varsr.model.varsr import VARSR

LARGEST = 127


class Int8Linear(nn.Module):
    """y = x W^T + b with W and x rounded to eight bits, the sums exact, y in the type of x."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        weight = linear.weight.float()
        scales = (weight.abs().amax(1) / LARGEST).clamp(min=1e-12).double()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch tells of a successor that is a package of its own
            rounded = torch.quantize_per_channel(
                weight, scales, torch.zeros(len(weight), dtype=torch.int64), 0, torch.qint8
            )
            self._packed = torch.ops.quantized.linear_prepack(rounded, linear.bias.float())

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        out: Tensor = torch.ops.quantized.linear_dynamic(x.float(), self._packed)
        return out.to(x.dtype)


def round_to_int8(model: VARSR) -> None:
    """Replace the layers in which the time goes: those of the transformer's and the corrector's blocks."""
    if "onednn" in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = "onednn"  # the fastest of them on every x86 processor tried
    for blocks in (model.transformer.blocks, model.corrector.blocks):
        for owner in list(blocks.modules()):
            for name, layer in list(owner.named_children()):
                if isinstance(layer, Linear):
                    setattr(owner, name, Int8Linear(layer))
