"""The stages that train the decoder: what they see, and that they go on where they stopped."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.conftest import CPU, FLOAT32
from tests.golden import DATA
from tests.nano import DIAL, DIAL_LIKE, MINI_LIKE, write_nano
from training import export
from training.decoder import adapt, dial, estimator, faithful, keep, refine
from training.decoder.dial import lattice_loss
from training.decoder.discriminator import Discriminator, hinge_loss
from training.decoder.features import Features, texture_loss
from training.decoder.network import Decoder, DecoderConfig
from training.decoder.pages import draw_page
from training.decoder.stage import Training
from training.decoder.teacher import Teacher
from training.tokens import batches, grow, join, tokenizer, transformer
from varsr import Upscaler
from varsr.model.config import PrefixConfig
from varsr.model.inference import DecodeConfig
from varsr.weights.checkpoint import is_matrix, load_encoder, load_model

SMALL = DecoderConfig(width=16, blocks=3, half=8, full=8, rank=4)
TOKENS = replace(
    DIAL_LIKE,
    tokenizer=replace(DIAL_LIKE.tokenizer, stem=8),
    prefix=PrefixConfig((8,), stem=16),
    dial=DIAL,
)


def test_the_dial_moves_the_result_and_zero_leaves_it() -> None:
    decoder = Decoder(SMALL)
    for block in decoder.blocks:
        torch.nn.init.ones_(block.dial)  # type: ignore[arg-type]
    enlarged = torch.rand(2, 3, 32, 32)
    zero, one = (decoder(enlarged, torch.full((2, 1, 1, 1), value)) for value in (0.0, 1.0))
    assert zero.shape == enlarged.shape
    assert (zero - one).abs().max() > 1e-5
    mixed = decoder(enlarged, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
    torch.testing.assert_close(mixed, torch.stack((zero[0], one[1])))


def test_the_discriminator_learns_to_tell_images_apart() -> None:
    discriminator = Discriminator(width=4)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
    enlarged = torch.rand(4, 3, 32, 32)
    first = hinge_loss(discriminator, enlarged, enlarged * 0.5, enlarged).item()
    for _ in range(30):
        loss = hinge_loss(discriminator, enlarged, enlarged * 0.5, enlarged)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.7 * first


def test_pages_hold_text_in_two_colours() -> None:
    fonts = sorted(Path("/usr/share/fonts").rglob("DejaVuSans.ttf"))
    if not fonts:
        pytest.skip("needs the font DejaVu Sans")
    page = np.asarray(draw_page(random.Random(0), fonts))
    assert page.std() > 20


def test_all_stages_train_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is run twice with a growing budget: the second run has the first one's steps."""
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    with Image.open(DATA / "dandelion.jpg") as image:
        image.resize((256, 256)).save(photographs / "a.png")
    save_file(Features().convs.state_dict(), tmp_path / "vgg16.safetensors")
    for module in (faithful, dial, estimator, refine, adapt):
        monkeypatch.setattr(module, "DecoderConfig", lambda: SMALL)
    monkeypatch.setattr(Teacher, "from_ncnn", lambda _: Teacher(groups=1).requires_grad_(False))
    given = [str(photographs), "--validation", str(photographs), "--side", "16"]

    def train(stage: object, run: str, *more: str) -> int:
        """Steps made by then; the budget is a little more than what an earlier run has spent."""
        log = tmp_path / run / "log.jsonl"
        spent = json.loads(log.read_text().splitlines()[-1])["minutes"] if log.exists() else 0
        arguments = [*given, "--run", str(tmp_path / run), "--minutes", str(spent + 0.06), *more]
        monkeypatch.setattr(sys, "argv", ["stage", *arguments])
        stage.main()  # type: ignore[attr-defined]
        last = json.loads(log.read_text().splitlines()[-1])
        assert all(np.isfinite(value) for value in last.values())
        return int(last["step"])

    first = train(faithful, "faithful", "--batch", "2")
    assert train(faithful, "faithful", "--batch", "2") > first > 0
    more = (
        "--start", str(tmp_path / "faithful" / "state.pt"), "--teacher", "none",
        "--features", str(tmp_path / "vgg16.safetensors"), "--pool", "4", "--window-share", "32",
        "--faithful-share", "1", "--realistic-share", "4",
    )  # fmt: skip
    first = train(dial, "dial", *more)
    assert train(dial, "dial", *more) > first > 0
    kept = tmp_path / "kept.safetensors"
    monkeypatch.setattr(sys, "argv", ["keep", str(tmp_path / "dial"), str(kept)])
    keep.main()
    save_file(without_estimates(load_file(kept)), kept.with_name("old.safetensors"))
    first = train(estimator, "estimator", "--batch", "2")
    assert train(estimator, "estimator", "--batch", "2") > first > 0
    assert train(estimator, "trained-on", "--batch", "2", "--start", str(kept)) > 0
    begun = ("--start", str(kept), "--estimator", str(tmp_path / "estimator"), "--faithful", "2", "--held", "2")
    with pytest.raises(SystemExit):
        train(refine, "refine", "--start", str(kept.with_name("old.safetensors")))
    first = train(refine, "refine", *begun)
    assert train(refine, "refine", *begun) > first > 0
    first = train(adapt, "adapt", "--start", str(kept), "--batch", "2")
    assert train(adapt, "adapt", "--start", str(kept), "--batch", "2") > first > 0

    def learned(run: str) -> set[str]:
        """The tensors that a run has changed."""
        after = torch.load(tmp_path / run / "state.pt", weights_only=True)["training"]["ema"]
        return {name for name, before in load_file(kept).items() if not torch.equal(after[name], before.float())}

    experts = {name for name in learned("refine") if not name.startswith("estimator")}
    assert {name.split(".")[2] for name in experts} == {"condition", "conv1", "conv2"}
    assert all(name.endswith(("condition", "expert.weight")) for name in experts)
    adapted = {name.split(".")[0] for name in learned("adapt")}
    assert adapted == {"blocks", "conv_in", "conv_mid", "up1", "up2", "conv_out"}
    assert all(".adapter." in name for name in learned("adapt"))


