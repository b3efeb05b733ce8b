"""Our checkpoint: one safetensors file whose metadata holds the configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from varsr.errors import OutputError, WeightsError, describe
from varsr.model.config import ModelConfig
from varsr.model.tokenizer import Encoder
from varsr.model.varsr import VARSR
from varsr.runtime.device import Precision
from varsr.runtime.engine import is_small
from varsr.runtime.int8 import round_to_int8
from varsr.storage.local import replacing
from varsr.weights import legacy

FORMAT = "varsr-1"
Shapes = Mapping[str, tuple[int, ...]]
M = TypeVar("M", bound=nn.Module)
_TABLES = ("quantizer.",)  # always float32


def is_matrix(key: str, tensor: Tensor) -> bool:
    """True for a tensor that is held in the narrow type: the big ones, except the quantizer's."""
    return tensor.dim() >= 2 and key.endswith(".weight") and not key.startswith(_TABLES)


def write_checkpoint(path: Path, tensors: dict[str, Tensor], config: ModelConfig) -> None:
    """Write a checkpoint, whole or not at all. Raises `OutputError` where it cannot be written."""
    metadata = {"format": FORMAT, "config": config.to_json()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"{path} could not be written ({describe(error)}).", "Free some space or choose another place."
        ) from error


@dataclass(frozen=True)
class _Header:
    config: ModelConfig
    shapes: Shapes
    legacy_preset: Mapping[str, Any]


def read_config(path: Path) -> ModelConfig:
    """The configuration of a checkpoint. Raises `WeightsError` where `path` is not one."""
    return _read_header(path).config


def read_shapes(path: Path) -> Shapes:
    """The shape of every tensor of a checkpoint. Raises `WeightsError` where `path` is not one."""
    return _read_header(path).shapes


def read_legacy_preset(path: Path) -> Mapping[str, Any]:
    """The inference defaults that an older checkpoint carries; empty for others. Raises as `read_config` does."""
    return _read_header(path).legacy_preset


def _read_header(path: Path) -> _Header:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118, a file is not a mapping
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist.", "Check the path of the model.") from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path} is not a readable safetensors file ({describe(error)}).", "Download or convert it again."
        ) from error
    if metadata.get("format") != FORMAT or "config" not in metadata:
        raise WeightsError(
            f"{path} holds tensors but no VARSR model.", "Convert the published files with: varsr models convert"
        )
    try:
        architecture, preset = legacy.split(json.loads(metadata["config"]))
        return _Header(ModelConfig.from_data(architecture), shapes, preset)
    except (ValueError, TypeError) as error:  # ConfigError among them
        raise WeightsError(
            f"{path} cannot be used: {error}.", "It may be newer than this varsr; update, or convert it again."
        ) from error


def expected_shapes(config: ModelConfig, encoder: bool = True) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a checkpoint of this configuration, with or without the encoder."""
    with torch.device("meta"):
        parts = nn.ModuleDict({"encoder": Encoder(config.tokenizer)}).state_dict() if encoder else {}
        parts |= VARSR(config).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in parts.items()}


def _has_encoder(shapes: Shapes) -> bool:
    return any(key.startswith("encoder.") for key in shapes)


def check_keys(found: Shapes, config: ModelConfig, describe: Callable[[str], str], source: str) -> None:
    """Raise `WeightsError`, naming the first tensor by `describe`, unless keys and shapes are as they must be.

    The encoder, which only training uses, may be left out, but not a part of it.
    """
    expected = expected_shapes(config, encoder=_has_encoder(found))
    for problem, keys in (
        ("is missing", expected.keys() - found.keys()),
        ("is unknown", found.keys() - expected.keys()),
    ):
        if keys:
            raise _unfit(source, f"the tensor {describe(min(keys))} {problem}")
    for key, shape in expected.items():
        if found[key] != shape:
            raise _unfit(source, f"the tensor {describe(key)} has shape {found[key]} where {shape} is needed")


def _unfit(source: str, problem: str) -> WeightsError:
    return WeightsError(
        f"{source} does not hold the model it claims to: {problem}.", "Download or convert it again, whole."
    )


def load_model(path: Path, device: torch.device, precision: Precision) -> VARSR:
    """All of a checkpoint that upscaling needs, on `device`. Raises `WeightsError` where it cannot be."""
    header = _read_header(path)
    config = header.config
    check_keys(header.shapes, config, describe=str, source=str(path))
    if is_small(config):  # to widen its matrices at each use would take longer than the memory saved is worth
        precision = replace(precision, weights=precision.compute)
    with torch.device("meta"):
        model = VARSR(config)
    filled = _fill(model, path, "", device, precision)
    if precision.int8:
        round_to_int8(filled)
    return filled


def load_encoder(path: Path, device: torch.device, precision: Precision) -> Encoder:
    """The tokenizer's encoder of a checkpoint, on `device`. Raises `WeightsError` where it cannot be."""
    header = _read_header(path)
    check_keys(header.shapes, header.config, describe=str, source=str(path))
    if not _has_encoder(header.shapes):
        raise WeightsError(f"{path} has no encoder.", "Only training needs one; use the checkpoint that it wrote.")
    with torch.device("meta"):
        encoder = Encoder(header.config.tokenizer)
    return _fill(encoder, path, "encoder.", device, precision)


def _fill(module: M, path: Path, prefix: str, device: torch.device, precision: Precision) -> M:
    """Give a module made on the meta device its tensors, one by one, straight from the mapped file."""
    state = {key: _read(path, prefix + key, device, precision) for key in module.state_dict()}
    module.requires_grad_(False)
    module.load_state_dict(state, assign=True)
    for name, buffer in list(module.named_buffers()):
        owner, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(owner), leaf, buffer.to(device))
    return module.eval()


def _read(path: Path, key: str, device: torch.device, precision: Precision) -> Tensor:
    # The file is opened for each tensor so that pages read only to be converted are given back at once;
    # a tensor that needs no conversion keeps its mapping and costs no memory of its own.
    with safe_open(path, framework="pt") as file:
        tensor: Tensor = file.get_tensor(key)
    if key.startswith(_TABLES):
        return tensor.to(device, torch.float32)
    return tensor.to(device, precision.weights if is_matrix(key, tensor) else precision.compute)
