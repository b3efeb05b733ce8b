"""Habits of the command line: common requests, and the results that people expect."""

from __future__ import annotations

import contextlib
import json
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run
from tests.golden import DATA
from tests.in_process import Result, lines, run
from varsr.images.mark import is_marked

FAULTS = DATA / "faults"
Upscale = Callable[..., Result]


@pytest.fixture
def upscale(identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Upscale:
    """`varsr upscale` at scale 1 in a folder of its own, by a model that changes nothing."""
    monkeypatch.chdir(tmp_path)
    for name in ("VARSR_CACHE", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, environment[name])

    def command(*arguments: str | Path, stdin: bytes = b"", terminal: bool = False) -> Result:
        size = () if {"-s", "--scale", "--width", "--megapixels"} & set(map(str, arguments)) else ("-s", "1")
        model = () if "-m" in arguments else ("-m", identity)
        return run("upscale", *arguments, *size, *model, stdin=stdin, terminal=terminal)

    return command


def opened(path: Path) -> Image.Image:
    """A file's image, loaded and closed."""
    with Image.open(path) as image:
        return image.copy()


def refuses(result: Result, code: int, words: str) -> None:
    """One line on standard error, nothing on standard output."""
    assert (result.code, result.out) == (code, b""), result.err
    assert words in result.err
    assert len([line for line in result.err.splitlines() if line.startswith("varsr: ")]) == 1
    assert "should not have happened" not in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([""], 2, "input is empty"),
        (["photo.jpg", "-o", ""], 2, "output is empty"),
        (["photo.jpg", "-d", ""], 2, "folder for results is empty"),
        (["photo.jpg", "-o", "d/"], 5, "is a folder"),
        (["photo.jpg", "-o", "."], 5, "is a folder"),
        (["photo.jpg", "-o", "a.jpg", "-d", "out"], 2, "-o names a file and -d a folder"),
        (["photo.jpg", "-o", "a.jpg", "--shard", "1/2"], 2, "--shard"),
        (["photo.jpg", "--overwrite", "--skip-existing"], 2, "--skip-existing"),
        (["https://example.org/a.jpg"], 5, "Nothing can be written beside"),
        (["photo.jpg", "-m", "owner/name"], 3, "hf:owner/name"),
        (["photo.jpg", "-m", "https://huggingface.co/owner/name"], 2, "an address on the web"),
        (["photo.jpg", "-d", "photo.jpg/below"], 5, "not a folder"),
        (["photo.jpg", "--background", "nonsense"], 2, "not a colour"),
        (["photo.jpg", "--cfg", "inf"], 2, "cfg cannot be inf"),
        (["photo.jpg", "--cfg", "1e30"], 2, "cfg cannot be"),
        (["photo.jpg", "--seed", "9" * 30], 2, "seed cannot be"),
        (["photo.jpg", "--scale", "nan"], 2, "cannot be scaled by nan"),
        (["photo.jpg", "--megapixels", "inf"], 2, "cannot be scaled"),
        (["photo.jpg", "--width", "9" * 20], 2, "cannot be scaled"),
        ([FAULTS / "sprite.gif", "-f", "jpg"], 2, "JPEG holds one image"),
    ],
)
def test_wrong_requests(upscale: Upscale, photo: Path, arguments: list[str], code: int, words: str) -> None:
    before = sorted(photo.parent.iterdir())
    refuses(upscale(*arguments), code, words)
    assert sorted(photo.parent.iterdir()) == before


