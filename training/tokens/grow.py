"""The token path of a model for tiles of 128 px at twice the tile's side, exactly: it sees means of 2 x 2 pixels.

    python -m training.tokens.grow mini-4.safetensors decoder.safetensors grown.safetensors

Prefix encoder and tokenizer fold squares of pixels into channels. With squares of twice the side, and each weight
repeated for 2 x 2 pixels and divided by 4, they compute on an image what they computed on the image at half its size.
So a transformer that has learned on small tiles goes on with large ones, at a quarter of the cost for the same area.
The decoder's path of the latent is new, and its gate is closed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from einops import rearrange, repeat
from safetensors.torch import load_file
from torch import Tensor

from training.design import MINI, initialize
from training.tokens.batches import load_decoder
from training.tokens.tokenizer import packaged
from varsr.model.config import ModelConfig
from varsr.model.dial_decoder import DialDecoder
from varsr.weights.checkpoint import read_config, write_checkpoint


def main() -> None:
    """Write the grown model, with the encoder that the next stage needs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path, help="checkpoint with an encoder")
    parser.add_argument("decoder", type=Path, help="weights of the second stage")
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    config = grown_config(read_config(options.model))
    tensors = {name: values for name, values in load_file(options.model).items() if not name.startswith("decoder.")}
    for name in ("encoder.conv_in.weight", "prefix.conv_in.weight"):
        tensors[name] = grown(tensors[name].float()).to(tensors[name].dtype)
    assert config.dial is not None
    decoder = DialDecoder(config.dial, config.tokenizer)
    initialize(decoder)
    with torch.no_grad():
        decoder.latent.gate.zero_()
    restoring = load_decoder(options.decoder, torch.device("cpu"))
    decoder.load_state_dict(packaged(restoring.state_dict()), strict=False)
    tensors |= {f"decoder.{name}": values.detach().contiguous() for name, values in decoder.state_dict().items()}
    write_checkpoint(options.output, tensors, config)


def grown_config(config: ModelConfig) -> ModelConfig:
    """The architecture of a grown model, with the decoder of today's design."""
    assert config.prefix is not None
    tokenizer = replace(config.tokenizer, stem=2 * config.tokenizer.stem, input_path=False, input_blocks=1)
    prefix = replace(config.prefix, stem=2 * config.prefix.stem)
    return replace(config, tokenizer=tokenizer, prefix=prefix, dial=MINI.dial)


def grown(weight: Tensor) -> Tensor:
    """Weights (O, 3 s s, 3, 3) of a convolution behind squares of side s for those of side 2 s: (O, 12 s s, 3, 3)."""
    stem = round((weight.shape[1] / 3) ** 0.5)
    squares = rearrange(weight / 4, "o (c i j) h w -> o c i j h w", i=stem, j=stem)
    return repeat(squares, "o c i j h w -> o (c i y j x) h w", y=2, x=2)


if __name__ == "__main__":
    main()
