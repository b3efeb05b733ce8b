"""Runs as one checkpoint, or a checkpoint and the run that finished it.

python -m training.export MODEL.safetensors --tokenizer RUN --transformer RUN
python -m training.export MODEL.safetensors --start MODEL.safetensors --finetune RUN

The default strength of guidance is chosen by the curves of training.report, and given here with --guidance; so is how
much of the corrector's sample is added, with --gain. Both stand in MODEL.toml, beside the checkpoint.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.design import PRESET
from varsr.model.config import ModelConfig
from varsr.upscaling.preset import Preset
from varsr.weights.checkpoint import check_keys, is_matrix, write_checkpoint


def main() -> None:
    """Write the EMA weights of all runs, matrices in bfloat16."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("output", type=Path)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--transformer", type=Path)
    parser.add_argument("--finetune", type=Path)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--gain", type=float, default=1.0)
    options = parser.parse_args()
    if not (options.tokenizer or options.transformer or options.finetune):
        parser.error("name at least one run: --tokenizer, --transformer or --finetune")

    runs = [run for run in (options.tokenizer, options.transformer, options.finetune) if run]
    weights = load_file(options.start) if options.start else {}
    for run in runs:
        weights |= mean_of(run)
    state = torch.load(runs[-1] / "state.pt", weights_only=True, map_location="cpu")
    config = ModelConfig.from_json(state["config"])
    preset = replace(PRESET, corrector_gain=round(options.gain * state["gain"], 3))
    if options.guidance is not None:
        preset = replace(preset, guidance_scale=options.guidance, guidance_scale_tiled=options.guidance)
    tensors = {
        name: tensor.to(torch.bfloat16 if is_matrix(name, tensor) else torch.float32).contiguous()
        for name, tensor in weights.items()
    }
    check_keys({name: tuple(t.shape) for name, t in tensors.items()}, config, describe=str, source="the runs")
    write_checkpoint(options.output, tensors, config)
    options.output.with_suffix(".toml").write_text(preset_text(preset))
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


def preset_text(preset: Preset) -> str:
    """A preset as the TOML file that belongs beside its checkpoint."""
    values = "\n".join(f"{name} = {json.dumps(value)}" for name, value in asdict(preset).items())
    return f"[presets.default]\n{values}\n"


def mean_of(run: Path) -> dict[str, Tensor]:
    """The EMA weights that a run has come to."""
    mean: dict[str, Tensor] = torch.load(run / "state.pt", weights_only=True, map_location="cpu")["trained"]["mean"]
    return mean


if __name__ == "__main__":
    main()
