"""Published pickles to our checkpoint: nothing lost, nothing run, everything wrong named."""

from __future__ import annotations

import json
import math
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.golden import shapes
from tests.golden import state as official_state
from varsr.errors import WeightsError
from varsr.model.config import CLASS_SCALES, OFFICIAL_SCALES, ModelConfig
from varsr.weights.checkpoint import check_keys, read_config, read_shapes
from varsr.weights.convert import UNUSED, convert, convert_state, infer_config, matches_any, official_names, rename

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def tiny_state() -> State:
    return {**dict(official_state("tiny", "vqvae")), **dict(official_state("tiny", "varsr"))}


def converted_shapes(state: State, config: ModelConfig) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in convert_state(state, config)}


def check(state: State) -> None:
    config = infer_config(state)
    check_keys(converted_shapes(state, config), config, lambda key: " and ".join(official_names(key)), "it")


def test_the_published_model_converts_without_a_key_left_over_or_missing() -> None:
    """On the meta device: all shapes, no memory."""
    state = {
        key: torch.empty(shape, device="meta")
        for part in shapes("official").values()
        for key, shape in part.items()
        if not matches_any(key, UNUSED)
    }
    config = infer_config(state)
    assert (config.transformer.depth, config.transformer.width, config.transformer.heads) == (24, 1536, 24)
    assert (config.tokenizer.width, config.tokenizer.codes, config.scales) == (160, 4096, OFFICIAL_SCALES)
    assert config.prefix is not None
    assert config.prefix.widths == (32, 128, 256, 512, 1536)
    assert (config.corrector.width, config.corrector.blocks, config.tile_side) == (1024, 6, 512)
    found = converted_shapes(state, config)
    check_keys(found, config, str, "it")
    folded = sum(
        math.prod(shape) for key, shape in shapes("official")["varsr"].items() if "ada_lin" in key and "weight" in key
    )
    total = sum(math.prod(shape) for part in shapes("official").values() for shape in part.values())
    assert sum(map(math.prod, found.values())) < total - folded + 1_000_000


def test_every_official_tensor_is_renamed_folded_or_unused() -> None:
    for part in shapes("official").values():
        for key in part:
            name = rename(key)
            assert name is None or official_names(name) == (key,)


@pytest.mark.parametrize(
    "key", ["encoder.mid.block_1.conv2.bias", "blocks.1.attn.mat_qkv.weight", "blocks.0.ada_lin.1.bias", "pos_start"]
)
def test_a_missing_tensor_is_named(tiny_state: State, key: str) -> None:
    with pytest.raises(WeightsError, match=key):
        check({name: tensor for name, tensor in tiny_state.items() if name != key})


def test_an_unknown_tensor_is_named(tiny_state: State) -> None:
    with pytest.raises(WeightsError, match=r"blocks\.0\.novelty\.weight is unknown"):
        check({**tiny_state, "blocks.0.novelty.weight": torch.zeros(1)})


def test_a_wrong_shape_is_named(tiny_state: State) -> None:
    with pytest.raises(WeightsError, match=r"blocks\.1\.ffn\.fc1\.bias has shape \(3,\) where \(512,\)"):
        check({**tiny_state, "blocks.1.ffn.fc1.bias": torch.zeros(3)})


def test_unknown_scales_are_not_guessed(tiny_state: State) -> None:
    with pytest.raises(WeightsError, match="9 scales"):
        infer_config({**tiny_state, "lvl_embed.weight": torch.zeros(9, 128)})


def test_bf16_halves_the_file(tiny_pickles: tuple[Path, Path], tiny: Path, tmp_path: Path) -> None:
    convert(*tiny_pickles, tmp_path / "narrow.safetensors", torch.bfloat16)
    assert (tmp_path / "narrow.safetensors").stat().st_size < 0.6 * tiny.stat().st_size
    assert read_config(tmp_path / "narrow.safetensors") == read_config(tiny)
    assert read_shapes(tmp_path / "narrow.safetensors") == read_shapes(tiny)


def test_a_bare_state_dict_converts_too(tmp_path: Path) -> None:
    for name, part in (("a.pth", "vqvae"), ("b.pth", "varsr")):
        torch.save(dict(official_state("tiny", part)), tmp_path / name)  # type: ignore[arg-type]
    assert convert(tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "c.safetensors", torch.float32)


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


def test_a_pickle_that_would_run_something_is_refused_and_does_not(
    tiny_pickles: tuple[Path, Path], tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    torch.save({"trainer": Malicious(victim)}, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        convert(tmp_path / "bad.pth", tiny_pickles[1], tmp_path / "out.safetensors", torch.float32)
    assert not victim.exists()
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", pickle.dumps({"a": 1})])
def test_what_is_no_checkpoint_is_refused(tiny_pickles: tuple[Path, Path], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad\.pth"):
        convert(tmp_path / "bad.pth", tiny_pickles[1], tmp_path / "out.safetensors", torch.float32)


def test_a_truncated_pickle_is_refused(tiny_pickles: tuple[Path, Path], tmp_path: Path) -> None:
    data = tiny_pickles[0].read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: len(data) // 2])
    assert not zipfile.is_zipfile(tmp_path / "cut.pth")
    with pytest.raises(WeightsError, match=r"cut\.pth"):
        convert(tmp_path / "cut.pth", tiny_pickles[1], tmp_path / "out.safetensors", torch.float32)


def test_swapped_files_are_refused(tiny_pickles: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="vae_local"):
        convert(tiny_pickles[1], tiny_pickles[0], tmp_path / "out.safetensors", torch.float32)


def test_the_configuration_travels_in_the_file(tiny: Path) -> None:
    config = read_config(tiny)
    assert json.loads(config.to_json())["transformer"]["width"] == 128


def test_the_published_class_to_image_model_converts_without_a_key_left_over_or_missing() -> None:
    """Its shapes are those of the super-resolution model without a prefix, with more classes and levels."""
    official = {key: shape for part in shapes("official").values() for key, shape in part.items()}
    official = {key: shape for key, shape in official.items() if not key.startswith("con_embedding.")}
    official |= {"class_emb.weight": [3831, 1536], "lvl_embed.weight": [12, 1536], "pos_start": [1, 1, 1536]}
    state = {key: torch.empty(shape, device="meta") for key, shape in official.items() if not matches_any(key, UNUSED)}
    config = infer_config(state)
    assert (config.classes, config.prefix, config.scales) == (3830, None, CLASS_SCALES)
    assert (config.tile_side, config.prefix_length, config.labels) == (512, 1, 3831)
    check_keys(converted_shapes(state, config), config, str, "it")
    for key in state:
        name = rename(key, has_classes=True)
        assert name is None or official_names(name) == (key,)
