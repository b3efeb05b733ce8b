"""Peak memory and time of a very large result, by a model or by a stand-in for it with everything else real.

    python -m benchmarks.huge --side 30000 --format tif
    python -m benchmarks.huge --side 8000 --model mini

The stand-in adds nothing: its result is the bicubic enlargement.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training.design import MINI, PRESET
from varsr.jobs.outcome import Policy
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.jobs.run import Run
from varsr.model.inference import DecodeConfig
from varsr.model.varsr import VARSR
from varsr.runtime.device import Precision
from varsr.runtime.engine import Engine
from varsr.upscaling.preset import Presets
from varsr.upscaling.upscaler import Upscaler

FLOAT32 = Precision(torch.float32, torch.float32)


class StandIn:
    """Has the shapes of the built-in model and computes nothing."""

    config = MINI

    def generate(self, tiles: Tensor, *_: object) -> Iterator[Tensor]:
        """Empty latents, for each scale and for the corrector."""
        side = self.config.latent_side
        for _scale in (*self.config.scales, "corrector"):
            yield torch.zeros(len(tiles), self.config.tokenizer.channels, side, side)

    def decode(self, _: Tensor, upsampled: Tensor, __: DecodeConfig) -> Tensor:
        """The input."""
        return upsampled


def main() -> None:
    """Enlarge an image to the given side and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--side", type=int, default=30_000)
    parser.add_argument("--format", choices=("tif", "png", "jpg"), default="tif")
    parser.add_argument("--model", help="a model in place of the stand-in")
    options = parser.parse_args()
    if options.model:
        upscaler = Upscaler.from_pretrained(options.model, device="cpu")
    else:
        engine = Engine(cast("VARSR", StandIn()), torch.device("cpu"), Precision(torch.float32, torch.float32))
        upscaler = Upscaler(engine, Presets(PRESET, PRESET))

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.png", Path(folder) / f"out.{options.format}"
        side = options.side // 4
        gradient = np.add.outer(np.arange(side), np.arange(side)) // 16 % 256
        Image.fromarray(np.stack([gradient, gradient.T, 255 - gradient], -1).astype(np.uint8)).save(source)
        del gradient
        started = time.monotonic()
        settings = JobSettings(policy=Policy(max_pixels=10**10))
        (outcome,) = Run(upscaler, [Job(source, target)], settings)
        seconds = time.monotonic() - started
        assert outcome.status == "done", outcome.error
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{options.side} x {options.side}: {seconds:.0f} s, peak resident memory {memory:.2f} GiB,", end=" ")
        print(f"file {target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
