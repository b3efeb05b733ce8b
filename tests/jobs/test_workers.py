"""Several workers: the same bytes as one, and nothing lost when one dies, stops or is interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from tests.disk import small_disk
from tests.golden import DATA
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
PHOTOS = 60
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small photographs of several sizes."""
    folder = tmp_path_factory.mktemp("album")
    with Image.open(DATA / "dandelion.jpg") as photograph:
        for number in range(PHOTOS):
            side = 30 + number // 2
            photograph.crop((number, number, number + side, number + side)).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture
def start(environment: dict[str, str], nano: Path, tmp_path: Path) -> Iterator[Start]:
    """Start the program in the background; what is still there at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str | Path, **more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "varsr", "upscale", "-m", str(nano), "-s", "1", "--dtype", "fp32"]
        command += map(str, arguments)
        settings = environment | more
        process = subprocess.Popen(
            command, cwd=tmp_path, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def children(process: int) -> list[int]:
    """Worker processes of a process, without Python's tracker of resources."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            command = (path.parent / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if parent == process and b"spawn_main" in command:
            found.append(int(path.parent.name))
    return found


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def feed(pipe: Path, data: bytes, process: subprocess.Popen[str]) -> None:
    """Write into a named pipe as soon as somebody reads from it, or give up when the process has ended."""
    while process.poll() is None:
        with suppress(OSError):  # nobody reads yet
            handle = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            os.write(handle, data)
            os.close(handle)
            return
        time.sleep(0.05)


