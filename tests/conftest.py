"""Fixtures of several tests: models, a photograph, the program as a process."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Two processes test at a time: threads that wait must not spin, and one is enough for each.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from hypothesis import settings
from PIL import Image

from tests.golden import DATA, write_pickles
from tests.nano import write_identity, write_nano
from tests.zygote import Zygote, zygote
from varsr.model.varsr import VARSR
from varsr.runtime.device import Precision
from varsr.weights.checkpoint import load_model
from varsr.weights.convert import convert

# How long a case takes is no matter of right or wrong; cases are the same in every run, as all random numbers are.
settings.register_profile("any machine", deadline=None, derandomize=True)
settings.load_profile("any machine")

FLOAT32 = Precision(torch.float32, torch.float32)
CPU = torch.device("cpu")

READ_AT_START = ("PYTHON", "OMP_DISPLAY", "OMP_WAIT", "GOMP")
"""Variables that the interpreter, or GNU OpenMP, reads as it is loaded."""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run of a test, whatever ran before it."""
    torch.manual_seed(0)
    random.seed(0)


@pytest.fixture(scope="session")
def tiny_pickles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """VQVAE.pth and VARSR.pth of the tiny model, as published ones are."""
    return write_pickles("tiny", tmp_path_factory.mktemp("pickles"))


@pytest.fixture(scope="session")
def tiny(tiny_pickles: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, converted in float32."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    convert(*tiny_pickles, path, torch.float32)
    return path


@pytest.fixture(scope="session")
def tiny_model(tiny: Path) -> VARSR:
    """The tiny model, loaded."""
    return load_model(tiny, CPU, FLOAT32)


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 32 px tiles that runs in milliseconds."""
    path = tmp_path_factory.mktemp("nano") / "nano.safetensors"
    write_nano(path)
    return path


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that leaves the enlarged input as it is."""
    path = tmp_path_factory.mktemp("identity") / "identity.safetensors"
    write_identity(path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small real photograph, 40 x 30."""
    path = tmp_path / "photo.jpg"
    with Image.open(DATA / "dandelion.jpg") as image:
        image.resize((40, 30)).save(path, quality=95)
    return path


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with caches of its own and no way to the real Hub."""
    return isolated(tmp_path_factory.mktemp("home"))


def isolated(folder: Path) -> dict[str, str]:
    """The environment with a folder for all caches and settings, and without a way to the real Hub."""
    ours = ("HF_", "VARSR_", "OMP_WAIT_POLICY", "PYTEST_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return kept | {
        "HF_HOME": str(folder / "hub"),
        "VARSR_CACHE": str(folder / "varsr"),
        "XDG_CONFIG_HOME": str(folder / "configuration"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "200",
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def ready() -> Iterator[Zygote]:
    """A process that is ready to become the program."""
    with zygote() as started:
        yield started


@pytest.fixture
def varsr(environment: dict[str, str], tmp_path: Path, ready: Zygote) -> Run:
    """Run the program in a folder of its own and return how it ended."""

    def run(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        settings = environment | more
        if any(name.startswith(READ_AT_START) for name in more):
            command = [sys.executable, "-m", "varsr", *map(str, arguments)]
            return subprocess.run(
                command, env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
            )
        return ready.run([*map(str, arguments)], settings, tmp_path, timeout=120)

    return run
