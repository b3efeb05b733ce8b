"""Models from a real HTTP server, through huggingface_hub, by the program as a process."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.disk import small_disk
from tests.nano import NANO, write_nano, write_preset
from tests.weights.hub_server import REPOSITORY, Behaviour, serving

HF = f"hf:{REPOSITORY}"
ONLINE = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def server(nano: Path) -> Iterator[tuple[Behaviour, str]]:
    behaviour = Behaviour({"model.safetensors": nano})
    with serving(behaviour) as endpoint:
        yield behaviour, endpoint


def registry(folder: Path, *, sha256: str = "", pickles: bool = False) -> Path:
    """A list of one model, "small", in the server's repository."""
    files = (
        '[models.small.files.vqvae]\nname = "VQVAE.pth"\n[models.small.files.varsr]\nname = "VARSR.pth"\n'
        if pickles
        else f'[models.small.files.model]\nname = "model.safetensors"\nsha256 = "{sha256}"\n'
    )
    path = folder / "weights.toml"
    path.write_text(
        f'default = "small"\n[models.small]\ndescription = "for tests"\nrepository = "{REPOSITORY}"\n'
        f'revision = "main"\nlicence = "MIT"\nformat = "{"pickles" if pickles else "safetensors"}"\n{files}'
    )
    return path


def kept(environment: dict[str, str]) -> list[str]:
    """The names of all real files in the caches, without the Hub library's locks and notes."""
    names = []
    for folder in (environment["HF_HOME"], environment["VARSR_CACHE"]):
        for root, _, files in os.walk(folder):
            if ".locks" not in root and "refs" not in root and ".no_exist" not in root:
                names += [name for name in files if not name.startswith("CACHEDIR")]
    return names


def fails_once_in_one_line(result: subprocess.CompletedProcess[str], words: str) -> None:
    assert result.returncode == 3
    assert result.stdout == ""
    complaints = [line for line in result.stderr.splitlines() if line.startswith("varsr: ")]
    assert len(complaints) == 1
    assert words in complaints[0]
    assert "Traceback" not in result.stderr


def test_first_use_downloads_and_later_ones_do_not(server: tuple[Behaviour, str], varsr: Run, photo: Path) -> None:
    behaviour, endpoint = server
    first = varsr("upscale", photo, "--model", HF, HF_ENDPOINT=endpoint, **ONLINE)
    assert first.returncode == 0, first.stderr
    assert behaviour.fetched() == [None]
    assert "Fetching model.safetensors" in first.stderr
    second = varsr("upscale", photo, "--model", HF, "--overwrite", HF_ENDPOINT=endpoint, **ONLINE)
    assert second.returncode == 0, second.stderr
    assert "Fetching" not in second.stderr
    assert behaviour.fetched() == [None]


def test_a_cached_model_serves_when_the_server_is_gone(server: tuple[Behaviour, str], varsr: Run, photo: Path) -> None:
    _, endpoint = server
    assert varsr("upscale", photo, "-m", HF, HF_ENDPOINT=endpoint, **ONLINE).returncode == 0
    for circumstances in ({"HF_ENDPOINT": NOWHERE, **ONLINE}, {"HF_ENDPOINT": NOWHERE, "HF_HUB_OFFLINE": "1"}):
        result = varsr("upscale", photo, "-m", HF, "--overwrite", **circumstances)
        assert result.returncode == 0, result.stderr


def test_without_a_server_and_a_copy(varsr: Run, photo: Path) -> None:
    fails_once_in_one_line(varsr("upscale", photo, "-m", HF), "could not be reached")


def test_a_broken_transfer_is_resumed_where_it_broke(
    server: tuple[Behaviour, str], varsr: Run, photo: Path, tmp_path: Path
) -> None:
    behaviour, endpoint = server
    large = tmp_path / "large.safetensors"  # the Hub's library keeps what it has in steps of 10 MB
    write_nano(large, replace(NANO, corrector=replace(NANO.corrector, width=1024)))
    behaviour.files = {"model.safetensors": large}
    behaviour.breaks = 1
    result = varsr("upscale", photo, "-m", HF, HF_ENDPOINT=endpoint, **ONLINE)
    assert result.returncode == 0, result.stderr
    first, second = behaviour.fetched()
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= large.stat().st_size // 2


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("hf:someone/else", "someone/else on the Hub does not exist"),
        (f"{HF}@v9", "no revision v9"),
        ("hf:no name", "is not a repository"),
    ],
)
def test_what_the_server_does_not_have(
    server: tuple[Behaviour, str], varsr: Run, photo: Path, model: str, words: str
) -> None:
    fails_once_in_one_line(varsr("upscale", photo, "-m", model, HF_ENDPOINT=server[1], **ONLINE), words)


