"""Loading: exact, refusing what does not fit, and in little memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import CPU, FLOAT32
from tests.nano import LARGE, NANO, write_nano
from varsr.errors import WeightsError
from varsr.model.config import ModelConfig
from varsr.runtime.device import Precision
from varsr.weights.checkpoint import load_encoder, load_model, read_config


def rewrite(path: Path, *, config: ModelConfig = NANO, changes: dict[str, torch.Tensor | None] | None = None) -> None:
    tensors = {key: tensor for key, tensor in (load_file(path) | (changes or {})).items() if tensor is not None}
    save_file(tensors, path, {"format": "varsr-1", "config": config.to_json()})


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "copy.safetensors"
    write_nano(path)
    return path


def test_every_tensor_arrives(nano: Path) -> None:
    stored = load_file(nano)
    for part, prefix in ((load_model(nano, CPU, FLOAT32), ""), (load_encoder(nano, CPU, FLOAT32), "encoder.")):
        for key, tensor in part.state_dict().items():
            assert torch.equal(tensor, stored[prefix + key])
            assert not tensor.is_meta


@pytest.mark.parametrize(("config", "held"), [(LARGE, torch.bfloat16), (NANO, torch.float32)])
def test_types_asked_for(tmp_path: Path, config: ModelConfig, held: torch.dtype) -> None:
    """Matrices that would have to be widened at each use are held narrow only where that saves much memory."""
    write_nano(tmp_path / "model.safetensors", config)
    model = load_model(tmp_path / "model.safetensors", CPU, Precision(torch.bfloat16, torch.float32))
    assert model.transformer.head.weight.dtype == held
    assert model.transformer.head.bias.dtype == torch.float32
    assert model.quantizer.codebook.dtype == torch.float32


def test_a_missing_tensor_is_named(copy: Path) -> None:
    rewrite(copy, changes={"transformer.head.bias": None})
    with pytest.raises(WeightsError, match=r"transformer\.head\.bias is missing"):
        load_model(copy, CPU, FLOAT32)


def test_an_unknown_tensor_is_named(copy: Path) -> None:
    rewrite(copy, changes={"novelty": torch.zeros(1)})
    with pytest.raises(WeightsError, match="novelty is unknown"):
        load_model(copy, CPU, FLOAT32)


def test_a_wrong_shape_is_named(copy: Path) -> None:
    rewrite(copy, config=replace(NANO, transformer=replace(NANO.transformer, depth=2, width=64)))
    with pytest.raises(WeightsError, match="has shape"):
        load_model(copy, CPU, FLOAT32)


def test_tensors_without_a_configuration_are_refused(copy: Path) -> None:
    save_file(load_file(copy), copy)
    with pytest.raises(WeightsError, match="no VARSR model"):
        read_config(copy)


@pytest.mark.parametrize("content", [b"", b"\x08" + b"\0" * 7, b"not tensors" * 100])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad\.safetensors"):
        read_config(tmp_path / "bad.safetensors")


def test_a_truncated_file_is_refused(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"copy\.safetensors"):
        load_model(copy, CPU, FLOAT32)


MEASURE = """
import pathlib, sys, torch
from varsr.runtime.device import Precision
from varsr.weights.checkpoint import load_model
def held(field):
    return int(next(l for l in open("/proc/self/status") if l.startswith(field)).split()[1]) * 1024
path = pathlib.Path(sys.argv[1])
stored, computed = (getattr(torch, name) for name in sys.argv[2:])
torch.ones(10**6).sum()  # starts the threads
open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
before = held("VmHWM")
model = load_model(path, torch.device("cpu"), Precision(stored, computed))
for parameter in model.parameters():
    parameter.sum()
size = sum(p.numel() * p.element_size() for p in model.parameters())
print((held("VmHWM") - before) / size)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure memory")
@pytest.mark.parametrize("types", [("float32", "float32"), ("bfloat16", "float32"), ("bfloat16", "bfloat16")])
def test_loading_takes_little_more_memory_than_the_model(tmp_path: Path, types: tuple[str, str]) -> None:
    path = tmp_path / "large.safetensors"
    write_nano(path, replace(NANO, transformer=replace(NANO.transformer, width=1024, heads=16, depth=8)))
    measured = subprocess.run([sys.executable, "-c", MEASURE, path, *types], capture_output=True, text=True, check=True)
    assert 0.9 < float(measured.stdout) < 1.2
