"""The runs of the token stages and the decoder's weights as one checkpoint, its preset in a TOML file beside it.

    python -m training.export mini-5.safetensors --decoder training/decoder/decoder-2.safetensors \
        --tokenizer runs/tokenizer --transformer runs/transformer --gain 0.79

--gain is the share of the corrector's sample that is added.
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
from varsr.weights.checkpoint import check_keys, is_matrix, write_checkpoint


def main() -> None:
    """Write the EMA weights of all runs but the encoder, which only training needs, matrices in bfloat16."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("output", type=Path)
    parser.add_argument("--decoder", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--transformer", type=Path, required=True)
    parser.add_argument("--gain", type=float, default=1.0)
    options = parser.parse_args()

    transformer, gain = mean_of(options.transformer)
    decoder = {name: values.float() for name, values in load_file(options.decoder).items()}
    weights = {f"decoder.{name}": values for name, values in packaged(decoder).items()}
    weights |= {name: values for name, values in mean_of(options.tokenizer)[0].items() if not _is_encoder(name)}
    weights |= transformer
    tensors = {
        name: tensor.to(torch.bfloat16 if is_matrix(name, tensor) else torch.float32).contiguous()
        for name, tensor in weights.items()
    }
    check_keys({name: tuple(t.shape) for name, t in tensors.items()}, MINI, describe=str, source="the runs")
    write_checkpoint(options.output, tensors, MINI)
    preset = replace(PRESET, corrector_gain=round(options.gain * gain, 3))
    options.output.with_suffix(".toml").write_text(preset_text(preset))
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


def preset_text(preset: Preset) -> str:
    """A preset as the TOML file that belongs beside its checkpoint."""
    values = "\n".join(f"{name} = {json.dumps(value)}" for name, value in asdict(preset).items())
    return f"[presets.default]\n{values}\n"


def mean_of(run: Path) -> tuple[dict[str, Tensor], float]:
    """The EMA weights that a run has come to, and the corrector's gain where it measured one."""
    state = torch.load(run / "state.pt", weights_only=True, map_location="cpu")
    return state["trained"]["mean"], state.get("gain", 1.0)


def _is_encoder(name: str) -> bool:
    return name.startswith("encoder.")


if __name__ == "__main__":
    main()
