"""The model computes what the official implementation computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from tests.conftest import CPU, FLOAT32
from tests.golden import DATA, GoldenNoise
from varsr.model.inference import InferenceConfig
from varsr.model.varsr import VARSR, Prediction
from varsr.weights.checkpoint import load_encoder

PUBLISHED = InferenceConfig(guidance_scale=6.0)
SCALES = 10


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(DATA / "tiny.safetensors")


@pytest.fixture(scope="module")
def tiles(golden: dict[str, Tensor]) -> Tensor:
    return F.interpolate(golden["input_lowres"], size=(512, 512), mode="bilinear").clamp(-1, 1)


@pytest.fixture(scope="module")
def noise() -> GoldenNoise:
    return GoldenNoise(2)


@pytest.fixture(scope="module")
def predictions(tiny_model: VARSR, tiles: Tensor, noise: GoldenNoise) -> list[Prediction]:
    with torch.inference_mode():
        return list(tiny_model.predict(tiny_model.conditions_of_tiles(tiles), PUBLISHED, noise))


@pytest.fixture(scope="module")
def latent(tiny_model: VARSR, predictions: list[Prediction], noise: GoldenNoise) -> Tensor:
    with torch.inference_mode():
        return tiny_model.correct(predictions[-1], PUBLISHED, noise)


def distance(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


def test_prefix(tiny_model: VARSR, tiles: Tensor, golden: dict[str, Tensor]) -> None:
    with torch.inference_mode():
        prefix = tiny_model.conditions_of_tiles(tiles).prefix
    assert distance(prefix[:, :4], golden["prefix_first"]) < 1e-4
    assert distance(prefix.mean(-1), golden["prefix_mean"]) < 1e-4


@pytest.mark.parametrize("scale", range(SCALES))
def test_every_token_of_a_scale(predictions: list[Prediction], golden: dict[str, Tensor], scale: int) -> None:
    assert torch.equal(predictions[scale].tokens, golden[f"tokens_{scale}"].long())


@pytest.mark.parametrize("scale", range(SCALES))
def test_guided_logits(predictions: list[Prediction], golden: dict[str, Tensor], scale: int) -> None:
    assert distance(predictions[scale].logits[:, 0], golden[f"logits_{scale}"]) < 1e-4


def test_corrector_condition(tiny_model: VARSR, predictions: list[Prediction], golden: dict[str, Tensor]) -> None:
    with torch.inference_mode():
        z = tiny_model.corrector.norm(tiny_model.corrector_condition(predictions[-1]))  # (G, T, L, C)
    assert distance(z.flatten(0, 1)[:, :2], golden["refiner_z_first"]) < 1e-4


def test_corrector(predictions: list[Prediction], latent: Tensor, golden: dict[str, Tensor]) -> None:
    residual = (latent - predictions[-1].latent).flatten(2).transpose(1, 2)
    assert distance(residual, golden["refiner_out"]) < 5e-3


def test_latent(latent: Tensor, golden: dict[str, Tensor]) -> None:
    assert distance(latent, golden["f_hat"]) < 5e-3


def test_pixels(tiny_model: VARSR, latent: Tensor, tiles: Tensor, golden: dict[str, Tensor]) -> None:
    with torch.inference_mode():
        pixels = tiny_model.decoder(latent, tiles)
    assert distance(pixels[:, :, 200:264, 200:264], golden["image_crop"]) < 2 / 127.5
    bytes_ = ((pixels + 1) * 127.5).round()
    assert distance(bytes_, golden["image_u8"].float()) <= 2


def test_encoder_and_quantizer(tiny: Path, tiny_model: VARSR, tiles: Tensor, golden: dict[str, Tensor]) -> None:
    encoder = load_encoder(tiny, CPU, FLOAT32)
    with torch.inference_mode():
        latent = encoder(tiles[:1])
        tokens, decoded = tiny_model.quantizer.encode(latent)
    assert distance(latent, golden["enc_f"]) < 1e-4
    assert distance(decoded, golden["enc_f_hat_last"]) < 1e-4
    for scale in range(SCALES):
        assert torch.equal(tokens[scale], golden[f"enc_tokens_{scale}"].long())
