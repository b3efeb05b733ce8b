"""Batches on a GPU: recorded and replayed, they are what they are when computed plainly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from tests.conftest import FLOAT32
from tests.golden import DATA, GoldenNoise
from varsr.model.inference import InferenceConfig
from varsr.model.sampling import ARGMAX, Noise, Sampling, TileNoise
from varsr.runtime import cuda_graphs
from varsr.runtime.cuda_graphs import GraphCache, StaticNoise
from varsr.runtime.device import pick_precision
from varsr.runtime.engine import Engine
from varsr.upscaling.preset import Preset
from varsr.weights.checkpoint import load_model

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")


def drawing(_: Tensor, noise: Noise) -> Iterator[Tensor]:
    """Work in two stages, the second of which draws twice."""
    yield noise.uniform(3)
    yield noise.normal(2, 2) + noise.normal(1, 2)


def test_draws_are_those_of_the_tiles_batch_after_batch() -> None:
    draws = StaticNoise(TileNoise(0, [0, 1]), torch.device("cpu"))
    first = [result.clone() for result in drawing(torch.empty(0), draws)]
    assert all(map(torch.equal, first, drawing(torch.empty(0), TileNoise(0, [0, 1]))))
    other = TileNoise(5, [7, 8])
    draws.renew(other, 0, 1)
    draws.renew(other, 1, 3)
    draws.rewind()
    second = [result.clone() for result in drawing(torch.empty(0), draws)]
    assert all(map(torch.equal, second, drawing(torch.empty(0), TileNoise(5, [7, 8]))))
    assert not torch.equal(first[0], second[0])


def test_work_too_large_to_record_is_done_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def record(*_: object) -> None:
        tries.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(cuda_graphs, "CapturedGraph", record)
    recorded, tiles = GraphCache(), torch.zeros(2, 3, 8, 8)
    for batch in range(4):
        found = recorded.run("key", drawing, 2, tiles, TileNoise(batch, [0, 1]))
        assert all(map(torch.equal, list(found), drawing(tiles, TileNoise(batch, [0, 1]))))
    assert len(tries) == 1


@needs_cuda
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("speed", ["default", "fast"])
@pytest.mark.parametrize("sampling", [ARGMAX, Sampling(8, 0.9)], ids=["argmax", "drawn"])
def test_replayed_batches_equal_plain_ones(tiny: Path, dtype: str, speed: str, sampling: Sampling) -> None:
    precision = pick_precision(dtype, CUDA)  # type: ignore[arg-type]
    engine = Engine(load_model(tiny, CUDA, precision), CUDA, precision)
    preset = Preset().faster() if speed == "fast" else Preset()
    inference = replace(preset.inference(), guidance_scale=2.0, sampling=sampling, fidelity=0.5)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for batch in range(4):
            side = engine.model.config.tile_side
            tiles = (torch.rand(2, 3, side, side, generator=generator) * 2 - 1).to(CUDA, precision.compute)
            places = [2 * batch, 2 * batch + 1]
            *_, found = engine.generate(tiles, TileNoise(3, places), inference)
            found = found.clone()
            *_, plain = engine.model.generate(engine.model.conditions_of_tiles(tiles), inference, TileNoise(3, places))
            assert torch.equal(found, plain), f"batch {batch}: {(found - plain).abs().max()}"


@needs_cuda
def test_golden_tokens_on_a_gpu(tiny: Path) -> None:
    golden = load_file(DATA / "tiny.safetensors")
    tiles = F.interpolate(golden["input_lowres"], size=(512, 512), mode="bilinear").clamp(-1, 1).to(CUDA)
    model, noise = load_model(tiny, CUDA, FLOAT32), GoldenNoise(2)
    Engine(model, CUDA, FLOAT32)  # chooses float32 for the convolutions too
    with torch.inference_mode():
        predictions = list(model.predict(model.conditions_of_tiles(tiles), InferenceConfig(), noise))
        latent = model.correct(predictions[-1], InferenceConfig(), noise)
        pixels = ((model.decoder(latent, tiles) + 1) * 127.5).round()
    for scale, prediction in enumerate(predictions):
        assert torch.equal(prediction.tokens.cpu(), golden[f"tokens_{scale}"].long()), scale
    assert float((latent.cpu() - golden["f_hat"]).abs().max()) < 5e-3
    assert float((pixels.cpu() - golden["image_u8"].float()).abs().max()) <= 2
