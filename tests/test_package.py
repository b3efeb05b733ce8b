"""The wheel holds all that is used."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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


def test_the_program_runs_from_the_unpacked_wheel(wheel: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-m", "varsr", "models"]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "qyp2000/VARSR" in result.stdout
