"""varsr evaluate, as a process."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Run
from tests.evaluation.pairs import photograph

NAMES = ("a", "b <i>", "c")


def save(image: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image * 255).round().clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """References of 96 x 128 px and inputs of a quarter of the side."""
    whole = photograph((300, 300))
    for number, name in enumerate(NAMES):
        reference = save(whole[number * 50 :][:96, :128], tmp_path / "data" / "HR" / f"{name}.png")
        small = tmp_path / "data" / "LR" / f"{name}_x4.png"
        small.parent.mkdir(exist_ok=True)
        with Image.open(reference) as image:
            image.resize((32, 24), Image.Resampling.BICUBIC).save(small)
    return tmp_path / "data"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def psnr_by_hand(result: np.ndarray, reference: np.ndarray) -> float:
    """The definition, independently of the package."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    error = ((result.astype(float) - reference.astype(float)) @ weights) ** 2
    return float(10 * np.log10(255**2 / error.mean()))


def test_models_and_methods_side_by_side(varsr: Run, dataset: Path, nano: Path) -> None:
    result = varsr("evaluate", "--reference", dataset, "-m", nano, "--method", "bicubic", "--measures", "psnr,ssim",
                   "--json", "--save", dataset / "kept", "-q")  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    found = lines(result.stdout)
    images = [line for line in found if "image" in line]
    assert [(line["method"], line["image"]) for line in images] == [
        (method, name) for method in ("bicubic", "nano") for name in NAMES
    ]
    for line in images:
        kept, reference = (
            np.asarray(Image.open(path))
            for path in (
                dataset / "kept" / line["method"] / f"{line['image']}.png",
                dataset / "HR" / f"{line['image']}.png",
            )
        )
        assert line["psnr"] == pytest.approx(psnr_by_hand(kept, reference), abs=1e-6)
        assert (line["channels"], line["crop_border"], line["seed"]) == ("y", 0, 0)
    means = {line["method"]: line for line in found if "images" in line}
    for method in ("bicubic", "nano"):
        values = [line["psnr"] for line in images if line["method"] == method]
        assert means[method]["psnr"]["mean"] == pytest.approx(np.mean(values))
        assert means[method]["psnr"]["interval"] == pytest.approx(1.96 * np.std(values, ddof=1) / math.sqrt(3))


def test_a_folder_of_results_in_three_conventions(varsr: Run, dataset: Path) -> None:
    for number, name in enumerate(NAMES):
        noisy = np.asarray(Image.open(dataset / "HR" / f"{name}.png")) / 255 + 0.01 * (number + 1)
        save(noisy, dataset / "results" / f"{name}_x4.png")
    found = {}
    for channels in ("y", "y-full", "rgb"):
        result = varsr("evaluate", dataset / "results", "--reference", dataset / "HR", "--channels", channels,
                       "--measures", "psnr", "--crop-border", "4", "--json")  # fmt: skip
        assert result.returncode == 0, result.stderr
        found[channels] = lines(result.stdout)[-1]["psnr"]["mean"]
    assert found["y"] > found["y-full"]
    assert found["rgb"] == pytest.approx(found["y-full"], abs=0.5)  # a shift that is equal in all channels


def test_every_file_that_cannot_be_measured_is_named(varsr: Run, dataset: Path) -> None:
    results = dataset / "results"
    save(photograph((96, 128)), results / "a.png")
    save(photograph((90, 128)), results / "b <i>.png")
    (results / "c.png").write_bytes(b"no image")
    save(photograph((96, 128)), results / "stranger.png")
    result = varsr("evaluate", results, "--reference", dataset / "HR", "--measures", "psnr", "--json", "-q")
    assert result.returncode == 1
    assert "b <i>: It has 128 x 90 pixels, its reference 128 x 96." in result.stderr
    assert "c: " in result.stderr
    assert "could not be read" in result.stderr or "c.png" in result.stderr
    assert "stranger.png is left out" in result.stderr
    assert "Traceback" not in result.stderr
    assert [line["image"] for line in lines(result.stdout) if "image" in line] == ["a"]


@pytest.mark.parametrize("kind", ["bicubic", "realesrgan", "noise-jpeg"])
def test_inputs_are_made_of_the_references(varsr: Run, dataset: Path, kind: str) -> None:
    made = []
    for run in ("first", "second"):
        result = varsr("evaluate", "--reference", dataset / "HR", "--degrade", kind, "--seed", "5", "-q", "--json",
                       "--method", "lanczos", "--measures", "ssim", "--save", dataset / run)  # fmt: skip
        assert (result.returncode, result.stderr) == (0, "")
        made.append([(dataset / run / "inputs" / f"{name}.png").read_bytes() for name in NAMES])
    assert made[0] == made[1]