def test_a_terminal_takes_no_image(upscale: Upscale, photo: Path) -> None:
    refuses(upscale("photo.jpg", "-o", "-", "-f", "png", terminal=True), 2, "terminal")


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_standard_output_by_any_name(upscale: Upscale, photo: Path, name: str) -> None:
    result = upscale("photo.jpg", "-o", name, "-f", "png")
    assert result.code == 0, result.err
    assert result.out.startswith(b"\x89PNG")


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="this system has no /dev/null")
def test_a_device_is_written_into(upscale: Upscale, photo: Path) -> None:
    assert upscale("photo.jpg", "-o", "/dev/null").code == 0
    assert not Path("/dev/null").is_file()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_written_into(upscale: Upscale, photo: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    reader = subprocess.Popen(["cat", tmp_path / "pipe.png"], stdout=subprocess.PIPE)
    assert upscale("photo.jpg", "-o", "pipe.png").code == 0
    assert reader.communicate(timeout=30)[0].startswith(b"\x89PNG")
    assert not (tmp_path / "pipe.png").is_file()


def test_links_are_written_through(upscale: Upscale, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "elsewhere" / "real.png")
    refuses(upscale("photo.jpg", "-o", "link.png"), 5, "a link to nothing")
    for _ in range(2):
        assert upscale("photo.jpg", "-o", "link.png", "--overwrite").code == 0
        assert (tmp_path / "link.png").is_symlink()
        assert opened(tmp_path / "elsewhere" / "real.png").size == (40, 30)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["real.png"]


def test_a_second_run_over_a_folder(upscale: Upscale, photo: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    shutil.copy(photo, album / "a.jpg")
    shutil.copy(photo, album / "b.jfif")
    assert lines(upscale("album")) == ["album/a_x1.jpg", "album/b_x1.jfif"]
    assert (album / "b_x1.jfif").read_bytes().startswith(b"\xff\xd8")
    result = upscale("album", "--skip-existing")
    assert result.code == 0
    assert "0 done, 2 skipped, 0 failed" in result.err
    assert upscale("album", "--name", "{stem}-large{ext}", "--json").code == 0  # by the mark in their metadata
    assert sorted(path.name for path in album.glob("*-large*")) == ["a-large.jpg", "b-large.jfif"]
    shutil.move(album / "a_x1.jpg", album / "renamed.jpg")
    told = [json.loads(line) for line in lines(upscale("album", "--name", "{stem}.new{ext}", "--json"))]
    status = {Path(line["input"]).name: line["status"] for line in told}
    assert status == {
        "a-large.jpg": "skipped", "a.jpg": "done", "b-large.jfif": "skipped", "b.jfif": "done", "b_x1.jfif": "skipped",
        "renamed.jpg": "skipped",
    }  # fmt: skip
    assert upscale(album / "renamed.jpg").code == 0, "named itself it is an input"


def test_a_folder_in_place(upscale: Upscale, photo: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    shutil.copy(photo, album / "a.jpg")
    for _ in range(2):
        assert lines(upscale("album", "--name", "{stem}{ext}", "--overwrite", "-s", "2")) == ["album/a.jpg"]
    assert opened(album / "a.jpg").size == (160, 120)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_results_bear_a_mark(upscale: Upscale, photo: Path, tmp_path: Path, suffix: str) -> None:
    assert upscale("photo.jpg", "-o", f"out{suffix}").code == 0
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert is_marked(image.getexif().tobytes())


def test_opaque_alpha_and_a_background(upscale: Upscale, tmp_path: Path) -> None:
    assert upscale(FAULTS / "opaque_alpha.png", "-o", "a.jpg").code == 0
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    refuses(upscale("clear.png", "-o", "b.jpg"), 2, "--background")
    assert upscale("clear.png", "-o", "b.jpg", "--background", "#204060").code == 0
    assert opened(tmp_path / "b.jpg").getpixel((4, 4)) == pytest.approx((32, 64, 96), abs=2)


def test_failures_are_told_once_with_advice(upscale: Upscale, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    result = upscale("photo.jpg", "bad.jpg", "-d", "out")
    assert result.code == 1
    (told,) = [line for line in result.err.splitlines() if "bad.jpg" in line]
    assert told.startswith("varsr: bad.jpg: bad.jpg is empty. ")
    assert "Formats that are read" in told
    verbose = upscale("photo.jpg", "bad.jpg", "-d", "out2", "--verbose")
    assert "photo.jpg: done, 40 x 30 px" in verbose.err
    assert "bad.jpg: failed" in verbose.err


def test_numbers_that_are_none_are_a_failure(upscale: Upscale, photo: Path, identity: Path, tmp_path: Path) -> None:
    """Damaged weights must not come out as a black image."""
    import torch
    from safetensors.torch import load_file

    from tests.nano import MINI_LIKE
    from varsr.weights.checkpoint import write_checkpoint

    tensors = dict(load_file(identity))
    tensors["decoder.conv_out.bias"] = torch.full_like(tensors["decoder.conv_out.bias"], float("nan"))
    write_checkpoint(tmp_path / "damaged.safetensors", tensors, MINI_LIKE)
    refuses(upscale("photo.jpg", "-m", "damaged.safetensors"), 8, "not numbers")
    assert not (tmp_path / "photo_x1.jpg").exists()


def test_any_batch_size_does(upscale: Upscale, photo: Path) -> None:
    assert upscale("photo.jpg", "--batch-size", "100000").code == 0


def test_an_unforeseen_error_costs_its_file(
    upscale: Upscale, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In computing, in encoding and in reading: the run goes on and names the file."""
    for name in ("a", "b", "c"):
        shutil.copy(photo, tmp_path / f"{name}.jpg")

    def fails_for_second(function: Callable[..., object]) -> Callable[..., object]:
        calls = iter(range(100))

        def patched(*arguments: object) -> object:
            if next(calls) == 1:
                raise ZeroDivisionError("of a kind that nobody thought of")
            return function(*arguments)

        return patched

    places = ("images.photo.Photo.with_color", "jobs.preflight.read_photo", "jobs.run.write_photo")
    for number, place in enumerate(places):
        original = pkgutil.resolve_name(f"varsr.{place}")
        monkeypatch.setattr(f"varsr.{place}", fails_for_second(original))
        result = upscale("a.jpg", "b.jpg", "c.jpg", "-d", f"out{number}")
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        assert result.code == 1, result.err
        assert len(lines(result)) == 2
        assert ".jpg: Unexpected error (ZeroDivisionError" in result.err
        assert "Traceback" not in result.err


@pytest.mark.skipif(not Path("/proc/self/syscall").exists(), reason="needs to see what a process waits for")
@pytest.mark.parametrize("source", ["-", "pipe.jpg"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_waiting_for_input_ends_at_once(
    environment: dict[str, str], nano: Path, tmp_path: Path, source: str, number: signal.Signals, code: int
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    process = subprocess.Popen(
        [sys.executable, "-m", "varsr", "upscale", source, "-o", "out.png", "-m", str(nano)],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    writer = None  # which writes nothing
    while not (_reads_standard_input(process.pid) or writer):
        assert time.monotonic() < deadline
        time.sleep(0.05)
        writer = _writer_of(tmp_path / "pipe.jpg")
    time.sleep(0.2)
    process.send_signal(number)
    began = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, ""), err
    assert time.monotonic() - began < 5
    assert "Traceback" not in err
    assert "Fatal" not in err
    if writer:
        os.close(writer)


def _reads_standard_input(process: int) -> bool:
    """True while a thread of the process waits in a read of standard input."""
    for task in Path(f"/proc/{process}/task").glob("*/syscall"):
        with contextlib.suppress(OSError):
            if task.read_text().startswith("0 0x0 "):
                return True
    return False


def _writer_of(pipe: Path) -> int | None:
    """The pipe opened for writing, once somebody reads it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


@pytest.mark.parametrize("variables", [{"LC_ALL": "POSIX", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "latin-1"}])
def test_a_poor_locale_and_a_folder_that_is_gone(
    environment: dict[str, str], nano: Path, photo: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "gone").mkdir()
    target = tmp_path / "grün.jpg"
    script = 'cd gone && rmdir ../gone && exec "$@"'
    command = [sys.executable, "-m", "varsr"]
    for arguments in (["upscale", str(photo), "-o", os.fsencode(target), "-m", str(nano)], ["models"]):
        (tmp_path / "gone").mkdir(exist_ok=True)
        result = subprocess.run(
            ["sh", "-c", script, "sh", *command, *arguments],
            env=environment | variables | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
            cwd=tmp_path,
            capture_output=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        assert b"Traceback" not in result.stderr
    assert target.exists()


def test_a_name_with_backticks_is_shown_as_it_is(varsr: Run, tmp_path: Path, nano: Path) -> None:
    """Backticks stand for options in advice, not in the name of a file."""
    (tmp_path / "a`tile_overlap`.jpg").write_bytes(b"no image")
    result = varsr("upscale", "a`tile_overlap`.jpg", "-m", nano)
    assert result.returncode == 4
    assert "a`tile_overlap`.jpg" in result.stderr