def names(folder: Path) -> list[str]:
    """Names of the files in a folder; workers may be renaming them, so that they cannot be read yet."""
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def test_two_workers_write_the_same_bytes_as_one(start: Start, album: Path, tmp_path: Path) -> None:
    one = start(album, "-d", "one", "-q", OMP_NUM_THREADS="1")
    assert one.wait(120) == 0
    two = start(album, "-d", "two", "--workers", "2", "--device", "cpu", OMP_NUM_THREADS="1")
    output, error = two.communicate(timeout=120)
    assert two.returncode == 0, error
    assert len(set(output.splitlines())) == PHOTOS
    assert f"{PHOTOS} done" in error
    assert results(tmp_path / "one") == results(tmp_path / "two")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_or_stops_costs_nothing(
    start: Start, album: Path, tmp_path: Path, number: signal.Signals
) -> None:
    settings = {"OMP_NUM_THREADS": "1", "VARSR_WORKER_PATIENCE": "10"}  # longer than a worker takes to start
    process = start(album, "-d", "out", "--workers", "2", "--device", "cpu", "-s", "4", **settings)
    wait_for(lambda: len(names(tmp_path / "out")) >= 3)
    victim = children(process.pid)[0]
    os.kill(victim, number)
    output, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert len(output.splitlines()) == len(set(output.splitlines())) == PHOTOS
    assert sorted(results(tmp_path / "out")) == [f"{number:02}_x4.png" for number in range(PHOTOS)]
    assert not is_alive(victim)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_do_not_outlive_their_parent(start: Start, album: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = start(album, "-d", "out", "--workers", "2", "--device", "cpu", "-s", "4", OMP_NUM_THREADS="1")
    wait_for(lambda: len(names(tmp_path / "out")) >= 2)
    workers = children(process.pid)
    assert len(workers) == 2
    process.send_signal(number)
    process.wait(30)
    wait_for(lambda: not any(map(is_alive, workers)), 20)
    for name in results(tmp_path / "out"):
        assert not name.startswith("."), "nothing unfinished is left"
        with Image.open(tmp_path / "out" / name) as image:
            image.load()


def test_an_interruption_of_workers_that_start_is_silent(start: Start, album: Path) -> None:
    """As Ctrl+C is, which reaches every process of a terminal."""
    process = start(album, "-d", "out", "--workers", "2", "--device", "cpu")
    wait_for(lambda: len(children(process.pid)) == 2)
    first = children(process.pid)
    time.sleep(0.4)  # of about a second in which they import their modules
    for worker in first:
        os.kill(worker, signal.SIGINT)
    wait_for(lambda: not any(map(is_alive, first)))
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Traceback" not in error


def test_a_missing_model_is_one_line(start: Start, album: Path) -> None:
    process = start(album, "-d", "out", "--workers", "2", "--device", "cpu", "--model", "missing.safetensors")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 3
    assert error.count("missing.safetensors does not exist") == 1
    assert "Traceback" not in error


def test_a_model_of_the_wrong_kind_is_one_line(start: Start, album: Path) -> None:
    process = start(album, "-d", "out", "--workers", "2", "--device", "cpu", "--model", "varsr-c2i")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert error.count("Use: varsr generate") == 1
    assert "Traceback" not in error


def test_a_model_that_is_deleted_while_workers_start_is_one_line(
    start: Start, album: Path, nano: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.safetensors"
    shutil.copy(nano, model)
    process = start(album, "-d", "out", "--workers", "2", "--device", "cpu", "-m", "model.safetensors")
    wait_for(lambda: children(process.pid))
    model.unlink()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 3
    assert error.count("model.safetensors does not exist") == 1
    assert "Traceback" not in error
    assert results(tmp_path / "out") == {}


def test_a_full_disk_costs_what_does_not_fit(start: Start, album: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        process = start(album, "-d", str(disk), "--workers", "2", "--device", "cpu", OMP_NUM_THREADS="1")
        output, error = process.communicate(timeout=120)
        written = sorted(path.name for path in disk.iterdir())
        for name in written:
            with Image.open(disk / name) as image:
                image.load()
    assert process.returncode == 1
    assert 0 < len(written) < PHOTOS
    assert sorted(Path(line).name for line in output.splitlines()) == written
    assert f"{PHOTOS - len(written)} failed" in error
    assert "Traceback" not in error


def replace_by_file(folder: Path) -> None:
    """Put an empty file where a folder is, which a worker may make again meanwhile."""
    for attempt in range(100):
        folder.rename(folder.with_name(f"gone-{attempt}"))
        with suppress(FileExistsError):
            folder.open("x").close()
            return
    raise AssertionError("the folder comes back")


def test_a_folder_that_vanishes_fails_what_is_left(start: Start, album: Path, tmp_path: Path) -> None:
    """The last input is a pipe, so that work is left however fast the machine is."""
    os.mkfifo(tmp_path / "late.png")
    process = start(album, "late.png", "-d", "out", "--workers", "2", "--device", "cpu", OMP_NUM_THREADS="1")
    wait_for(lambda: len(names(tmp_path / "out")) >= 2)
    replace_by_file(tmp_path / "out")
    feed(tmp_path / "late.png", (album / "00.png").read_bytes(), process)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in error
    assert "late.png: " in error


def test_a_single_image_needs_no_worker_and_may_be_a_stream(
    environment: dict[str, str], album: Path, nano: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "varsr", "upscale", "-", "-o", "one.png", "-m", str(nano), "-s", "1"]
    with (album / "00.png").open("rb") as image:
        done = subprocess.run(
            [*command, "--workers", "2", "--device", "cpu"],
            stdin=image, cwd=tmp_path, env=environment, capture_output=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "one.png") as result:
        assert result.size == (30, 30)


def test_a_patience_that_is_not_a_number_is_named(start: Start, album: Path) -> None:
    process = start(album, "-d", "out", "--workers", "2", "--device", "cpu", VARSR_WORKER_PATIENCE="soon")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "VARSR_WORKER_PATIENCE is 'soon'" in error


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--workers", "none"], 2, "is not a number of workers"),
        (["--workers", "0"], 2, "is not a number of workers"),
        (["--device", "cpu,quantum"], 2, "'quantum' is not a device"),
        (["--device", "all"], 6, "No CUDA device"),
        (["--device", "cpu,cpu", "--workers", "2"], 2, "share the cores of a CPU"),
    ],
)
def test_crews_that_cannot_be(start: Start, album: Path, arguments: list[str], code: int, message: str) -> None:
    if "all" in arguments:
        import torch

        if torch.cuda.is_available():
            pytest.skip("needs a machine without CUDA")
    process = start(album, "-d", "out", *arguments)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert message in error