def test_tables_for_people_and_papers(varsr: Run, dataset: Path) -> None:
    arguments = ("evaluate", "--reference", dataset, "--method", "bicubic", "--method", "lanczos")
    result = varsr(*arguments, "--measures", "psnr,niqe", "--csv", dataset / "all.csv")
    assert result.returncode == 0, result.stderr
    assert "PSNR ↑" in result.stdout
    assert "±" in result.stdout
    assert "channels: y" in result.stderr
    rows = list(csv.reader((dataset / "all.csv").read_text().splitlines()))
    assert rows[0] == ["method", "image", "psnr", "niqe"]
    assert [row[:2] for row in rows[1:]] == [[method, name] for method in ("bicubic", "lanczos") for name in NAMES]
    result = varsr(*arguments, "--measures", "psnr", "--markdown", "-q")
    head, rule, *body = result.stdout.splitlines()
    assert (head, rule) == ("| method | PSNR ↑ |", "| --- | ---: |")
    assert sum("**" in row for row in body) == 1


def test_the_dial_in_several_positions(varsr: Run, dataset: Path, nano: Path) -> None:
    result = varsr("evaluate", "--reference", dataset, "-m", nano, "--realism", "0", "--realism", "1", "--measures",
                   "psnr", "--json", "-q")  # fmt: skip
    assert result.returncode == 0, result.stderr
    methods = [line["method"] for line in lines(result.stdout) if "images" in line]
    assert methods == ["nano, realism 0", "nano, realism 1"]


STAND_IN = """
import torch
def create_metric(name, device=None):
    def metric(*given):
        if name == "fid":
            return 12.5
        assert all(isinstance(x, torch.Tensor) and x.dim() == 4 for x in given)
        assert len(given) == (1 if name == "musiq" else 2)
        return torch.tensor([float(given[0].mean())])
    return metric
"""


FAILS_ONCE = """
from itertools import count
def create_metric(name, device=None):
    calls = count()
    def metric(image):
        if next(calls) == 0:
            raise ValueError("too small for this network")
        return 50.0
    return metric
"""


def test_measures_by_networks_come_from_pyiqa(varsr: Run, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "stand-in").mkdir()
    (tmp_path / "stand-in" / "pyiqa.py").write_text(STAND_IN)
    arguments = ("evaluate", "--reference", dataset, "--method", "bicubic", "--measures", "lpips,musiq,fid,psnr")
    result = varsr(*arguments, "--json", "-q", PYTHONPATH=str(tmp_path / "stand-in"))
    assert (result.returncode, result.stderr) == (0, "")
    *images, summary = lines(result.stdout)
    assert all(0 < line["lpips"] == line["musiq"] < 1 for line in images)
    assert summary["fid"]["mean"] == 12.5
    result = varsr(*arguments)
    assert result.returncode == 2
    assert "need the package pyiqa" in result.stderr
    assert "noncommercial" in result.stderr


def test_an_image_that_a_network_cannot_measure_is_named(varsr: Run, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "stand-in").mkdir()
    (tmp_path / "stand-in" / "pyiqa.py").write_text(FAILS_ONCE)
    result = varsr("evaluate", "--reference", dataset, "--method", "bicubic", "--measures", "psnr,musiq", "--json",
                   "-q", PYTHONPATH=str(tmp_path / "stand-in"))  # fmt: skip
    assert result.returncode == 1
    assert "too small for this network" in result.stderr
    assert "Traceback" not in result.stderr
    *images, summary = lines(result.stdout)
    assert [line["image"] for line in images if line.get("musiq") == 50] == list(NAMES[1:])
    assert summary["musiq"]["mean"] == 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--measures", "beauty"], "is not a measure"),
        (["--method", "magic"], "is not a method"),
        (["--degrade", "bicubic", "--input", "LR"], "Choose one of --input and --degrade"),
        (["--json", "--markdown"], "Choose one of --json and --markdown"),
        (["--niqe-model", "missing.npz"], "is not a model for NIQE"),
        (["HR", "--degrade", "bicubic"], "Nothing is to be upscaled"),
        (["--method", "bicubic", "--method", "bicubic"], "Two methods are called bicubic"),
    ],
)
def test_wrong_requests(varsr: Run, dataset: Path, arguments: list[str], message: str) -> None:
    result = varsr("evaluate", "--reference", dataset / "HR", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
