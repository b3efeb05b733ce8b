"""Training computes what inference does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import CPU, FLOAT32
from tests.nano import NANO, write_nano
from training.progress import Trained
from training.tokens import teacher_forcing
from training.tokens.diffusion import corrector_loss
from training.tokens.teacher_forcing import forward_all_scales, prepare
from training.tokens.tokenizer import shorten
from varsr.model import varsr as model_module
from varsr.model.inference import InferenceConfig
from varsr.model.sampling import TileNoise
from varsr.weights.checkpoint import load_model


def test_teacher_forcing_predicts_what_inference_does(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(nano, CPU, FLOAT32)
    tiles = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.inference_mode():
        targets = prepare(model.quantizer, torch.randn(2, 8, 4, 4), error=0)
        labels, conditions = torch.zeros(2, dtype=torch.long), model.conditions_of_tiles(tiles)
        logits, hidden = forward_all_scales(
            model.transformer, model.quantizer, conditions.prefix, targets, labels, teacher_forcing.step
        )
        given = iter(targets.targets)
        monkeypatch.setattr(model_module, "choose", lambda *_: next(given))
        found = list(model.predict(conditions, InferenceConfig(guidance_scale=0), TileNoise(0, [0, 1])))
    assert torch.allclose(torch.cat([p.logits for p in found], dim=1), logits, atol=1e-4)
    assert torch.allclose(found[-1].hidden[0], hidden[:, -16:], atol=1e-4)


def test_a_lesson_without_errors_is_the_quantizers_own_coding(nano: Path) -> None:
    quantizer = load_model(nano, CPU, FLOAT32).quantizer
    latent = torch.randn(3, 8, 4, 4)
    targets = prepare(quantizer, latent, error=0)
    tokens, total = quantizer.encode(latent)
    assert all(torch.equal(a, b) for a, b in zip(targets.targets, tokens, strict=True))
    assert torch.equal(targets.totals[-1], total)


def test_errors_are_made_and_mended(nano: Path) -> None:
    quantizer = load_model(nano, CPU, FLOAT32).quantizer
    targets = prepare(quantizer, torch.randn(8, 8, 4, 4), error=2.0)
    assert not torch.equal(targets.taken, targets.targets[-1])


def test_the_corrector_learns_a_constant_residual(tmp_path: Path) -> None:
    write_nano(tmp_path / "nano.safetensors", NANO)
    corrector = load_model(tmp_path / "nano.safetensors", CPU, FLOAT32).corrector.requires_grad_(True)
    trained = Trained(corrector, weight_decay=0)
    z, residual = torch.randn(4, 16, 32), torch.full((4, 16, 8), 0.3)
    losses = []
    for _ in range(300):
        loss = corrector_loss(corrector, z, residual, steps=10, gain=0.6)
        loss.backward()
        trained.step(3e-3)
        losses.append(float(loss.detach()))
    assert sum(losses[-30:]) < 0.5 * sum(losses[:30])
    with torch.no_grad():
        noise = TileNoise(0, range(4))
        sampled = corrector.sample(z[None], 0.0, lambda _: noise.normal(16, 8), steps=10, gain=0.6)
    assert abs(float(sampled.mean()) - 0.3) < 0.1


def test_masters_go_on_from_a_saved_state() -> None:
    layer = torch.nn.Linear(4, 4).to(torch.bfloat16)
    trained = Trained(layer, weight_decay=0.01)
    for _ in range(3):
        layer(torch.ones(2, 4, dtype=torch.bfloat16)).float().square().mean().backward()
        trained.step(1e-2)
    again = Trained(torch.nn.Linear(4, 4).to(torch.bfloat16), weight_decay=0.01)
    again.load(trained.state())
    for name, master in trained.float32_weights.items():
        assert torch.equal(master, again.float32_weights[name])
        assert torch.equal(again.weights[name], master.to(torch.bfloat16))


def test_shortened_latents_are_some_scales_sum() -> None:
    totals = [torch.full((200, 1, 1, 1), float(k)) for k in (1, 2, 3)]
    values = shorten(totals).flatten().tolist()
    assert set(values) == {0.0, 1.0, 2.0, 3.0}
    assert values.count(3.0) > 120
