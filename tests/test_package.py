"""The wheel holds all that is used."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", folder, ROOT],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return next(folder.glob("varsr-*.whl"))


def test_the_wheel_holds_the_list_of_models_and_the_types(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "varsr/weights.toml" in names
    assert "varsr/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "training", "benchmarks"))]


def test_the_unpacked_wheel_upscales_offline(
    wheel: Path, tmp_path: Path, photo: Path, environment: dict[str, str]
) -> None:
    """With the model and the list of models that are in it, far from this project."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    settings = environment | {"PYTHONPATH": str(tmp_path / "installed")}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "varsr", *arguments]
        result = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert "qyp2000/VARSR" in run("models")
    assert str(tmp_path / "installed") in run("models", "info", "mini")
    assert run("upscale", photo.name, "--scale", "2") == "photo_x2.jpg\n"
    with Image.open(tmp_path / "photo_x2.jpg") as image:
        assert image.size == (80, 60)
