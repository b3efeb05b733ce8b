"""Progress: bars on a terminal, lines in a log, nothing when quiet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run
from tests.golden import DATA

pty = pytest.importorskip("pty", reason="needs a system with pseudo-terminals")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    with Image.open(DATA / "dandelion.jpg") as image:
        for number in range(3):
            image.crop((0, 0, 40, 40)).save(made / f"{number}.png")
    return made


def on_a_terminal(environment: dict[str, str], *arguments: object) -> tuple[int, str, str]:
    """The exit code, standard output (a pipe), and what a terminal shows of standard error."""
    terminal, error = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "varsr", *map(str, arguments)],
        env=environment, stdout=subprocess.PIPE, stderr=error, text=True,
    )  # fmt: skip
    os.close(error)
    shown = b""
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not read:
            break
        shown += read
    os.close(terminal)
    output = process.communicate(timeout=60)[0]
    return process.returncode, output, shown.decode()


def test_bars_on_a_terminal(environment: dict[str, str], nano: Path, folder: Path, tmp_path: Path) -> None:
    settings = environment | {"TERM": "xterm-256color", "COLUMNS": "160"}
    code, output, shown = on_a_terminal(settings, "upscale", folder, "-d", tmp_path / "out", "-m", nano)
    assert code == 0, shown
    assert len(output.splitlines()) == 3, "results alone go to standard output"
    assert "files" in shown
    assert "a minute" in shown
    assert "tiles" in shown
    assert re.search(r"\d:\d\d:\d\d", shown), "time gone and left"
    assert "3 done, 0 skipped, 0 failed" in shown


def test_no_colour_where_none_is_wanted(environment: dict[str, str], nano: Path, folder: Path, tmp_path: Path) -> None:
    colored = r"\x1b\[[0-9;]*3[0-9][0-9;]*m"
    settings = environment | {"TERM": "xterm-256color", "COLUMNS": "160"}
    _, _, shown = on_a_terminal(settings, "upscale", folder, "-d", tmp_path / "a", "-m", nano)
    assert re.search(colored, shown)
    _, _, shown = on_a_terminal(settings | {"NO_COLOR": "1"}, "upscale", folder, "-d", tmp_path / "b", "-m", nano)
    assert not re.search(colored, shown)


def test_plain_lines_in_a_log(varsr: Run, nano: Path, folder: Path, tmp_path: Path) -> None:
    result = varsr("upscale", folder, "-d", tmp_path / "out", "-m", nano, "--verbose")
    assert "\x1b" not in result.stderr
    assert "3 done, 0 skipped, 0 failed" in result.stderr
    assert re.search(r"[\d.]+ images a minute, the model computed \d+% of the time", result.stderr)


def test_quiet_is_quiet(environment: dict[str, str], nano: Path, folder: Path, tmp_path: Path) -> None:
    code, output, shown = on_a_terminal(environment, "upscale", folder, "-d", tmp_path / "out", "-m", nano, "-q")
    assert (code, shown) == (0, "")
    assert len(output.splitlines()) == 3
