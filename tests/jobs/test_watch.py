"""A watched folder: every good file is done once, and none is lost, whatever happens to the program."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from tests.disk import small_disk
from tests.golden import DATA
from tests.in_process import run
from tests.waiting import wait_for
from varsr.errors import InputError, RequestError
from varsr.jobs.inbox import Arrivals, Attempts, Places, free_name, move, write_reason

Start = Callable[..., "subprocess.Popen[str]"]
GOOD, DAMAGED = 100, 5


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def start(environment: dict[str, str], nano: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "varsr", "watch", "inbox", "-d", "out", "-m", str(nano), "-s", "1"]
        command += ["--settle", "0.4", "--dtype", "fp32", *map(str, arguments)]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def photograph(path: Path, number: int) -> None:
    with Image.open(DATA / "dandelion.jpg") as image:
        image.crop((number, number, number + 40, number + 30)).save(path)


def test_every_good_file_is_done_once(start: Start, inbox: Path, tmp_path: Path) -> None:
    """Copied, moved in and slowly written files, damaged ones among them; the program is killed twice."""
    store = tmp_path / "store"
    store.mkdir()
    for number in range(GOOD):
        photograph(store / f"{number:03}.png", number)
    for number in range(DAMAGED):
        (store / f"damaged{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    watcher = start("--move-done", "done")
    files, slow = sorted(store.iterdir()), []
    for number, path in enumerate(files):
        if number % 3 == 0:
            shutil.copy(path, inbox / path.name)
        elif number % 3 == 1:
            path.rename(inbox / path.name)
        elif number % 21 == 2:
            slow.append((path, (inbox / path.name).open("wb")))
        else:
            shutil.copy(path, inbox / path.name)
        if number in (30, 70):
            wait_for(lambda least=number // 4: len(names(tmp_path / "out")) >= least)  # type: ignore[misc]
            watcher.kill()
            watcher.communicate()
            watcher = start("--move-done", "done")
    for path, file in slow:
        data = path.read_bytes()
        for part in range(4):
            file.write(data[part * len(data) // 4 : (part + 1) * len(data) // 4])
            file.flush()
            time.sleep(0.1)
        file.close()
    wait_for(lambda: len(names(tmp_path / "done")) == GOOD and len(names(inbox / "failed")) >= 2 * DAMAGED)
    watcher.send_signal(signal.SIGTERM)
    _, error = watcher.communicate(timeout=30)
    assert "Traceback" not in error
    assert names(tmp_path / "out") == [f"{number:03}_x1.png" for number in range(GOOD)]
    for name in names(tmp_path / "out"):
        with Image.open(tmp_path / "out" / name) as image:
            assert image.size == (40, 30)
    assert names(tmp_path / "done") == [f"{number:03}.png" for number in range(GOOD)]
    assert names(inbox) == []
    reasons = sorted((inbox / "failed").glob("damaged*.png.txt"))
    assert len(reasons) == DAMAGED
    assert all("damaged" in reason.read_text() for reason in reasons)


def test_inputs_may_stay_and_are_not_done_again(start: Start, inbox: Path, tmp_path: Path) -> None:
    photograph(inbox / "a.png", 1)
    (inbox / "link.png").symlink_to(inbox / "a.png")
    watcher = start("--poll")
    wait_for(lambda: names(tmp_path / "out") == ["a_x1.png"])
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "out/a_x1.png\n"  # the file alone is there before its line
    watcher.send_signal(signal.SIGINT)
    output, _ = watcher.communicate(timeout=30)
    assert (output, watcher.returncode) == ("", 130)
    made = (tmp_path / "out" / "a_x1.png").stat().st_mtime_ns
    watcher = start()
    photograph(inbox / "b.png", 2)
    wait_for(lambda: "b_x1.png" in names(tmp_path / "out"))
    photograph(inbox / "a.png", 3)  # another image of the same name
    wait_for(lambda: "a_x1-2.png" in names(tmp_path / "out"))
    assert (tmp_path / "out" / "a_x1.png").stat().st_mtime_ns == made
    assert names(inbox) == ["a.png", "b.png", "link.png"]


def test_a_full_disk_is_waited_for(start: Start, inbox: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "out", "64k") as disk:
        with suppress(OSError):
            (disk / "filler").write_bytes(bytes(100_000))
        photograph(inbox / "a.png", 1)
        watcher = start("--failed", "failed")
        said: list[str] = []
        errors = watcher.stderr
        assert errors is not None
        threading.Thread(target=lambda: said.extend(iter(errors.readline, "")), daemon=True).start()
        wait_for(lambda: "It is tried again in 2 s." in "".join(said))
        assert watcher.poll() is None
        assert names(inbox) == ["a.png"]
        (disk / "filler").unlink()
        wait_for(lambda: names(disk) == ["a_x1.png"])


def test_what_ends_the_process_is_not_tried_for_ever(start: Start, inbox: Path, tmp_path: Path) -> None:
    """The journal of attempts remembers a file at which the process ended three times."""
    photograph(inbox / "a.png", 1)
    photograph(inbox / "b.png", 2)
    attempts = Attempts(inbox / "failed")
    for _ in range(3):
        attempts.begin([Path("a.png")])
    start()
    wait_for(lambda: names(tmp_path / "out") == ["b_x1.png"] and "a.png.txt" in names(inbox / "failed"))
    assert "3 attempts ended with the process" in (inbox / "failed" / "a.png.txt").read_text()


def test_what_is_skipped_stays(start: Start, inbox: Path, tmp_path: Path) -> None:
    photograph(inbox / "a.png", 1)
    Image.effect_noise((90, 30), 50).save(inbox / "wide.png")
    start("--move-done", "done", "--skip-larger", "50")
    wait_for(lambda: names(tmp_path / "done") == ["a.png"] and names(inbox / "failed") == [".attempts.json"])
    assert names(inbox) == ["wide.png"]
    assert names(tmp_path / "out") == ["a_x1.png"]


def test_what_is_left_unfinished_is_cleared(start: Start, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".varsr-4194303-abc.png").write_bytes(b"half")
    photograph(inbox / "a.png", 1)
    start()
    wait_for(lambda: names(tmp_path / "out") == ["a_x1.png"])


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["inbox", "-d", "inbox"], "would be taken for an input", 2),
        (["inbox", "-d", "inbox/out", "-r"], "would be taken for an input", 2),
        (["inbox", "-d", "out", "--move-done", "inbox/done", "-r"], "would be taken for an input", 2),
        (["absent", "-d", "out"], "is not a folder", 4),
        (["inbox", "-d", "out", "-m", "varsr-c2i"], "Use: varsr generate", 2),
    ],
)
def test_folders_that_cannot_be(
    environment: dict[str, str], inbox: Path, tmp_path: Path, arguments: list[str], message: str, code: int
) -> None:
    command = [sys.executable, "-m", "varsr", "watch", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_excluded_folders_may_lie_in_the_inbox(inbox: Path) -> None:
    Places(inbox, inbox / "out", inbox / "failed", inbox / "done", (inbox / "out", inbox / "done"), recursive=True)
    Places(inbox, inbox / "out", inbox / "failed")
    with pytest.raises(RequestError):
        Places(inbox, inbox / "out", inbox / "failed", recursive=True)


def test_a_growing_file_is_not_settled(inbox: Path, tmp_path: Path) -> None:
    now = [0.0]
    arrivals = Arrivals(Places(inbox, tmp_path / "out", inbox / "failed"), 2, lambda: now[0])
    (inbox / "a.png").write_bytes(b"1")
    seen = []
    for step in range(8):
        now[0] = float(step)
        if step < 3:
            with (inbox / "a.png").open("ab") as file:
                file.write(b"more")
        seen.append(bool(arrivals.settled()))
    assert seen == [False, False, False, False, True, True, True, True]
    assert not arrivals.waiting
    arrivals.take(inbox / "a.png")
    assert arrivals.settled() == []
    (inbox / "a.png").write_bytes(b"anew")
    assert (arrivals.settled(), arrivals.waiting) == ([], True)


def test_moving_to_another_file_system(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        (tmp_path / "a.txt").write_text("kept")
        os.utime(tmp_path / "a.txt", (1, 1))
        assert move(tmp_path / "a.txt", disk / "deep" / "a.txt") == disk / "deep" / "a.txt"
        assert ((disk / "deep" / "a.txt").read_text(), (disk / "deep" / "a.txt").stat().st_mtime) == ("kept", 1)
        assert not (tmp_path / "a.txt").exists()
        (tmp_path / "a.txt").write_text("another")
        assert move(tmp_path / "a.txt", disk / "deep" / "a.txt").name == "a-2.txt"
    assert free_name(tmp_path / "b.txt", [tmp_path / "b.txt"]).name == "b-2.txt"
    write_reason(tmp_path / "c.png", InputError("It is damaged.", "Copy it again."))
    assert (tmp_path / "c.png.txt").read_text() == "It is damaged. Copy it again.\n"


@pytest.mark.parametrize("given", ["s3://photos/out", ""])
def test_results_go_to_a_folder_of_this_machine(inbox: Path, given: str) -> None:
    before = sorted(Path().iterdir())
    result = run("watch", inbox, "-d", given)
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert sorted(Path().iterdir()) == before
