"""The decoder with a realism dial, by itself and in a model."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import CPU, FLOAT32
from tests.nano import DIAL, DIAL_LIKE, MINI_LIKE, write_nano, write_preset
from training.decoder.network import Decoder as TrainedDecoder
from training.decoder.network import DecoderConfig
from training.tokens.tokenizer import packaged
from varsr import Options, Upscaler
from varsr.choices import DtypeName
from varsr.model.config import ConfigError, DialConfig, ModelConfig
from varsr.model.dial_decoder import ADAPTED_BELOW, DialDecoder
from varsr.model.inference import DecodeConfig
from varsr.weights.checkpoint import load_model


@pytest.fixture
def image() -> Image.Image:
    return Image.effect_noise((24, 20), 80).convert("RGB")


def upscaler_of(config: ModelConfig, folder: Path) -> Upscaler:
    write_nano(folder / "model.safetensors", config)
    return Upscaler.from_checkpoint(folder / "model.safetensors", device="cpu", dtype="fp32")


def of_random_weights() -> DialDecoder:
    decoder = DialDecoder(DIAL, DIAL_LIKE.tokenizer).requires_grad_(False)
    for parameter in decoder.parameters():
        parameter.normal_(std=0.1)
    return decoder


@pytest.mark.parametrize("realism", [0.0, 0.3, 1.0])
def test_it_computes_what_training_does(realism: float) -> None:
    """Training's network takes pixels in [0, 1]; without its latent this one is the same for pixels in [-1, 1]."""
    trained = TrainedDecoder(DecoderConfig(width=16, blocks=3, half=8, full=8, rank=4)).eval()
    for name, parameter in trained.named_parameters():
        if name.endswith(("dial", "condition", "router.weight")):
            torch.nn.init.normal_(parameter)
        if "expert" in name or "adapter" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    decoder = DialDecoder(DIAL, MINI_LIKE.tokenizer)
    weights = packaged(trained.state_dict())
    for name, values in decoder.latent.state_dict().items():
        weights[f"latent.{name}"] = 0.1 * torch.randn_like(values)
    weights["latent.gate"] = torch.zeros(16)
    decoder.load_state_dict(weights)
    pixels = torch.rand(2, 3, 32, 40)
    with torch.inference_mode():
        expected = trained(pixels, torch.full((2, 1, 1, 1), realism)).clamp(0, 1)
        found = decoder(torch.randn(2, 8, 4, 5), pixels * 2 - 1, realism)
    torch.testing.assert_close((found + 1) / 2, expected, atol=1e-5, rtol=1e-5)


def test_it_adapts_to_each_image_by_itself() -> None:
    """An image comes out alike beside another one, whose estimate differs."""
    decoder = of_random_weights()
    plain = copy.deepcopy(decoder)
    with torch.inference_mode():
        plain.router.bias.fill_(-1e3)
        latent, noisy = torch.zeros(2, 8, 4, 4), torch.stack([torch.zeros(3, 32, 32), torch.rand(3, 32, 32)])
        together = decoder(latent, noisy, 0.5)
        alone = torch.cat([decoder(latent[:1], image, 0.5) for image in noisy.split(1)])
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
        assert (together - plain(latent, noisy, 0.5)).abs().amax((1, 2, 3)).min() > 1e-3


def test_the_adapters_serve_low_realism_alone() -> None:
    """Their change fades evenly until they are off."""
    decoder = of_random_weights()
    plain = copy.deepcopy(decoder)
    with torch.inference_mode():
        for name, parameter in plain.named_parameters():
            if "adapter" in name:
                parameter.zero_()
        latent, noisy = torch.zeros(1, 8, 4, 4), torch.rand(1, 3, 32, 32)

        def change(realism: float) -> float:
            return float((decoder(latent, noisy, realism) - plain(latent, noisy, realism)).abs().max())

        assert change(0) > change(0.3) > change(0.6) > change(ADAPTED_BELOW) == change(1) == 0


