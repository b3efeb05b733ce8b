"""The stages that train the decoder: what they see, and that they go on where they stopped."""

from __future__ import annotations

import io
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.golden import DATA
from training.decoder import dial, faithful
from training.decoder.degradation import degrade, gaussian_kernels, jpeg, sinc_kernels
from training.decoder.dial import texture_loss
from training.decoder.discriminator import Discriminator, hinge_loss
from training.decoder.features import Features
from training.decoder.network import Decoder, DecoderConfig
from training.decoder.pages import draw_page
from training.decoder.teacher import Teacher

SMALL = DecoderConfig(width=8, blocks=2, half=4, full=4)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
    random.seed(0)


@pytest.fixture
def photograph() -> torch.Tensor:
    """(1, 3, 160, 160)."""
    with Image.open(DATA / "dandelion.jpg") as image:
        pixels = np.asarray(image.crop((0, 0, 160, 160)), np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


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


def test_clean_inputs_are_reduced_by_bicubic_alone(photograph: torch.Tensor) -> None:
    pair = photograph.repeat(2, 1, 1, 1)
    small = degrade(pair, 40, torch.ones(2), torch.tensor([True, False]))
    reference = torch.nn.functional.interpolate(pair[:1], (40, 40), mode="bicubic", antialias=True).clamp(0, 1)
    assert (small[:1] - reference).abs().max() <= 0.51 / 255
    assert (small[1] - reference[0]).abs().mean() > 1 / 255


@pytest.mark.parametrize("quality", [30, 50, 75])
def test_compression_is_that_of_jpeg(photograph: torch.Tensor, quality: int) -> None:
    """Two encoders round differently; what they lose is the same."""
    image = Image.fromarray((photograph[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=2)
    reference = torch.from_numpy(np.asarray(Image.open(buffer), np.float32) / 255).permute(2, 0, 1)
    many = jpeg(photograph.repeat(8, 1, 1, 1), torch.full((8,), float(quality)))  # some with halved chroma
    nearest = (many - reference).abs().mean((1, 2, 3)).min()
    assert nearest < 0.5 * (photograph[0] - reference).abs().mean()


def test_kernels_keep_the_brightness() -> None:
    for kernels in (gaussian_kernels(15, torch.tensor([0.3, 3.0])), sinc_kernels(11, 2, torch.device("cpu"))):
        torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(2))


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


def test_both_stages_train_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is run twice with a growing budget: the second run has the first one's steps."""
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    with Image.open(DATA / "dandelion.jpg") as image:
        image.resize((256, 256)).save(photographs / "a.png")
    save_file(Features().convs.state_dict(), tmp_path / "vgg16.safetensors")
    monkeypatch.setattr(dial, "DecoderConfig", lambda: SMALL)
    monkeypatch.setattr(faithful, "DecoderConfig", lambda: SMALL)
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
        "--faithful-share", "1", "--realistic-share", "4", "--discriminator-from-share", "0",
    )  # fmt: skip
    first = train(dial, "dial", *more)
    assert train(dial, "dial", *more) > first > 0


def test_a_stipple_where_the_target_is_flat_costs_most() -> None:
    target = torch.full((1, 3, 48, 48), 0.5)
    rough = target + 0.1 * torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    stipple = torch.zeros(1, 3, 48, 48)
    stipple[..., ::3, ::3] = 0.06
    on_flat, on_rough = texture_loss(target + stipple, target), texture_loss(rough + stipple, rough)
    assert float(texture_loss(rough, rough)) == 0
    assert float(on_flat) > 5 * float(on_rough) > 0
    assert float(texture_loss(target, rough)) > 1  # too smooth is as wrong as too rough
