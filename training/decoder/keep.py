"""The EMA weights of a decoder's run as a file, in bfloat16.

python -m training.decoder.keep runs/dial decoder.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    state = torch.load(options.run / "state.pt", weights_only=True, map_location="cpu")
    ema = state.get("dial", state)["training"]["ema"]
    save_file({name: values.bfloat16().contiguous() for name, values in ema.items()}, options.output)


if __name__ == "__main__":
    main()
