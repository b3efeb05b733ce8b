"""Users without a home, folders that are closed, and many bad files among good ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.golden import DATA

NOBODY = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
Completed = subprocess.CompletedProcess[str]


def _as_nobody_works() -> bool:
    return (
        shutil.which("unshare") is not None and subprocess.run([*NOBODY, "true"], capture_output=True).returncode == 0
    )


pytestmark = pytest.mark.skipif(not _as_nobody_works(), reason="needs user namespaces (unshare)")


@pytest.fixture
def nobody(environment: dict[str, str], tmp_path: Path) -> Callable[..., Completed]:
    """Run the program as a user that the system does not know, with a HOME that may not be looked into."""
    home = tmp_path / "home"
    home.mkdir(mode=0o000)
    (tmp_path / "tmp").mkdir(mode=0o777)
    kept = {k: v for k, v in environment.items() if k not in ("VARSR_CACHE", "HF_HOME", "XDG_CACHE_HOME")}

    def run(*arguments: str | Path, **more: str | None) -> Completed:
        variables = kept | {"HOME": str(home), "TMPDIR": str(tmp_path / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
        variables |= {name: value for name, value in more.items() if value is not None}
        for name in (name for name, value in more.items() if value is None):
            variables.pop(name, None)
        return subprocess.run(
            [*NOBODY, sys.executable, "-m", "varsr", *map(str, arguments)],
            env=variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


def album(folder: Path) -> list[str]:
    """40 good files, and 20 that are bad in 20 ways; return the latter's names."""
    folder.mkdir()
    with Image.open(DATA / "dandelion.jpg") as image:
        small = image.resize((24, 20))
    for number in range(40):
        small.save(folder / f"good{number:02}{('.jpg', '.png', '.webp', '.tif')[number % 4]}")
    small.save(folder / "whole.jpg", quality=95)
    jpeg = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    png, webp, gif = ((folder / f"good{n:02}{s}").read_bytes() for n, s in ((1, ".png"), (2, ".webp"), (0, ".jpg")))
    bad = {
        "empty.jpg": b"",
        "zeros.png": bytes(500),
        "text.jpg": b"not an image, but a letter",
        "page.png": b"<!DOCTYPE html><html></html>",
        "document.jpg": b"%PDF-1.7 ...",
        "half.jpg": jpeg[: len(jpeg) // 2],
        "half.png": png[: len(png) // 2],
        "half.webp": webp[: len(webp) // 2],
        "header.gif": b"GIF89a\x10\x00\x10\x00\x00\x00\x00",
        "wrong.png": png[:60] + bytes([png[60] ^ 255]) + png[61:],
        "twelve.jpg": jpeg.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c", 1),
        "absurd.bmp": b"BM" + b"\xff" * 60,
        "video.jpg": b"\0\0\0\x18ftypmp42" + bytes(50),
        "random.tif": b"II*\0" + bytes(range(200)),
        "closed.jpg": gif,
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    (folder / "closed.jpg").chmod(0o000)
    shutil.copy(DATA / "faults" / "float32_rgb.tif", folder / "float.tif")
    shutil.copy(DATA / "faults" / "pq_nclx.avif", folder / "hdr.avif")
    shutil.copy(DATA / "writers" / "lab_magick.tif", folder / "lab.tif")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    tifffile.imwrite(folder / "signed.tif", np.zeros((8, 8), np.int16), photometric="minisblack")
    return [*bad, "float.tif", "hdr.avif", "lab.tif", "gone.jpg", "signed.tif"]


REASONS = {
    "empty.jpg": "is empty", "zeros.png": "only zeros", "text.jpg": "a text file", "page.png": "a web page",
    "document.jpg": "a PDF", "twelve.jpg": "12 bits", "video.jpg": "a video", "closed.jpg": "permission denied",
    "float.tif": "floating-point", "hdr.avif": "PQ", "lab.tif": "CIELAB", "gone.jpg": "does not exist",
    "signed.tif": "signed",
}  # fmt: skip


def test_forty_of_sixty(nobody: Callable[..., Completed], nano: Path, tmp_path: Path) -> None:
    bad = album(tmp_path / "album")
    assert len(bad) == 20
    out = tmp_path / "out"
    out.mkdir(mode=0o777)
    arguments = ("upscale", "album", "-d", "out", "-m", nano, "-s", "1", "--json", "--no-corrector", "--cfg", "0")
    for again in (False, True):
        result = nobody(*arguments, *(["--skip-existing"] if again else []))
        assert result.returncode == 1, result.stderr
        assert "Traceback" not in result.stderr
        assert "should not have happened" not in result.stderr
        told = {Path(line["input"]).name: line for line in map(json.loads, result.stdout.splitlines())}
        assert len(told) == 60
        assert {name for name, line in told.items() if line["status"] == "failed"} == set(bad)
        assert {line["status"] for name, line in told.items() if name not in bad} == {"skipped" if again else "done"}
        for name, words in REASONS.items():
            assert words in told[name]["error"], told[name]
        complaints = [line for line in result.stderr.splitlines() if line.startswith("varsr: ")]
        assert len(complaints) == 20
        assert len(list(out.iterdir())) == 40


@pytest.mark.parametrize("home", ["closed", "absent", "", "relative", None])
def test_the_built_in_model_works_without_a_home(
    nobody: Callable[..., Completed], photo: Path, tmp_path: Path, home: str | None
) -> None:
    tmp_path.chmod(0o777)
    given = {"closed": str(tmp_path / "home"), "absent": str(tmp_path / "nowhere" / "at" / "all")}.get(home or "", home)
    if home == "absent":
        (tmp_path / "nowhere").mkdir(mode=0o555)
    result = nobody("upscale", photo, "-s", "1", HOME=given)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "~").exists()
    assert not (tmp_path / "relative").exists()
    assert sum("Caches are kept in" in line for line in result.stderr.splitlines()) == 1
    listed = nobody("models", HOME=given)
    assert listed.returncode == 0, listed.stderr


def test_what_may_not_be_read_or_written(
    nobody: Callable[..., Completed], nano: Path, photo: Path, tmp_path: Path
) -> None:
    """Named files, a file in a closed folder, closed folders below, folders that take nothing, a model out of reach."""
    closed, tree, full = tmp_path / "closed", tmp_path / "tree", tmp_path / "full"
    for folder in (closed, tree, tree / "open", tree / "shut", full):
        folder.mkdir()
    for target in (closed / "a.jpg", tree / "open" / "b.jpg", tree / "shut" / "c.jpg", tmp_path / "unreadable.jpg"):
        shutil.copy(photo, target)
    (tmp_path / "unreadable.jpg").chmod(0o000)
    for folder, mode in ((closed, 0o000), (tree / "shut", 0o000), (full, 0o555)):
        folder.chmod(mode)
    tmp_path.chmod(0o777)
    try:
        common = ("-m", nano, "-s", "1", "--no-corrector", "--cfg", "0")
        (tmp_path / "out").mkdir(mode=0o777)
        result = nobody(
            "upscale", photo, "unreadable.jpg", "closed/a.jpg", "tree", "-r", "-d", "out", *common, "--json"
        )
        assert result.returncode == 1, result.stderr
        told = [json.loads(line) for line in result.stdout.splitlines()]
        status = {os.path.relpath(tmp_path / line["input"], tmp_path): line["status"] for line in told}
        assert status == {
            photo.name: "done", "unreadable.jpg": "failed", "closed/a.jpg": "failed", "tree/open/b.jpg": "done",
            "tree/shut": "failed",
        }  # fmt: skip
        assert all("permission denied" in line["error"].lower() for line in told if line["status"] == "failed")
        result = nobody("upscale", photo, "-d", "full", "-m", "not even looked at")
        assert (result.returncode, result.stdout) == (5, "")
        assert "permission denied" in result.stderr
        result = nobody("upscale", photo, "-m", closed / "model.safetensors")
        assert result.returncode == 3, result.stderr
        assert "permission denied" in result.stderr.lower()
    finally:
        for folder in (closed, tree / "shut", full):
            folder.chmod(0o755)
