"""A model and the runs that trained parts of it as one checkpoint, its preset in a TOML file beside it.

python -m training.export mini.safetensors --start grown.safetensors --run runs/join
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.design import MINI, PRESET
from training.tokens.tokenizer import packaged
from varsr.upscaling.preset import Preset
from varsr.weights.checkpoint import check_keys, is_matrix, read_config, write_checkpoint


def main() -> None:
    """Write the decoder and the EMA weights of all runs over those of the start, without the encoder, in bfloat16."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("output", type=Path)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--decoder", type=Path, help="made by training.decoder.keep; the latent's path stays")
    parser.add_argument("--run", type=Path, action="append", default=[], dest="runs")
    options = parser.parse_args()

    config, weights = read_config(options.start), load_file(options.start)
    if options.decoder:
        decoder = packaged(load_file(options.decoder))
        weights = {name: values for name, values in weights.items() if not is_replaced(name)}
        weights |= {f"decoder.{name}": values for name, values in decoder.items()}
        config = replace(config, dial=MINI.dial)
    for run in options.runs:
        weights |= ema_of(run)
    tensors = {
        name: tensor.to(torch.bfloat16 if is_matrix(name, tensor) else torch.float32).contiguous()
        for name, tensor in weights.items()
        if not name.startswith("encoder.")
    }
    check_keys({name: tuple(t.shape) for name, t in tensors.items()}, config, describe=str, source="the runs")
    write_checkpoint(options.output, tensors, config)
    options.output.with_suffix(".toml").write_text(preset_text(PRESET))
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


def is_replaced(name: str) -> bool:
    """True for a tensor of the decoder but for its latent's path, which is trained with the tokens."""
    return name.startswith("decoder.") and not name.startswith("decoder.latent.")


def preset_text(preset: Preset) -> str:
    """A preset as the TOML file that belongs beside its checkpoint."""
    values = "\n".join(f"{name} = {json.dumps(value)}" for name, value in asdict(preset).items())
    return f"[presets.default]\n{values}\n"


def ema_of(run: Path) -> dict[str, Tensor]:
    """The EMA weights that a run has come to."""
    state = torch.load(run / "state.pt", weights_only=True, map_location="cpu")
    ema: dict[str, Tensor] = state["trained"]["ema"]
    return ema


if __name__ == "__main__":
    main()
