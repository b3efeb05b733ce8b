"""The design of mini and its preset, and new weights for it."""

from __future__ import annotations

import math

import torch
from torch import nn

from varsr.model.config import (
    CorrectorConfig,
    DialConfig,
    ModelConfig,
    PrefixConfig,
    TokenizerConfig,
    TransformerConfig,
)
from varsr.upscaling.preset import Preset

MINI = ModelConfig(
    tokenizer=TokenizerConfig(
        width=96,
        codes=1024,
        channels=32,
        multipliers=(1, 2),
        encoder_blocks=2,
        stem=8,
        attention=False,
        residual=True,
    ),
    prefix=PrefixConfig(widths=(96, 192), stem=8),
    transformer=TransformerConfig(depth=6, width=256, heads=4),
    corrector=CorrectorConfig(width=192, blocks=3),
    scales=(1, 2, 3, 4, 6, 8, 11, 16),
    dial=DialConfig(),
)
PRESET = Preset(
    realism=0.9,
    faithful_views=4,
    guidance_scale=0.0,
    guidance_scale_tiled=0.0,
    guided_scales=2,
    keep_ratio=0.3,
    fidelity=1.0,
    corrector_steps=0,
    corrector_gain=1.801,
    tile_overlap=0.0,
    decode_overlap=0.125,
    decode_window=2,
    color_fix="none",
)
"""Inference defaults."""


def initialize(module: nn.Module) -> None:
    """Fill new parameters: Kaiming for matrices, ones for norms, zeros for biases and residual branches' ends."""
    for name, parameter in module.named_parameters():
        values = torch.zeros(parameter.shape)
        if parameter.dim() >= 2:
            nn.init.normal_(values, std=1 / math.sqrt(math.prod(parameter.shape[1:])))
        elif name.endswith("weight"):
            values += 1
        with torch.no_grad():
            parameter.copy_(values)