def test_an_image_that_is_not_degraded_is_left_to_the_common_weights() -> None:
    """The share of an image decides by how much the experts change what is made of it."""
    decoder, enlarged = Decoder(SMALL), torch.rand(1, 3, 32, 32)
    for block in decoder.blocks:
        torch.nn.init.normal_(block.conv1.expert.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    common = refine.without_adaptation(decoder)

    def change(estimate: float) -> float:
        for network in (decoder, common):
            torch.nn.init.zeros_(network.estimator.out.weight)
            torch.nn.init.constant_(network.estimator.out.bias, estimate)
        with torch.no_grad():
            zero = torch.zeros(1, 1, 1, 1)
            return float((decoder(enlarged, zero) - common(enlarged, zero)).abs().max())

    assert change(estimate=1) > 10 * change(estimate=0) > 0


def test_images_that_are_degraded_alike_share_their_weights() -> None:
    """Equal images come out as they do one by one; of others, the mean of the shares counts."""
    decoder, zeros = Decoder(SMALL), torch.zeros(2, 1, 1, 1)
    for block in decoder.blocks:
        torch.nn.init.normal_(block.conv1.expert.weight)  # type: ignore[union-attr, arg-type]
        torch.nn.init.normal_(block.condition, std=0.1)  # type: ignore[arg-type]
    torch.nn.init.normal_(decoder.estimator.out.weight)
    torch.nn.init.zeros_(decoder.router.bias)
    image, other = torch.rand(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        for pair, is_alike in ((torch.cat((image, image)), True), (torch.cat((image, other)), False)):
            shared = decoder.restore(pair, zeros, decoder.adapted_alike(pair, realism=0))
            assert torch.allclose(shared, decoder(pair, zeros), atol=1e-5) == is_alike


def test_a_decoder_without_an_estimator_is_taken_over() -> None:
    """With one whose biases are zero it computes what it did."""
    before, training = Decoder(SMALL), Training(SMALL, CPU, decay=0.9)
    training.start_from(without_estimates(before.state_dict()))
    enlarged, realism = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 1, 1)
    torch.testing.assert_close(training.decoder(enlarged, realism), before(enlarged, realism))
    with pytest.raises(RuntimeError, match="Unexpected key"):
        training.start_from({"stray": torch.zeros(1)})


def test_a_decoder_is_grown_into_a_model_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a model the decoder computes what it did, one without an estimator too."""
    before, later, pixels = Decoder(SMALL), Decoder(SMALL), torch.rand(1, 3, 64, 64)
    small, decoder = tmp_path / "small.safetensors", tmp_path / "decoder.safetensors"
    write_nano(small, MINI_LIKE)
    save_file(without_estimates(before.state_dict()), decoder)
    monkeypatch.setattr(batches, "DecoderConfig", lambda: SMALL)
    for module in (grow, export):
        monkeypatch.setattr(module, "MINI", TOKENS)
    grown, exported = tmp_path / "grown.safetensors", tmp_path / "exported.safetensors"
    monkeypatch.setattr(sys, "argv", ["grow", str(small), str(decoder), str(grown)])
    grow.main()
    save_file(later.state_dict(), decoder)
    monkeypatch.setattr(sys, "argv", ["export", str(exported), "--start", str(grown), "--decoder", str(decoder)])
    export.main()
    with torch.inference_mode():
        for model, network, tolerance in ((grown, before, 1e-5), (exported, later, 1e-2)):  # exported: in bfloat16
            expected = network(pixels, torch.zeros(1, 1, 1, 1)).clamp(0, 1)
            found = load_model(model, CPU, FLOAT32).decode(
                torch.zeros(1, 8, 4, 4), pixels * 2 - 1, DecodeConfig(realism=0)
            )
            torch.testing.assert_close((found + 1) / 2, expected, atol=tolerance, rtol=tolerance)


def without_estimates(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    new = ("condition", "estimator", "router", "expert", "adapter")
    return {name: values for name, values in weights.items() if not any(part in name for part in new)}


def test_textures_are_told_apart_wherever_their_grains_lie() -> None:
    """A stipple where the target is flat costs most; grain of the same kind costs little."""
    features = Features()
    for parameter in features.convs.parameters():
        torch.nn.init.kaiming_normal_(parameter) if parameter.dim() > 1 else torch.nn.init.zeros_(parameter)
    flat = torch.full((1, 3, 64, 64), 0.5)
    grain, other_grain = (flat + 0.1 * torch.randn(1, 3, 64, 64) for _ in range(2))
    stipple = flat.clone()
    stipple[..., ::4, ::4] += 0.2

    def loss(result: torch.Tensor, target: torch.Tensor) -> float:
        with torch.no_grad():
            maps = [[x * 1000 for x in features(image)] for image in (result, target)]
            return float(texture_loss(*maps))

    assert loss(grain, grain) == 0
    assert loss(other_grain, grain) < 0.8 * loss(stipple, grain)
    assert loss(stipple, flat) > 3


def test_patterns_on_the_grid_are_told_from_grain() -> None:
    flat = torch.full((2, 3, 64, 64), 0.5)
    grain = flat + 0.05 * torch.randn(2, 3, 64, 64)
    pattern = flat.clone()
    pattern[..., 1::4, 2::4] += 0.05
    assert lattice_loss(pattern, flat).min() > 1.5 * lattice_loss(grain, flat).max()
    assert lattice_loss(flat, flat).max() < 1e-3
    assert lattice_loss(flat + 0.1, flat).max() < 1e-3


def test_the_token_stages_train_go_on_and_are_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is run twice; the checkpoint of the last is a model that upscales."""
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    with Image.open(DATA / "dandelion.jpg") as image:
        image.resize((256, 256)).save(photographs / "a.png")
    save_file(Decoder(SMALL).state_dict(), tmp_path / "decoder.safetensors")
    start = tmp_path / "start.safetensors"
    write_nano(start, TOKENS)
    for module in (tokenizer, transformer, join):
        monkeypatch.setattr(module, "MINI", TOKENS)
    monkeypatch.setattr(batches, "DecoderConfig", lambda: SMALL)
    monkeypatch.setattr(tokenizer, "WARMUP", 1)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    given = (str(photographs), "--validation", str(photographs), "--batch", "2")
    decoder = ("--decoder", str(tmp_path / "decoder.safetensors"))

    def steps(stage: ModuleType, run: str, *more: str) -> int:
        log = tmp_path / run / "log.jsonl"
        spent = json.loads(log.read_text().splitlines()[-1])["minutes"] if log.exists() else 0
        arguments = [*given, *decoder, "--run", str(tmp_path / run), "--minutes", str(spent + 0.06), *more]
        monkeypatch.setattr(sys, "argv", ["stage", *arguments])
        stage.main()
        last = json.loads(log.read_text().splitlines()[-1])
        assert all(np.isfinite(value) for value in last.values())
        return int(last["step"])

    for stage, run, more in (
        (tokenizer, "tokenizer", ()),
        (transformer, "transformer", ("--tokenizer", str(tmp_path / "tokenizer"))),
        (join, "join", ("--model", str(start))),
    ):
        first = steps(stage, run, *more)
        assert steps(stage, run, *more) > first > 0
    output = tmp_path / "mini.safetensors"
    monkeypatch.setattr(sys, "argv", ["export", str(output), "--start", str(start), "--run", str(tmp_path / "join")])
    export.main()
    weights, before = load_file(output), load_file(start)
    assert not [name for name in weights if name.startswith("encoder.")]
    changed = {name for name in weights if (weights[name].float() - before[name].float()).abs().max() > 0.02}
    assert changed <= {name for name in weights if name.startswith("decoder.latent.")} | {
        name
        for name in weights
        if is_matrix(name, weights[name])  # rounded to bfloat16
    }
    assert "decoder.latent.gate" in changed
    with Image.open(DATA / "dandelion.jpg") as image:
        result = Upscaler.from_checkpoint(output, device="cpu").upscale(image.resize((24, 20)), 2)
    assert result.size == (48, 40)


def test_a_grown_model_sees_means_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On tiles of twice the side its prefix is what the small model's is on the reduced tiles."""
    small, grown_path = tmp_path / "small.safetensors", tmp_path / "grown.safetensors"
    write_nano(small, MINI_LIKE)
    save_file(Decoder(SMALL).state_dict(), tmp_path / "decoder.safetensors")
    monkeypatch.setattr(grow, "MINI", replace(TOKENS))
    monkeypatch.setattr(batches, "DecoderConfig", lambda: SMALL)
    arguments = [str(path) for path in (small, tmp_path / "decoder.safetensors", grown_path)]
    monkeypatch.setattr(sys, "argv", ["grow", *arguments])
    grow.main()
    before, after = (load_model(path, CPU, FLOAT32) for path in (small, grown_path))
    assert after.config.tile_side == 2 * before.config.tile_side
    tiles = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        expected = before.conditions_of_tiles(torch.nn.functional.avg_pool2d(tiles, 2)).prefix
        torch.testing.assert_close(after.conditions_of_tiles(tiles).prefix, expected, atol=1e-5, rtol=1e-4)
        encoders = (load_encoder(path, CPU, FLOAT32) for path in (small, grown_path))
        first, second = next(encoders)(torch.nn.functional.avg_pool2d(tiles, 2)), next(encoders)(tiles)
    torch.testing.assert_close(second, first, atol=1e-4, rtol=1e-3)
