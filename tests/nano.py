"""A model of the family that is as small as its design allows, with seeded random weights."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from varsr.model.config import (
    CorrectorConfig,
    DialConfig,
    ModelConfig,
    PrefixConfig,
    TokenizerConfig,
    TransformerConfig,
)
from varsr.weights.checkpoint import expected_shapes, write_checkpoint

NANO = ModelConfig(
    tokenizer=TokenizerConfig(
        width=32, codes=16, channels=8, multipliers=(1, 1, 1, 1), encoder_blocks=1, decoder_blocks=1
    ),
    prefix=PrefixConfig((8, 8, 8, 8)),
    transformer=TransformerConfig(depth=2, width=32, heads=2),
    corrector=CorrectorConfig(width=32, blocks=1, frequencies=32),
    scales=(1, 2, 4),
)
MINI_LIKE = replace(
    NANO,
    tokenizer=replace(NANO.tokenizer, stem=4, multipliers=(1, 1), attention=False, residual=True, input_path=True),
    prefix=PrefixConfig((8, 8), stem=4),
)
DIAL = DialConfig(width=16, blocks=3, half=8, full=8, join=1, rank=4)
DIAL_LIKE = replace(MINI_LIKE, dial=DIAL)
LARGE = replace(NANO, transformer=replace(NANO.transformer, width=544, depth=1))  # just so large that it is not small


def write_nano(path: Path, config: ModelConfig = NANO, seed: int = 0) -> None:
    """Write such a model."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, shape in expected_shapes(config).items():
        values = torch.randn(shape, generator=generator)
        if key.endswith("query_scale"):
            values = 10 + values
        elif len(shape) >= 2 and key.endswith("weight"):
            values /= math.sqrt(math.prod(shape[1:]))
        elif key.endswith("weight"):
            values = 1 + 0.1 * values
        elif len(shape) == 1:
            values *= 0.1
        tensors[key] = values
    write_checkpoint(path, tensors, config)


def write_identity(path: Path) -> None:
    """Write a model that adds nothing to the enlarged input: what a file loses on its way is then not the model's."""
    write_nano(path, MINI_LIKE)
    tensors = dict(load_file(path))
    for key in tensors:
        if key.startswith(("decoder.conv_out", "decoder.input_path.restored")):
            tensors[key] = torch.zeros_like(tensors[key])
    write_checkpoint(path, tensors, MINI_LIKE)


def write_preset(path: Path, preset: str = "default", **values: Any) -> None:
    """Write a preset as the text beside a checkpoint."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    path.write_text("\n".join([f"[presets.{preset}]", *lines, ""]))
