"""The photographs to train on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.golden import DATA
from training.decoder.data import (
    Compression,
    Described,
    Mixture,
    Photographs,
    Validation,
    enlarge,
    psnr_y,
    structure_loss,
)
from training.photographs import is_photographic, licence_of, split_of
from training.repositories import TABLE, Listed, collect, listed
from varsr.evaluation.degradation import Draws, reduce
from varsr.evaluation.metrics.fidelity import ssim

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one photograph."""
    with Image.open(DATA / "dandelion.jpg") as image:
        image.save(tmp_path / "a.png")
    return tmp_path


def test_pairs_are_aligned_and_the_same_for_the_same_seed(folder: Path) -> None:
    first, again, other = (Photographs([folder], 96, CPU, seed).pairs(4, 16) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    small, large = first
    assert (small.shape, large.shape) == ((4, 3, 16, 16), (4, 3, 64, 64))
    aligned = psnr_y(enlarge(small), large)
    moved = psnr_y(enlarge(small), large.roll(12, 3))
    assert (aligned > moved).float().mean() > 0.7


def test_clean_pairs_of_validation_are_close_to_their_photographs(folder: Path) -> None:
    validation = Validation([folder], CPU, count=4, side=16)
    gains = validation.gain(lambda enlarged: enlarged)
    assert gains == {"clean": 0.0, "degraded": 0.0, "compressed": 0.0}
    clean, degraded, compressed = (float(psnr_y(enlarge(s), x).mean()) for s, x in validation.pairs.values())
    assert clean > max(degraded, compressed)


def test_what_is_photographic() -> None:
    assert is_photographic(Image.open(DATA / "dandelion.jpg"))
    assert not is_photographic(Image.linear_gradient("L").convert("RGB"))
    assert not is_photographic(Image.new("RGB", (400, 400), "red"))


def test_splits_are_by_name_alone() -> None:
    names = [f"photo {i}" for i in range(1000)]
    counts = {split: sum(split_of(n) == split for n in names) for split in ("train", "validation", "test")}
    assert counts["train"] > 700
    assert min(counts.values()) > 60


def test_licences_are_those_of_the_last_stanza_that_names_the_file() -> None:
    text = "Format: x\n\nFiles: *\nLicense: GPL-2+\n\nFiles: 16.04/a.jpg\n 16.04/b.jpg\nLicense: CC0-1.0\n"
    assert licence_of(text, "usr/share/backgrounds/b.jpg") == "CC0-1.0"
    assert licence_of(text, "usr/share/backgrounds/c.jpg") == "GPL-2+"


def test_structure_loss_is_one_less_ssim(folder: Path) -> None:
    small, large = Photographs([folder], 96, CPU, seed=3).pairs(2, 16)
    losses = structure_loss(enlarge(small), large)
    images = [
        (a.permute(1, 2, 0).numpy(), b.permute(1, 2, 0).numpy()) for a, b in zip(enlarge(small), large, strict=True)
    ]
    assert losses.tolist() == pytest.approx([1 - ssim(a, b) for a, b in images], abs=1e-4)


def test_compression_grows_with_its_strength(folder: Path) -> None:
    small = Photographs([folder], 96, CPU, seed=3).crops(1, 32).repeat(64, 1, 1, 1)
    strength = torch.tensor([0.1, 0.9]).repeat(32)
    draws = Draws.seeded(0, CPU)
    changed = (Compression.by_strength(strength, draws).of(small, draws) - small).abs().mean((1, 2, 3))
    assert 2 * float(changed[::2].mean()) < float(changed[1::2].mean())


def test_listed_photographs_are_taken_out_of_a_repository(tmp_path: Path) -> None:
    origin = tmp_path / "host/owner/walls"
    (origin / "sky blue").mkdir(parents=True)
    Image.new("RGB", (5000, 2000), "blue").save(origin / "sky blue/day 1.jpg")
    (origin / "readme.txt").write_text("not listed")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "-m", "Add a photograph"]):
        subprocess.run(["git", *command], cwd=origin, check=True)
    rows = [Listed("owner/walls", "sky blue_day 1.jpg", "CC0"), Listed("owner/walls", "gone.jpg", "CC0")]
    with pytest.warns(UserWarning, match=r"owner/walls has no gone\.jpg any more"):
        found = list(collect("owner/walls", rows, tmp_path / "out", (tmp_path / "host").as_uri()))
    assert found == rows[:1]
    (file,) = (tmp_path / "out/train").iterdir()
    with Image.open(file) as image:
        assert (file.name, image.size) == ("owner-walls-sky-blue_day-1.png", (2048, 819))


def test_every_listed_photograph_has_a_licence() -> None:
    rows = listed(TABLE)
    assert len({(row.repository, row.file) for row in rows}) == len(rows) == 68
    assert all(row.licence and row.repository.count("/") == 1 for row in rows)


def test_estimates_err_on_images_that_are_described_alone() -> None:
    described = Described(torch.zeros(2, 3), torch.tensor([True, False]))
    assert float(described.error(torch.tensor([[1.0, 1, 1], [9, 9, 9]]))) == 1
    assert float(Described(torch.zeros(1, 3), torch.tensor([False])).error(torch.ones(1, 3))) == 0


def test_crops_are_mixed_as_asked_for(folder: Path) -> None:
    """Crops that are only reduced are those that bicubic interpolation makes of the large ones."""
    clean = Photographs([folder], 96, CPU, seed=3, mixture=Mixture(clean=1, compressed=0)).described_pairs(8, 16)
    compressed = Photographs([folder], 96, CPU, 3, Mixture(clean=0, compressed=1)).described_pairs(8, 16)
    degraded = Photographs([folder], 96, CPU, 3, Mixture(clean=0, compressed=0)).described_pairs(8, 16)
    assert torch.equal(clean[2].values, torch.zeros(8, 3))
    assert torch.equal(compressed[2].values[:, 0], torch.ones(8))
    assert not degraded[2].is_known.any()
    errors = [float((enlarge(small) - large).abs().mean()) for small, large, _ in (clean, compressed)]
    assert errors[0] < errors[1]


def test_crops_that_are_alike_are_of_one_kind(folder: Path) -> None:
    """Either all are only reduced or all are compressed."""
    photographs = Photographs([folder], 96, CPU, seed=3, mixture=Mixture(clean=0.5, compressed=0.5))
    kinds = set()
    for _ in range(12):
        small, large = photographs.alike_pairs(8, 16)
        reduced = reduce(large, (16, 16))[..., 2:-2, 2:-2]  # but for borders, as these saw more of the photograph
        kinds.add(tuple(bool(near) for near in ((small[..., 2:-2, 2:-2] - reduced).abs() < 0.01).flatten(1).all(1)))
    assert kinds == {(True,) * 8, (False,) * 8}


def test_the_blocks_of_jpeg_begin_anywhere() -> None:
    """The largest steps between columns are those between blocks."""
    ramp = torch.linspace(0.2, 0.8, 64).expand(1, 3, 64, 64)
    draws, places = Draws.seeded(0, CPU), set()
    for _ in range(40):
        compressed = Compression(torch.zeros(1), torch.full((1,), 5.0)).of(ramp, draws)[0, 0]
        steps = (compressed[:, 1:] - compressed[:, :-1]).mean(0)
        places.add(int(torch.stack([steps[place::8].mean() for place in range(8)]).argmax()))
    assert len(places) > 4