def test_the_latent_joins_it() -> None:
    decoder = of_random_weights()
    with torch.inference_mode():
        pixels = torch.zeros(1, 3, 32, 32)
        first, second = (decoder(torch.full((1, 8, 4, 4), value), pixels, 0.5) for value in (0.0, 1.0))
    assert not torch.equal(first, second)


def test_the_dial_reaches_the_result(tmp_path: Path, image: Image.Image) -> None:
    upscaler = upscaler_of(DIAL_LIKE, tmp_path)
    results = [np.asarray(upscaler.upscale(image, 2, Options(realism=r, corrector=False))) for r in (0.0, 1.0, None)]
    assert not np.array_equal(results[0], results[1])
    assert np.array_equal(results[1], results[2])  # the published preset is at 1


def test_the_mean_over_views_does_not_depend_on_the_view(tmp_path: Path) -> None:
    write_nano(tmp_path / "model.safetensors", DIAL_LIKE)
    model = load_model(tmp_path / "model.safetensors", CPU, FLOAT32)
    latent, pixels = torch.randn(1, 8, 4, 4), torch.rand(1, 3, 32, 32)

    def decoded(views: int, axes: tuple[int, ...] = ()) -> torch.Tensor:
        with torch.inference_mode():
            return model.decode(latent.flip(axes), pixels.flip(axes), DecodeConfig(0, views)).flip(axes)

    for views, axes in ((2, (3,)), (4, (2,)), (4, (2, 3))):
        torch.testing.assert_close(decoded(views, axes), decoded(views), atol=1e-5, rtol=1e-5)
        assert (decoded(1, axes) - decoded(1)).abs().max() > 1e-3
    with pytest.raises(ValueError, match="views must be 1, 2 or 4"):
        DecodeConfig(views=3)


def test_views_are_for_realism_0(tmp_path: Path, image: Image.Image) -> None:
    """Their mean would blur the texture that a realism above 0 invents."""
    upscaler = upscaler_of(DIAL_LIKE, tmp_path)
    write_preset(tmp_path / "model.toml", faithful_views=4)
    with_views = Upscaler.from_checkpoint(tmp_path / "model.safetensors", device="cpu", dtype="fp32")
    for realism, is_alike in ((0.0, False), (0.1, True)):
        results = [np.asarray(each.upscale(image, 2, Options(realism=realism))) for each in (upscaler, with_views)]
        assert np.array_equal(results[0], results[1]) == is_alike


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_narrow_types_estimate_as_float32_does(tmp_path: Path, image: Image.Image, dtype: DtypeName) -> None:
    write_nano(tmp_path / "model.safetensors", DIAL_LIKE)
    kinds: tuple[DtypeName, DtypeName] = ("fp32", dtype)
    exact, narrow = (
        np.asarray(Upscaler.from_checkpoint(tmp_path / "model.safetensors", device="cpu", dtype=kind).upscale(image, 2))
        for kind in kinds
    )
    assert np.abs(exact.astype(int) - narrow).mean() < 4


def test_without_a_dial_it_scales_guidance(tmp_path: Path, image: Image.Image) -> None:
    upscaler = upscaler_of(MINI_LIKE, tmp_path)
    preset = upscaler.presets.default

    def result(**values: float) -> np.ndarray:
        return np.asarray(upscaler.upscale(image, 2, Options(**values)))  # type: ignore[arg-type]

    assert np.array_equal(result(realism=0), result(cfg=0))
    assert np.array_equal(result(realism=0.5), result(cfg=preset.guidance_scale_tiled / 2))
    assert np.array_equal(result(realism=1), result())
    assert np.array_equal(result(realism=0, cfg=2), result(cfg=2))


def test_its_configuration_travels() -> None:
    assert ModelConfig.from_json(DIAL_LIKE.to_json()) == DIAL_LIKE
    with pytest.raises(ConfigError, match="join within its blocks"):
        replace(DIAL_LIKE, dial=DialConfig(blocks=2, join=2))
