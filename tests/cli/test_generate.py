"""varsr generate, as a process, with a class-to-image model of 10 classes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import Run
from tests.golden import write_pickles
from varsr import GenerationOptions, Generator, Upscaler, Wish, generate
from varsr.errors import RequestError
from varsr.weights.convert import convert

DESCRIPTION = 0x010E


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, converted in float32."""
    folder = tmp_path_factory.mktemp("classes")
    convert(*write_pickles("c2i", folder), folder / "classes.safetensors", torch.float32)
    return folder / "classes.safetensors"


def test_images_of_classes_and_how_they_came_about(varsr: Run, classes: Path, tmp_path: Path) -> None:
    result = varsr("generate", "-m", classes, "--class", "3", "--class", "7", "-n", "2", "--seed", "5", "-d", "out",
                   "--cfg", "2", "--json", "-q", "--dtype", "fp32")  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["class"], one["seed"], one["status"]) for one in found] == [
        (3, 5, "done"), (3, 6, "done"), (7, 5, "done"), (7, 6, "done"),
    ]  # fmt: skip
    for one in found:
        assert one["output"] == f"out/class-{one['class']}-seed-{one['seed']}.png"
        with Image.open(tmp_path / one["output"]) as image:
            assert image.size == (512, 512)
            assert json.loads(image.getexif()[DESCRIPTION]) == one["options"]
    assert found[0]["options"] == {
        "model": str(classes), "class": 3, "seed": 5, "cfg": 2.0, "top_k": 20, "top_p": 0.75, "temperature": 1.0,
        "corrector": True,
    }  # fmt: skip
    images = [np.asarray(Image.open(tmp_path / one["output"])) for one in found]
    assert all((a != b).any() for i, a in enumerate(images) for b in images[:i])


def test_seeds_count_up_whatever_the_batch(varsr: Run, classes: Path, tmp_path: Path) -> None:
    """Five images at once are those that their seeds give one by one."""
    assert varsr("generate", "-m", classes, "--class", "1", "-n", "5", "--seed", "8", "-d", "all", "--batch-size",
                 "4", "--dtype", "fp32").returncode == 0  # fmt: skip
    for seed in (8, 11, 12):
        single = varsr("generate", "-m", classes, "--class", "1", "--seed", str(seed), "-o", f"{seed}.png",
                       "--batch-size", "4", "--dtype", "fp32")  # fmt: skip
        assert single.stdout == f"{seed}.png\n"
        one, among = (Image.open(tmp_path / name) for name in (f"{seed}.png", f"all/class-1-seed-{seed}.png"))
        assert np.array_equal(np.asarray(one), np.asarray(among))


def test_what_exists_is_left_skipped_or_replaced(varsr: Run, classes: Path, tmp_path: Path) -> None:
    (tmp_path / "class-2-seed-0.png").write_bytes(b"mine")
    arguments = ("generate", "-m", classes, "--class", "2", "-n", "2")
    result = varsr(*arguments)
    assert result.returncode == 1
    assert result.stdout == "class-2-seed-1.png\n"
    assert "exists already" in result.stderr
    assert (tmp_path / "class-2-seed-0.png").read_bytes() == b"mine"
    skipped = varsr(*arguments, "--skip-existing", "--json", "-q")
    assert [json.loads(line)["status"] for line in skipped.stdout.splitlines()] == ["skipped", "skipped"]
    assert skipped.returncode == 0
    assert varsr(*arguments, "--overwrite").returncode == 0
    with Image.open(tmp_path / "class-2-seed-0.png") as image:
        assert image.size == (512, 512)


def test_a_dry_run_lists_names_and_loads_nothing(varsr: Run, tmp_path: Path) -> None:
    result = varsr("generate", "--class", "9", "-n", "2", "--name", "{seed}-{class}", "-f", "webp", "--dry-run")
    assert (result.returncode, result.stdout) == (0, "0-9.webp\n1-9.webp\n")
    script = "import sys; from varsr.cli.app import app\ntry: app(sys.argv[1:])\nfinally: print('torch' in sys.modules)"
    command = [sys.executable, "-c", script, "generate", "--class", "9", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "class-9-seed-0.png\nFalse\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--class", "10"], 2, "has no class 10. Use 0 to 9."),
        (["--class", "-1"], 2, "--class"),
        ([], 2, "--class"),
        (["--class", "1", "-n", "2", "-o", "one.png"], 2, "several images"),
        (["--class", "1", "-n", "2", "--name", "same"], 2, "Several images would be called same.png"),
        (["--class", "1", "-o", "one.xyz"], 2, "no suffix of an output format"),
        (["--class", "1", "-o", "missing/one.png", "-d", "out"], 2, "-o names a file"),
    ],
)
def test_wrong_requests(varsr: Run, classes: Path, arguments: list[str], code: int, message: str) -> None:
    result = varsr("generate", "-m", classes, *arguments)
    assert result.returncode == code, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_model_of_the_other_kind_names_the_right_command(varsr: Run, classes: Path, nano: Path, photo: Path) -> None:
    upscaling = varsr("generate", "-m", nano, "--class", "1")
    assert upscaling.returncode == 2
    assert "Use: varsr upscale" in upscaling.stderr
    making = varsr("upscale", photo, "-m", classes)
    assert making.returncode == 2
    assert "Use: varsr generate" in making.stderr
    named = varsr("upscale", photo, "-m", "varsr-c2i")
    assert (named.returncode, named.stderr) == (
        2, "varsr: varsr-c2i makes images of classes and upscales none. Use: varsr generate\n"
    )  # before a download is tried, which would end with another code  # fmt: skip


def test_information_and_benchmark(varsr: Run, classes: Path) -> None:
    details = json.loads(varsr("models", "info", classes).stdout)
    assert details["config"]["classes"] == 10
    assert "varsr-c2i" in varsr("models").stdout
    bench = varsr("bench", "-m", classes, "--batch", "1", "--runs", "1", "--json", "-q")
    assert bench.returncode == 0, bench.stderr
    report = json.loads(bench.stdout)
    assert report["images_per_hour"] > 0
    assert "scale 32 x 32" in report["batches"][0]["seconds"]


def test_from_python(classes: Path) -> None:
    first, second = generate(4, 2, seed=1, model=str(classes))
    assert first.size == second.size == (512, 512)
    generator = Generator.from_pretrained(str(classes))
    assert generator.classes == 10
    (again,) = generator.generate([Wish(4, 2)])
    assert np.array_equal(np.asarray(again.image()), np.asarray(second))
    (argmax,) = generator.generate([Wish(4, 2)], GenerationOptions(top_k=1, corrector=False))
    assert not np.array_equal(argmax.color, again.color)
    with pytest.raises(RequestError, match="no class 10"):
        list(generator.generate([Wish(10)]))
    with pytest.raises(RequestError, match="makes images of classes"):
        Upscaler.from_pretrained(str(classes))
