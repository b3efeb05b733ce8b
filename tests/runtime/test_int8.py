"""Products of eight bits: near to float32, and only where they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import CPU
from varsr.errors import RequestError
from varsr.model.inference import InferenceConfig
from varsr.model.layers import Linear
from varsr.model.sampling import TileNoise
from varsr.model.varsr import VARSR
from varsr.runtime.device import pick_precision
from varsr.runtime.int8 import Int8Linear
from varsr.weights.checkpoint import load_model


def test_a_layer_is_near_to_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    linear = Linear(64, 96).requires_grad_(False)
    linear.weight.copy_(torch.randn(96, 64, generator=generator) * torch.logspace(-2, 1, 96)[:, None])
    linear.bias.copy_(torch.randn(96, generator=generator))
    x = torch.randn(3, 7, 64, generator=generator)
    expected, found = linear(x), Int8Linear(linear)(x)
    error = (found - expected).square().mean((0, 1)).sqrt() / expected.std((0, 1))
    assert error.max() < 0.03, "each output channel has its own range, so none is lost"
    assert Int8Linear(linear)(x.bfloat16()).dtype == torch.bfloat16


def test_sums_of_the_largest_values_have_room() -> None:
    """Without VNNI two products of the largest numbers overflow the sixteen bits in which they are added."""
    layer = Linear(64, 64).requires_grad_(False)
    layer.weight.fill_(1)
    layer.bias.zero_()
    torch.testing.assert_close(Int8Linear(layer)(torch.ones(3, 64)), torch.full((3, 64), 64.0))


def test_a_model_in_int8(tiny: Path, tiny_model: VARSR) -> None:
    """The blocks' layers are replaced, and the image stays near that of float32."""
    model = load_model(tiny, CPU, pick_precision("int8", CPU))
    assert any(isinstance(module, Int8Linear) for module in model.transformer.modules())
    side = model.config.tile_side
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    tiles = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(-1, 1)
    with torch.inference_mode():
        inference, noise = InferenceConfig(guidance_scale=3.0), TileNoise(0, [0])
        first, second = (
            next(m.predict(m.conditions_of_tiles(tiles), inference, noise)).logits for m in (tiny_model, model)
        )
    assert 0 < (first - second).norm() / first.norm() < 0.15


def test_int8_is_for_the_cpu() -> None:
    with pytest.raises(RequestError, match="int8 is for the CPU"):
        pick_precision("int8", torch.device("cuda"))
