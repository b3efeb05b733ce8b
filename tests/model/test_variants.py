"""Parts of small models that the published one does not have, and faster ways to the same values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.conftest import CPU, FLOAT32
from tests.nano import LARGE, MINI_LIKE, write_nano
from varsr.model.attention import _attend_by_products
from varsr.model.inference import InferenceConfig
from varsr.model.layers import Linear
from varsr.model.sampling import TileNoise
from varsr.model.tokenizer import Decoder, Upsample
from varsr.model.transformer import FeedForward
from varsr.model.varsr import VARSR
from varsr.weights.checkpoint import load_encoder, load_model


@pytest.fixture(scope="module")
def mini_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mini") / "mini.safetensors"
    write_nano(path, MINI_LIKE)
    return path


def restore(model: VARSR, tiles: torch.Tensor, strength: float) -> torch.Tensor:
    with torch.inference_mode():
        noise = TileNoise(0, range(len(tiles)))
        *_, latent = model.generate(model.conditions_of_tiles(tiles), InferenceConfig(guidance_scale=strength), noise)
        return latent


def test_a_residual_decoder_adds_to_its_input() -> None:
    decoder = Decoder(MINI_LIKE.tokenizer)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.zero_()
        upsampled = torch.rand(1, 3, 32, 32) * 2 - 1
        assert torch.equal(decoder(torch.randn(1, 8, 4, 4), upsampled), upsampled)


def test_the_input_path_reaches_the_pixels(mini_like: Path) -> None:
    model = load_model(mini_like, CPU, FLOAT32)
    latent, first, second = torch.randn(1, 8, 4, 4), torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.1)
    first[..., 16:] = 0.5
    with torch.inference_mode():
        assert not torch.allclose(
            model.decoder(latent, first) - first, model.decoder(latent, second) - second, atol=1e-3
        )


def test_encoder_and_decoder_agree_on_the_stride(mini_like: Path) -> None:
    encoder = load_encoder(mini_like, CPU, FLOAT32)
    assert encoder(torch.zeros(1, 3, 32, 48)).shape == (1, 8, 4, 6)


def test_no_guidance_equals_guidance_of_vanishing_strength(nano: Path) -> None:
    model = load_model(nano, CPU, FLOAT32)
    tiles = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.allclose(restore(model, tiles, 0.0), restore(model, tiles, 1e-7), atol=1e-3)


def test_tiles_do_not_influence_each_other(nano: Path) -> None:
    model = load_model(nano, CPU, FLOAT32)
    tiles = torch.rand(3, 3, 32, 32) * 2 - 1
    alone = restore(model, tiles[:1], 2.0)
    assert torch.allclose(restore(model, tiles, 2.0)[:1], alone, atol=1e-3)


def test_fidelity_runs_from_the_code_to_the_expected_code(nano: Path) -> None:
    model = load_model(nano, CPU, FLOAT32)
    tiles = torch.rand(2, 3, 32, 32) * 2 - 1
    found = {}
    with torch.inference_mode():
        conditions = model.conditions_of_tiles(tiles)
        for fidelity in (0.0, 0.5, 1.0):
            found[fidelity] = next(model.predict(conditions, InferenceConfig(fidelity=fidelity), TileNoise(0, [0, 1])))
        first = found[0.0]
        assert torch.equal(first.vectors, model.quantizer.codebook[first.tokens])
        weights = first.logits.softmax(-1)
        expected = (weights[..., None] * model.quantizer.codebook).sum(-2)
        assert torch.allclose(found[1.0].vectors, expected, atol=1e-5)
        assert torch.allclose(found[0.5].vectors, (first.vectors + expected) / 2, atol=1e-5)


def test_upsampling_by_phases_is_nearest_then_convolution() -> None:
    layer = Upsample(8)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
        x = torch.randn(2, 8, 5, 7)
        expected = F.conv2d(F.interpolate(x, scale_factor=2), layer.conv.weight, layer.conv.bias, padding=1)
        assert torch.allclose(layer(x), expected, atol=1e-4)


def test_attention_by_products_is_attention() -> None:
    q, k, v = (torch.randn(2, length, 3, 16).bfloat16().transpose(1, 2) for length in (5, 9, 9))  # as in the model
    found = _attend_by_products(q / 4, k, v).float()  # bfloat16 rounds large logits too coarsely
    expected = F.scaled_dot_product_attention(q.float() / 4, k.float(), v.float(), scale=1.0)
    assert torch.allclose(found, expected, atol=0.03)


def test_narrow_weights_compute_what_wide_ones_do(tmp_path: Path) -> None:
    """Weights held in bfloat16 and widened as they are used equal weights rounded once and held in float32."""
    from varsr.runtime.device import Precision

    path = tmp_path / "nano.safetensors"
    write_nano(path, LARGE)
    narrow = load_model(path, CPU, Precision(torch.bfloat16, torch.float32))
    wide = load_model(path, CPU, Precision(torch.bfloat16, torch.float32))
    for parameter in wide.parameters():
        parameter.data = parameter.data.float()
    tiles = torch.rand(1, 3, 32, 32) * 2 - 1
    assert torch.equal(restore(narrow, tiles, 2.0), restore(wide, tiles, 2.0))


def test_narrow_weights_serve_inference_and_what_is_not_in_one_thread() -> None:
    """A thread of its own has no buffer for widened weights yet."""
    layer = Linear(4, 2)
    for parameter in layer.parameters():
        parameter.data = torch.ones_like(parameter).bfloat16()

    def in_both_modes() -> list[list[float]]:
        x = torch.ones(1, 4)
        with torch.inference_mode():
            first = layer(x)
        with torch.no_grad():
            return [values.flatten().tolist() for values in (first, layer(x))]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(in_both_modes).result() == [[5.0, 5.0]] * 2


def test_gelu_by_the_logistic_function_is_gelu() -> None:
    network = FeedForward(4)
    network.fc1.weight.data = torch.eye(4).repeat(4, 1)
    network.fc1.bias.data = torch.zeros(16)
    x = torch.cat((torch.linspace(-12, 12, 4096), torch.tensor([0.0, -0.0, 1e20, -1e20]))).view(-1, 4)
    with torch.no_grad():
        widened = network._widened(x)
    expected = F.gelu(x.repeat(1, 4), approximate="tanh")
    torch.testing.assert_close(widened, expected, atol=1e-6, rtol=1e-6)


def test_a_layer_and_its_gelu_at_once_are_the_same() -> None:
    network = FeedForward(32).bfloat16()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)
        x = torch.randn(2, 5, 32, generator=generator).bfloat16()
        expected = F.gelu(network.fc1(x), approximate="tanh")
        torch.testing.assert_close(network._widened(x), expected, atol=0.02, rtol=0.02)
    with torch.enable_grad():
        assert network(x.requires_grad_()).requires_grad, "training takes the way that has a gradient"
