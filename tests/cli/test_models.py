from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.nano import NANO


def test_a_result_whose_name_the_locale_cannot_hold(
    varsr: Run, tiny_pickles: tuple[Path, Path], tmp_path: Path
) -> None:
    target = tmp_path / "\u65e5\u672c.safetensors"
    result = varsr("models", "convert", *tiny_pickles, "-o", target, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stdout) == (0, f"{target}\n")


def test_conversion_on_the_command_line(varsr: Run, tiny_pickles: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    result = varsr("models", "convert", *tiny_pickles, "-o", target, "--dtype", "fp32")
    assert (result.returncode, result.stdout) == (0, f"{target}\n"), result.stderr
    again = varsr("models", "convert", *tiny_pickles, "-o", target)
    assert again.returncode == 5
    details = json.loads(varsr("models", "info", target).stdout)
    assert details["config"]["transformer"]["width"] == 128
    assert details["bytes"] == target.stat().st_size
    assert 4 * details["parameters"] <= details["bytes"] < 4.1 * details["parameters"]


def test_info_of_a_file(varsr: Run, nano: Path) -> None:
    details = json.loads(varsr("models", "info", nano).stdout)
    assert details["path"] == str(nano)
    assert details["config"] == json.loads(NANO.to_json())


def test_the_list_marks_the_default(varsr: Run) -> None:
    lines = varsr("models").stdout.splitlines()
    assert any(line.startswith("*") for line in lines)
    assert any("qyp2000/VARSR" in line and "MIT" in line for line in lines)


@pytest.mark.parametrize("command", ["pull", "remove"])
def test_unknown_models(varsr: Run, command: str) -> None:
    result = varsr("models", command, "nonesuch")
    assert result.returncode == 3
    assert "nonesuch" in result.stderr


def test_info_does_not_download(varsr: Run) -> None:
    result = varsr("models", "info", "varsr")
    assert result.returncode == 3
    assert "varsr models pull varsr" in result.stderr


@pytest.mark.parametrize("content", ["", "default = 3", "[models.a]\nx = 1\n", "not toml ["])
def test_a_faulty_list_of_models_is_named(varsr: Run, tmp_path: Path, content: str) -> None:
    path = tmp_path / "weights.toml"
    path.write_text(content)
    result = varsr("models", VARSR_WEIGHTS=str(path))
    assert result.returncode == 3
    assert str(path) in result.stderr
    assert "Traceback" not in result.stderr
