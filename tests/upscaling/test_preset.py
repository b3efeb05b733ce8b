"""Presets are text: found, checked, and resolved with a user's options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.conftest import CPU, FLOAT32
from tests.nano import DIAL_LIKE, MINI_LIKE, NANO, write_nano, write_preset
from varsr import Options, Upscaler
from varsr.errors import RequestError, WeightsError
from varsr.model.config import ModelConfig
from varsr.upscaling.preset import Preset, Presets, presets_of, resolve
from varsr.weights import store
from varsr.weights.checkpoint import load_encoder, load_model, read_config
from varsr.weights.presets import preset_tables
from varsr.weights.registry import load_registry

OLD = {
    "guidance": {"single": 4.0, "tiled": 5.0, "scales": 2},
    "fidelity": 1.0, "overlap": 0.0, "blend": 0.125, "window": 2, "kept": 0.3,
}  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_nano(path)
    return path


def of(path: Path, config: ModelConfig = NANO) -> Presets:
    return presets_of(preset_tables(path), config, str(path))


def test_the_registry_holds_what_the_built_in_file_is() -> None:
    """SHA-256 and size; its presets suit it."""
    model = load_registry()["mini"]
    file = model.files["model"]
    path = Path(store.__file__).parent / "built_in" / file.name
    assert (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) == (file.size, file.sha256)
    assert presets_of(model.presets, read_config(path), "weights.toml").default.realism == 0.9


@pytest.mark.parametrize("name", ["mini", "varsr"])
def test_fast_presets_compute_less(name: str) -> None:
    presets = presets_of(load_registry()[name].presets, NANO, name)
    assert presets.fast != presets.default
    for field in ("guided_scales", "guided_tokens", "keep_ratio", "corrector_steps", "tile_overlap", "decode_overlap"):
        assert getattr(presets.fast, field) <= getattr(presets.default, field)


def test_the_published_model_is_as_published() -> None:
    presets = presets_of(load_registry()["varsr"].presets, NANO, "varsr")
    assert presets == Presets(Preset(), Preset().faster())


def test_an_older_checkpoint_carries_its_preset(checkpoint: Path) -> None:
    data = json.loads(NANO.to_json()) | OLD
    data["corrector"] |= {"steps": 5, "gain": 1.5}
    save_file(load_file(checkpoint), checkpoint, {"format": "varsr-1", "config": json.dumps(data)})
    assert read_config(checkpoint) == NANO
    assert load_model(checkpoint, CPU, FLOAT32).config == NANO
    assert of(checkpoint).default == Preset(
        guidance_scale=4, guidance_scale_tiled=5, guided_scales=2, keep_ratio=0.3, fidelity=1.0, corrector_steps=5,
        corrector_gain=1.5, tile_overlap=0.0, decode_overlap=0.125, decode_window=2,
    )  # fmt: skip


def test_a_file_beside_the_checkpoint_overrules_its_metadata(checkpoint: Path) -> None:
    data = json.loads(NANO.to_json()) | OLD
    save_file(load_file(checkpoint), checkpoint, {"format": "varsr-1", "config": json.dumps(data)})
    write_preset(checkpoint.with_suffix(".toml"), guidance_scale=2, keep_ratio=0.5)
    presets = of(checkpoint)
    assert presets.default == Preset(guidance_scale=2.0, keep_ratio=0.5)
    assert presets.fast == presets.default.faster()


def test_a_fast_preset_of_its_own(checkpoint: Path) -> None:
    write_preset(checkpoint.with_suffix(".toml"), "fast", keep_ratio=0.1)
    assert of(checkpoint).fast == Preset(keep_ratio=0.1)


def test_without_text_it_is_the_published_one(checkpoint: Path) -> None:
    assert of(checkpoint).default == Preset()
    assert of(checkpoint, MINI_LIKE).default == Preset(color_fix="none")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"novelty": 1}, "novelty is unknown"),
        ({"keep_ratio": 0}, "keep_ratio"),
        ({"tokens": 1}, "tokens must be of type bool"),
        ({"keep_ratio": "all"}, "keep_ratio must be of type float"),
        ({"corrector_steps": 1}, "corrector_steps"),
        ({"corrector_steps": 2.5}, "corrector_steps must be of type int"),
        ({"guided_scales": True}, "guided_scales"),
        ({"tile_overlap": 1.0}, "tile_overlap"),
        ({"fidelity": -1}, "fidelity"),
        ({"decode_window": 0}, "decode_window"),
        ({"faithful_views": 3}, "views must be 1, 2 or 4"),
        ({"color_fix": "bogus"}, "color_fix"),
    ],
)
def test_a_wrong_value_is_named(checkpoint: Path, values: dict[str, Any], complaint: str) -> None:
    write_preset(checkpoint.with_suffix(".toml"), **values)
    with pytest.raises(WeightsError, match=complaint):
        of(checkpoint)


@pytest.mark.parametrize("text", ["presets", "[other]\na = 1", "[presets]\ndefault = 1"])
def test_text_without_presets_is_refused(checkpoint: Path, text: str) -> None:
    checkpoint.with_suffix(".toml").write_text(text)
    with pytest.raises(WeightsError, match="presets"):
        of(checkpoint)


def test_what_is_asked_for_comes_before_the_preset() -> None:
    presets = Presets(Preset(), Preset().faster())
    plain = resolve(presets, Options(), NANO)
    assert plain.inference == Preset().inference()
    assert plain.for_tiles(2).guidance_scale == 7.0
    told = resolve(presets, Options(speed="fast", cfg=0, keep_ratio=1, fidelity=0.5, corrector=False, top_k=3), NANO)
    assert (told.for_tiles(1).guidance_scale, told.for_tiles(9).guidance_scale) == (0, 0)
    assert (told.inference.keep_ratio, told.inference.guided_tokens) == (1, 0.5)
    assert (told.inference.fidelity, told.inference.sampling.top_k) == (0.5, 3)
    assert told.inference.corrector_steps == 0


def test_only_a_model_with_a_dial_does_without_tokens() -> None:
    presets = Presets(Preset(), Preset(tokens=False))
    assert resolve(presets, Options(tokens=False), DIAL_LIKE).inference.tokens is False
    assert resolve(presets, Options(speed="fast"), DIAL_LIKE).inference.tokens is False
    assert resolve(presets, Options(speed="fast", tokens=True), NANO).inference.tokens is True
    with pytest.raises(RequestError, match="of tokens alone"):
        resolve(presets, Options(tokens=False), NANO)


def test_fidelity_of_the_options_reaches_the_result(nano: Path) -> None:
    import numpy as np
    from PIL import Image

    upscaler = Upscaler.from_pretrained(str(nano), device="cpu", dtype="fp32")
    image = Image.effect_noise((24, 24), 60).convert("RGB")
    low, high = (np.asarray(upscaler.upscale(image, 1, Options(fidelity=f, corrector=False))) for f in (0, 1))
    assert not np.array_equal(low, high)


@pytest.mark.parametrize("values", [{"keep_ratio": 2}, {"keep_ratio": 0}, {"guided_scales": 1}, {"cfg": -1}])
def test_impossible_options_raise_the_documented_error(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(RequestError, match=f"`{name}` cannot be"):
        Options(**values)


WITHOUT: list[Callable[[str], bool]] = [
    lambda key: key.startswith("encoder."),
    lambda key: key == "encoder.conv_in.weight",
]


@pytest.mark.parametrize("gone", WITHOUT)
def test_the_encoder_may_be_left_out_whole(checkpoint: Path, gone: Callable[[str], bool]) -> None:
    kept = {key: tensor for key, tensor in load_file(checkpoint).items() if not gone(key)}
    save_file(kept, checkpoint, {"format": "varsr-1", "config": NANO.to_json()})
    if gone is WITHOUT[0]:
        load_model(checkpoint, CPU, FLOAT32)
        with pytest.raises(WeightsError, match="no encoder"):
            load_encoder(checkpoint, CPU, FLOAT32)
    else:
        with pytest.raises(WeightsError, match="missing"):
            load_model(checkpoint, CPU, FLOAT32)