def test_a_missing_file(server: tuple[Behaviour, str], varsr: Run, photo: Path) -> None:
    behaviour, endpoint = server
    behaviour.files.clear()
    fails_once_in_one_line(
        varsr("upscale", photo, "-m", HF, HF_ENDPOINT=endpoint, **ONLINE), "no file model.safetensors"
    )


def test_a_gated_repository_opens_with_the_token(server: tuple[Behaviour, str], varsr: Run, photo: Path) -> None:
    behaviour, endpoint = server
    behaviour.token = "secret"
    refused = varsr("upscale", photo, "-m", HF, HF_ENDPOINT=endpoint, **ONLINE)
    fails_once_in_one_line(refused, "HF_TOKEN")
    opened = varsr("upscale", photo, "-m", HF, HF_ENDPOINT=endpoint, HF_TOKEN="secret", **ONLINE)
    assert opened.returncode == 0, opened.stderr


def test_a_wrong_file_is_refused_and_not_kept(
    server: tuple[Behaviour, str], varsr: Run, photo: Path, environment: dict[str, str], tmp_path: Path, nano: Path
) -> None:
    _, endpoint = server
    circumstances = {"HF_ENDPOINT": endpoint, **ONLINE}
    wrong = registry(tmp_path, sha256="0" * 64)
    result = varsr("upscale", photo, VARSR_WEIGHTS=str(wrong), **circumstances)
    fails_once_in_one_line(result, "SHA-256")
    assert kept(environment) == []
    right = registry(tmp_path, sha256=hashlib.sha256(nano.read_bytes()).hexdigest())
    assert varsr("upscale", photo, VARSR_WEIGHTS=str(right), **circumstances).returncode == 0


def test_published_pickles_are_converted_once(
    tiny_pickles: tuple[Path, Path], varsr: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    behaviour = Behaviour({path.name: path for path in tiny_pickles})
    weights = {"VARSR_WEIGHTS": str(registry(tmp_path, pickles=True)), **ONLINE}
    with serving(behaviour) as endpoint:
        first = varsr("models", "pull", "small", HF_ENDPOINT=endpoint, **weights)
        assert first.returncode == 0, first.stderr
        asked = len(behaviour.requests)
        second = varsr("models", "pull", "small", HF_ENDPOINT=endpoint, **weights)
        assert second.stdout == first.stdout
        assert len(behaviour.requests) == asked  # nothing at all is asked again
    path = Path(first.stdout.strip())
    assert path.parent == Path(environment["VARSR_CACHE"]) / "models"
    listing = varsr("models", **weights)
    assert str(path) in listing.stdout
    assert "bf16" in listing.stdout
    assert varsr("models", "info", "small", **weights).returncode == 0
    removal = varsr("models", "remove", "small", **weights)
    assert "freed" in removal.stderr
    assert kept(environment) == []


def test_a_full_disk_while_downloading(server: tuple[Behaviour, str], varsr: Run, photo: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        result = varsr("upscale", photo, "-m", HF, HF_ENDPOINT=server[1], HF_HOME=str(disk), **ONLINE)
        fails_once_in_one_line(result, "no space left")
        assert not list(disk.rglob("*.safetensors"))


def test_a_full_disk_while_converting(tiny_pickles: tuple[Path, Path], varsr: Run, tmp_path: Path) -> None:
    behaviour = Behaviour({path.name: path for path in tiny_pickles})
    weights = {"VARSR_WEIGHTS": str(registry(tmp_path, pickles=True)), **ONLINE}
    with serving(behaviour) as endpoint, small_disk(tmp_path / "disk", "256k") as disk:
        result = varsr("models", "pull", "small", HF_ENDPOINT=endpoint, VARSR_CACHE=str(disk), **weights)
        fails_once_in_one_line(result, "no space left")
        assert not [path for path in disk.rglob("*") if path.is_file()]


def test_a_repository_brings_its_presets(
    server: tuple[Behaviour, str], varsr: Run, photo: Path, tmp_path: Path
) -> None:
    """`model.toml` beside the checkpoint: a preset that no model can use is named when the model is loaded."""
    behaviour, endpoint = server
    beside = tmp_path / "model.toml"
    behaviour.files["model.toml"] = beside
    write_preset(beside, color_fix="magic")
    result = varsr("upscale", photo, "--model", HF, HF_ENDPOINT=endpoint, **ONLINE)
    fails_once_in_one_line(result, "color_fix must be one of")
    write_preset(beside, color_fix="wavelet")
    other = varsr("upscale", photo, "--model", HF, HF_ENDPOINT=endpoint, HF_HOME=str(tmp_path / "anew"), **ONLINE)
    assert other.returncode == 0, other.stderr
