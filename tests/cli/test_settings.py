"""Settings files, `varsr config`, `varsr doctor` and completion, with the real program."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run
from tests.images.dng import write_dng

SETTINGS = """
[upscale]
output-dir = "large"
quality = 80

[generate]
count = 2

[settings.print]
scale = 2
format = "png"
realism = 0.3
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    Image.effect_noise((20, 10), 80).save(tmp_path / "a.jpg")
    (tmp_path / "varsr.toml").write_text(SETTINGS)
    return tmp_path


def test_a_file_sets_defaults_and_the_command_line_outranks_it(varsr: Run, photos: Path, nano: Path) -> None:
    run = ["upscale", "a.jpg", "-m", nano, "--config", "varsr.toml", "-n"]
    assert varsr(*run).stdout == "a.jpg -> large/a_x4.jpg\n"
    assert varsr(*run, "--settings", "print").stdout == "a.jpg -> large/a_x2.png\n"
    assert varsr(*run, "--settings", "print", "-s", "3", "-d", "other").stdout == "a.jpg -> other/a_x3.png\n"
    done = varsr("upscale", "a.jpg", "-m", nano, "--settings", "print", "--config", "varsr.toml", "--json")
    assert json.loads(done.stdout)["output_size"] == [40, 20]


def test_the_file_of_the_environment_and_the_users_own(varsr: Run, photos: Path, nano: Path) -> None:
    named = varsr("upscale", "a.jpg", "-n", VARSR_CONFIG=str(photos / "varsr.toml"))
    assert named.stdout == "a.jpg -> large/a_x4.jpg\n"
    own = photos / "configuration" / "varsr"
    own.mkdir(parents=True)
    (photos / "varsr.toml").rename(own / "varsr.toml")
    found = varsr("upscale", "a.jpg", "-n", XDG_CONFIG_HOME=str(photos / "configuration"))
    if sys.platform == "linux":
        assert found.stdout == "a.jpg -> large/a_x4.jpg\n"


def test_the_sources_of_values_are_shown(varsr: Run, photos: Path) -> None:
    shown = varsr("config", "show", "--config", "varsr.toml", "--settings", "print", "--json", VARSR_MODEL="other")
    options = json.loads(shown.stdout)["options"]
    assert options["quality"] == {"value": 80, "from": "[upscale] of varsr.toml"}
    assert options["realism"] == {"value": 0.3, "from": "[settings.print] of varsr.toml"}
    assert options["model"] == {"value": "other", "from": "VARSR_MODEL"}
    assert options["top-k"] == {"value": 1, "from": "default"}
    plain = varsr("config", "show", "generate", "--config", "varsr.toml").stdout
    assert "[generate] of varsr.toml" in plain


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[upscale]\nrealsim = 0.5", "varsr upscale has no option realsim. Do you mean realism?"),
        ("[upscal]\n", "upscal is not a command. Do you mean upscale?"),
        ("quality = 5", "write options below [upscale]"),
        ("[upscale]\nquality = 500", "quality cannot be 500"),
        ("[upscale]\nrealism = 'high'", "realism cannot be 'high'"),
        ("[upscale]\nscale = [1, 2]", "scale cannot be [1, 2]"),
        ("[upscale", "Correct it: it is a TOML file."),
        ("[settings.prints]\n", "no group [settings.print]. Do you mean prints?"),
        ("settings = 3", "settings holds groups only"),
    ],
)
def test_faults_of_a_file_are_named(varsr: Run, photos: Path, content: str, message: str) -> None:
    (photos / "varsr.toml").write_text(content)
    result = varsr("upscale", "a.jpg", "-n", "--config", "varsr.toml", "--settings", "print")
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_or_group_that_is_not_there(varsr: Run, photos: Path) -> None:
    assert "does not exist" in varsr("upscale", "a.jpg", "-n", "--config", "absent.toml").stderr
    (photos / "varsr.toml").unlink()
    assert "No settings file holds a group print" in varsr("upscale", "a.jpg", "-n", "--settings", "print").stderr
    assert varsr("config", "show", "models").returncode == 2


def test_the_doctor_finds_nothing_wrong(varsr: Run) -> None:
    shown = varsr("doctor", "--json")
    found = json.loads(shown.stdout)
    assert [problem for problem in found["problems"] if "NVIDIA" not in problem["sentence"]] == []
    assert [model["intact"] for model in found["models"] if model["name"] == "mini"] == [True]
    assert found["devices"][0]["name"] == "cpu"
    plain = varsr("doctor").stdout
    assert plain.splitlines()[0].startswith(("Nothing is wrong", "! There is an NVIDIA driver"))
    assert "PyTorch" in plain


def test_the_doctor_says_first_what_is_wrong(varsr: Run, tmp_path: Path) -> None:
    registry = Path(__file__).parents[2] / "weights.toml"
    text = registry.read_text()
    (tmp_path / "weights.toml").write_text(re.sub('sha256 = "....', 'sha256 = "0000', text))
    result = varsr("doctor", VARSR_WEIGHTS=str(tmp_path / "weights.toml"), VARSR_CONFIG="absent.toml")
    assert result.returncode == 1
    problems = [line for line in result.stdout.splitlines() if line.startswith("! ")]
    assert result.stdout.startswith("! ")
    assert any("is not the file that weights.toml describes. Install varsr again." in line for line in problems)
    assert any("absent.toml does not exist" in line for line in problems)
    assert "DAMAGED" in result.stdout


def test_names_of_models_are_completed(environment: dict[str, str], tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "varsr"
    if not program.exists():
        pytest.skip("needs the installed program")
    wanted = {"_VARSR_COMPLETE": "complete_bash", "COMP_WORDS": "varsr upscale -m va", "COMP_CWORD": "3"}
    done = subprocess.run(
        [program], env=environment | wanted, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["varsr", "varsr-c2i"]


def test_raw_photographs_are_developed_or_left_out_in_one_line(
    environment: dict[str, str], varsr: Run, nano: Path, tmp_path: Path
) -> None:
    pytest.importorskip("rawpy", reason="needs the extra for raw photographs")
    import numpy as np

    album = tmp_path / "album"
    album.mkdir()
    for number in range(2):
        write_dng(album / f"{number}.dng", np.full((32, 48), 0.5))
    Image.effect_noise((20, 10), 80).save(album / "a.jpg")
    done = varsr("upscale", "album", "-m", nano, "-s", "2", "-d", "out")
    assert set(done.stdout.split()) == {"out/0_x2.png", "out/1_x2.png", "out/a_x2.jpg"}
    with Image.open(tmp_path / "out" / "0_x2.png") as image:
        assert image.size == (96, 64)
    without = (
        "from varsr.images import formats; formats._PACKAGES['raw'] = 'absent'\nfrom varsr.cli.app import main; main()"
    )
    command = [sys.executable, "-c", without, "upscale", "album", "-m", str(nano), "-s", "2", "-d", "out2"]
    shutil.rmtree(tmp_path / "out")
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "out2/a_x2.jpg\n"
    assert run.stderr.count('Left out 2 raw photographs. Install it: pip install "varsr[raw]"') == 1
