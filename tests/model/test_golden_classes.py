"""The class-to-image model computes what the official implementation computes (labels 3 and 7, guidance 4)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.conftest import CPU, FLOAT32
from tests.golden import DATA, GoldenNoise, write_pickles
from tests.model.test_golden import distance
from varsr.model.config import CLASS_SCALES
from varsr.model.inference import DecodeConfig, InferenceConfig
from varsr.model.varsr import VARSR, Prediction
from varsr.weights.checkpoint import load_model
from varsr.weights.convert import convert

PUBLISHED = InferenceConfig(guidance_scale=4.0, guided_scales=len(CLASS_SCALES))


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(DATA / "c2i.safetensors")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> VARSR:
    folder: Path = tmp_path_factory.mktemp("c2i")
    convert(*write_pickles("c2i", folder), folder / "c2i.safetensors", torch.float32)
    return load_model(folder / "c2i.safetensors", CPU, FLOAT32)


@pytest.fixture(scope="module")
def noise() -> GoldenNoise:
    return GoldenNoise(2)


@pytest.fixture(scope="module")
def predictions(model: VARSR, golden: dict[str, Tensor], noise: GoldenNoise) -> list[Prediction]:
    with torch.inference_mode():
        conditions = model.conditions_of_classes(golden["labels"].long(), torch.float32)
        return list(model.predict(conditions, PUBLISHED, noise))


@pytest.fixture(scope="module")
def latent(model: VARSR, predictions: list[Prediction], noise: GoldenNoise) -> Tensor:
    with torch.inference_mode():
        return model.correct(predictions[-1], PUBLISHED, noise)


@pytest.mark.parametrize("scale", range(len(CLASS_SCALES)))
def test_tokens_and_logits_of_a_scale(predictions: list[Prediction], golden: dict[str, Tensor], scale: int) -> None:
    assert torch.equal(predictions[scale].tokens, golden[f"tokens_{scale}"].long())
    assert distance(predictions[scale].logits[:, 0], golden[f"logits_{scale}"]) < 1e-4


def test_corrector(model: VARSR, predictions: list[Prediction], latent: Tensor, golden: dict[str, Tensor]) -> None:
    with torch.inference_mode():
        z = model.corrector.norm(model.corrector_condition(predictions[-1]))
    first_tokens = torch.cat((z[0, 0, :2], z[1, 0, :2]))  # positive, then negative
    assert distance(first_tokens, golden["refiner_z_first"]) < 1e-4
    residual = (latent - predictions[-1].latent).flatten(2).transpose(1, 2)
    assert distance(residual, golden["refiner_out"]) < 5e-3
    assert distance(latent, golden["f_hat"]) < 5e-3


def test_pixels(model: VARSR, latent: Tensor, golden: dict[str, Tensor]) -> None:
    with torch.inference_mode():
        pixels = model.decode(latent, torch.zeros(2, 3, 512, 512), DecodeConfig(realism=0))
    assert distance(pixels[:, :, 200:264, 200:264], golden["image_crop"]) < 2 / 127.5
