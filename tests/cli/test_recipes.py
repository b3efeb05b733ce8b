"""The README's recipes, run as they are printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import zygote
from tests.golden import DATA
from tests.sixteen_bit import write_sixteen_bit
from tests.zygote import Zygote
from varsr.images.codecs.png import read_header
from varsr.images.metadata import Metadata

README = Path(__file__).parents[2] / "README.md"
Shell = Callable[[str], subprocess.CompletedProcess[str]]


def recipes() -> dict[str, list[str]]:
    """The commands and options between backticks in the table, by purpose."""
    table = README.read_text().partition("## Recipes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", table.replace(r"\|", "\0"), flags=re.MULTILINE)
    return {to: [code.replace("\0", "|") for code in re.findall(r"`([^`]+)`", said)] for to, said in rows}


RECIPES = recipes()
LOOKING = re.compile(r"^varsr (compare|evaluate)|--compare")
ELSEWHERE = re.compile(r"model|^varsr (watch|serve)|s3://" + ("|clip" if find_spec("av") is None else ""))
"""Commands that another file tests."""
RUN = {
    to: codes
    for to, codes in RECIPES.items()
    if codes and not ELSEWHERE.search(codes[0]) and "cuda" not in codes[-1] and not LOOKING.search(codes[0])
}
LOOK = {to: codes[0] for to, codes in RECIPES.items() if codes and LOOKING.search(codes[0])}
CI = README.parent / ".ci" / "run"


def write_clip(path: Path) -> None:
    """A video of 2 frames."""
    import av

    with av.open(str(path), "w") as container, Image.open(DATA / "dandelion.jpg") as image:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 48, 32
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_image(image.convert("RGB").resize((48, 32)))))
        container.mux(stream.encode(None))


def frames_of(path: Path) -> list[Any]:
    """The frames of a video."""
    import av

    with av.open(str(path)) as container:
        return [*container.decode(video=0)]


@pytest.fixture
def shell(environment: dict[str, str], nano: Path, tmp_path: Path, ready: Zygote) -> Shell:
    """A shell in a folder with an album and a photo; `varsr` is this one, its model a very small one."""
    for number, name in enumerate(("a.jpg", "b c.jpg", "trip/c.jpg", "trip/d\n.jpg", "trip/far/e.jpg")):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(DATA / "dandelion.jpg") as image:
            image.crop((number, 0, number + 40, 32)).save(path)
    with Image.open(DATA / "dandelion.jpg") as image:
        image.resize((160, 120)).save(tmp_path / "photo.jpg")
    if find_spec("av") is not None:
        write_clip(tmp_path / "clip.mp4")
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "varsr"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "{zygote.__file__}" "{ready.address}" "$@"\n')
    program.chmod(0o755)
    search = f"{programs}:{environment['PATH']}"
    settings = environment | {"PATH": search, "VARSR_MODEL": str(nano), "OMP_NUM_THREADS": "1"}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("to", RUN)
def test_a_recipe(shell: Shell, tmp_path: Path, to: str) -> None:
    first, *options = RUN[to]
    if "jq" in first and not shutil.which("jq"):
        pytest.skip("needs jq")
    before = set(tmp_path.rglob("*"))
    done = shell(first)
    assert done.returncode == 0, done.stderr
    made = [path for path in set(tmp_path.rglob("*")) - before if path.is_file() and path.suffix != ".jsonl"]
    fewest, most = (0, 0) if "--dry-run" in first else (0, 1) if "2/8" in first else (1, 5)  # of five images
    assert fewest <= len(made) <= most
    for path in made:
        if path.suffix == ".mp4":
            assert len(frames_of(path)) == 2
            continue
        with Image.open(path) as image:
            image.load()
    for option in options:  # other options to the same command
        done = shell(f"varsr upscale photo.jpg --overwrite {option}")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("to", LOOK)
def test_a_recipe_for_looking_and_measuring(shell: Shell, tmp_path: Path, to: str) -> None:
    assert len(LOOK) == 7
    with Image.open(DATA / "dandelion.jpg") as image:
        for folder, side in (("HR", 96), ("LR", 24), ("results", 96)):
            (tmp_path / folder).mkdir()
            image.crop((0, 0, 192, 192)).resize((side, side)).save(tmp_path / folder / "a.png")
    if "--compare" not in LOOK[to]:
        assert shell("varsr upscale photo.jpg && varsr upscale album -d large").returncode == 0
    done = shell(LOOK[to].replace("-m mini", "-m $VARSR_MODEL"))
    assert done.returncode == 0, done.stderr
    if LOOK[to].startswith("varsr evaluate"):
        assert "PSNR" in done.stdout
    else:
        assert list(tmp_path.glob("*.html")) or list(tmp_path.glob("sheet.png"))


def test_the_tree_is_kept_and_an_interrupted_run_completed(shell: Shell, tmp_path: Path) -> None:
    shell(RECIPES["upscale a folder and its subfolders"][0])
    names = {str(path.relative_to(tmp_path / "large")) for path in (tmp_path / "large").rglob("*.jpg")}
    assert names == {"a_x4.jpg", "b c_x4.jpg", "trip/c_x4.jpg", "trip/d\n_x4.jpg", "trip/far/e_x4.jpg"}
    (tmp_path / "large" / "trip" / "c_x4.jpg").unlink()
    resumed = shell(RECIPES["resume an interrupted run"][0])
    assert resumed.stdout == "large/trip/c_x4.jpg\n"


def test_jq_lists_what_failed(shell: Shell, tmp_path: Path) -> None:
    if not shutil.which("jq"):
        pytest.skip("needs jq")
    (tmp_path / "album" / "b c.jpg").write_bytes(b"no image")
    listed = shell(RECIPES["list failed inputs"][0])
    assert listed.stdout == "album/b c.jpg\n"
    assert listed.returncode == 1


def test_parts_together_are_the_whole(shell: Shell, tmp_path: Path) -> None:
    assert shell(RECIPES["use several processes of a CPU"][0]).returncode == 0
    assert len(list((tmp_path / "large").rglob("*.jpg"))) == 5


def commands() -> list[str]:
    """The two lines that set up everything."""
    return [line.strip() for line in README.read_text().splitlines() if line.startswith("    python3 -m venv")]


def test_the_python_example(shell: Shell, tmp_path: Path) -> None:
    """On a rotated photo of 16 bits with another profile, all of which it keeps."""
    example = README.read_text().partition("```python\n")[2].partition("```")[0]
    with Image.open(DATA / "faults" / "adobe_rgb.jpg") as image:
        profile = image.info["icc_profile"]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    values = np.linspace(0, 1, 20 * 30 * 3, dtype=np.float32).reshape(20, 30, 3)
    metadata = Metadata(exif=exif.tobytes(), icc_profile=profile, dpi=(300.0, 300.0))
    write_sixteen_bit(values, tmp_path / "photo.png", "PNG", metadata)
    (tmp_path / "example.py").write_text(example.replace("photo.jpg", "photo.png"))
    result = shell(f"{sys.executable} example.py")
    assert result.returncode == 0, result.stderr
    with (tmp_path / "large.png").open("rb") as file:
        assert read_header(file).depth == 16
    with Image.open(tmp_path / "large.png") as image:
        assert image.size == (80, 120)
        assert image.info["icc_profile"] == profile
        assert image.getexif()[0x010F] == "a camera"
        assert image.getexif().get(0x0112, 1) == 1


def test_ci_runs_the_readmes_test_command_as_printed() -> None:
    upscale, test = commands()
    assert CI.read_text().splitlines()[-1] == test
    assert "varsr upscale examples/photo.jpg" in upscale


def test_the_readmes_first_command_upscales_the_example(shell: Shell, tmp_path: Path) -> None:
    """Its last part: the others install what is installed here."""
    shutil.copytree(README.parent / "examples", tmp_path / "examples")
    command = commands()[0].rpartition("&& .venv/bin/")[2]
    result = shell(command)
    assert (result.returncode, result.stdout) == (0, "photo_x4.jpg\n"), result.stderr
    with Image.open(tmp_path / "photo_x4.jpg") as image, Image.open(tmp_path / "examples" / "photo.jpg") as given:
        assert image.size == (4 * given.width, 4 * given.height)
