"""Folders, streams and resumption, with the real program."""

from __future__ import annotations

import io
import json
import os
import re
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


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Eight photographs of several kinds in a tree, one of them damaged."""
    folder = tmp_path / "album"
    (folder / "deep").mkdir(parents=True)
    with Image.open(DATA / "dandelion.jpg") as image:
        for number in range(4):
            part = image.crop((number * 40, 0, number * 40 + 24, 20))
            part.save(folder / f"{number}.jpg")
            part.save(folder / "deep" / f"odd name {number}\n.png")
    (folder / "2.jpg").write_bytes(b"damaged")
    return folder


def whole(folder: Path) -> dict[str, bytes]:
    """The pixels of every image below a folder, each of which must be whole."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with Image.open(path) as image:
            found[str(path.relative_to(folder))] = image.tobytes()
    return found


def test_a_tree(varsr: Run, nano: Path, album: Path, tmp_path: Path) -> None:
    result = varsr("upscale", album, "-r", "-d", tmp_path / "out", "-s", "2", "-m", nano)
    assert result.returncode == 1
    assert len(whole(tmp_path / "out")) == 7
    assert str(tmp_path / "out" / "0_x2.jpg") in result.stdout.splitlines()
    assert "7 done, 0 skipped, 1 failed" in result.stderr
    assert "2.jpg" in result.stderr
    assert "Traceback" not in result.stderr


def test_json_lines(varsr: Run, nano: Path, album: Path, tmp_path: Path) -> None:
    result = varsr("upscale", album, "-d", tmp_path / "out", "--json", "--quiet", "--seed", "3", "-m", nano)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["status"] for line in lines] == ["done", "done", "failed", "done"]
    assert lines[0]["input_size"] == [24, 20]
    assert lines[0]["output_size"] == [96, 80]
    assert lines[0]["seed"] == 3
    assert lines[2]["error"]
    assert {Path(line["input"]).name for line in lines} == {"0.jpg", "1.jpg", "2.jpg", "3.jpg"}


def test_an_interrupted_run_is_resumed(varsr: Run, nano: Path, album: Path, tmp_path: Path) -> None:
    reference, out = tmp_path / "reference", tmp_path / "out"
    varsr("upscale", album, "-r", "-d", reference, "-s", "2", "-m", nano)
    out.mkdir()
    (out / "0_x2.jpg").write_bytes((reference / "0_x2.jpg").read_bytes())
    result = varsr("upscale", album, "-r", "-d", out, "-s", "2", "-m", nano, "--skip-existing")
    assert "6 done, 1 skipped, 1 failed" in result.stderr
    assert whole(out) == whole(reference)


def test_what_exists_is_left_alone(varsr: Run, nano: Path, album: Path) -> None:
    (album / "2.jpg").unlink()
    first = varsr("upscale", album, "-s", "2", "-m", nano)
    assert first.returncode == 0, first.stderr
    again = varsr("upscale", album, "-s", "2", "-m", nano)
    assert again.returncode == 1
    assert again.stderr.count("exists already") >= 3
    assert varsr("upscale", album, "-s", "2", "-m", nano, "--overwrite").returncode == 0


def test_stopping_at_the_first_failure(varsr: Run, nano: Path, album: Path, tmp_path: Path) -> None:
    result = varsr("upscale", album, "-d", tmp_path / "out", "-m", nano, "--fail-fast")
    assert result.returncode == 1
    assert not (tmp_path / "out" / "3_x4.jpg").exists()


def test_a_dry_run_does_nothing(varsr: Run, album: Path, tmp_path: Path) -> None:
    before = sorted(album.rglob("*"))
    result = varsr("upscale", album, "-r", "--dry-run", "-m", "not even looked at")
    assert result.returncode == 0
    assert len(result.stdout.split(" -> ")) == 9
    assert sorted(album.rglob("*")) == before


def test_shards_together_do_all(varsr: Run, nano: Path, album: Path, tmp_path: Path) -> None:
    for shard in ("1/3", "2/3", "3/3"):
        varsr("upscale", album, "-r", "-d", tmp_path / "out", "-s", "2", "-m", nano, "--shard", shard)
    assert len(whole(tmp_path / "out")) == 7


def test_an_output_is_never_the_input_by_accident(varsr: Run, nano: Path, photo: Path) -> None:
    before = photo.read_bytes()
    result = varsr("upscale", photo, "-o", photo, "-m", nano)
    assert result.returncode == 5
    assert photo.read_bytes() == before


def test_collisions_are_found_before_the_work(varsr: Run, album: Path, tmp_path: Path) -> None:
    (album / "1.png").write_bytes((album / "1.jpg").read_bytes())
    result = varsr("upscale", album, "-d", tmp_path / "out", "-f", "webp", "-m", "not even looked at")
    assert result.returncode == 5
    assert "both write" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["a.jpg", "b.jpg", "-o", "c.png"], ["-", "-f", "png"], ["a.jpg", "-o", "-"]])
def test_requests_that_contradict_themselves(varsr: Run, arguments: list[str]) -> None:
    assert varsr("upscale", *arguments).returncode == 2


def test_too_many_pixels(varsr: Run, nano: Path, photo: Path) -> None:
    result = varsr("upscale", photo, "-m", nano, "--max-pixels", "1000")
    assert result.returncode == 4
    assert "40 x 30" in result.stderr


Pipe = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def pipe(environment: dict[str, str], tmp_path: Path) -> Pipe:
    """Run a line of shell in which `varsr` is the program."""
    script = tmp_path / "bin" / "varsr"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m varsr "$@"\n')
    script.chmod(0o755)

    def run(line: str, **more: str) -> subprocess.CompletedProcess[bytes]:
        path = f"{script.parent}:{environment['PATH']}"
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env=environment | more | {"PATH": path},
            cwd=tmp_path,
            capture_output=True,
        )

    return run


def test_a_pipeline(pipe: Pipe, nano: Path, photo: Path) -> None:
    result = pipe("cat photo.jpg | varsr upscale - -o - --format png", VARSR_MODEL=str(nano))
    assert result.returncode == 0, result.stderr
    with Image.open(io.BytesIO(result.stdout)) as image:
        assert (image.format, image.size) == ("PNG", (160, 120))


def test_a_reader_that_goes_away(pipe: Pipe, nano: Path, photo: Path) -> None:
    result = pipe("varsr upscale photo.jpg -o - --format bmp --scale 4 | head -c 10 >/dev/null", VARSR_MODEL=str(nano))
    assert b"Traceback" not in result.stderr
    assert b"Exception" not in result.stderr


def test_names_from_find(pipe: Pipe, nano: Path, album: Path, tmp_path: Path) -> None:
    line = "find album -name '*.png' -print0 | xargs -0 varsr upscale -d out -s 2"
    assert pipe(line, VARSR_MODEL=str(nano)).returncode == 0
    assert len(whole(tmp_path / "out")) == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_run_that_is_stopped_leaves_whole_files_and_can_go_on(
    environment: dict[str, str], varsr: Run, nano: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    with Image.open(DATA / "dandelion.jpg") as image:
        for index in range(12):
            image.crop((index * 10, 0, index * 10 + 24, 24)).save(folder / f"{index:02}.png")
    os.mkfifo(tmp_path / "late.png")  # which never comes, so that the run does not end by itself
    command = [sys.executable, "-m", "varsr", "upscale", str(folder), "-d", str(out), "-m", str(nano)]
    command += ["--skip-existing"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "late.png")], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while len(list(out.glob("*_x4.png")) if out.exists() else []) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert b"Traceback" not in err
    finished = [path for path in out.iterdir() if not path.name.startswith(".")]
    assert 2 <= len(finished) <= 12
    for path in finished:
        with Image.open(path) as image:
            image.load()
    if number != signal.SIGKILL:
        assert len(finished) == len(list(out.iterdir()))  # no temporary file is left
    assert varsr(*command[3:]).returncode == 0
    assert len(list(out.glob("*_x4.png"))) == 12


def test_a_list_of_files_beside_arguments(varsr: Run, nano: Path, tmp_path: Path) -> None:
    for name in ("in/a.png", "in/deep/b c.png", "in/deep/new\nline.png", "d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((16, 16), 80).save(path)
    (tmp_path / "names").write_bytes(b"in/a.png\0in/deep/b c.png\0in/deep/new\nline.png\0in/missing.png\0")
    result = varsr(
        "upscale", "d.png", "--files-from", "names", "-0", "--base", "in", "-d", "out", "-s", "2", "-m", nano
    )
    assert result.returncode == 1
    assert "missing.png does not exist" in result.stderr
    made = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")}
    assert made == {"d_x2.png", "a_x2.png", "deep/b c_x2.png", "deep/new\nline_x2.png"}


def test_what_is_large_already_is_skipped(varsr: Run, nano: Path, tmp_path: Path) -> None:
    for name, side in (("small", 20), ("large", 60)):
        Image.effect_noise((side, 10), 80).save(tmp_path / f"{name}.png")
    result = varsr("upscale", "small.png", "large.png", "-m", nano, "-s", "2", "--skip-larger", "50", "--json")
    found = {Path(line["input"]).stem: line for line in map(json.loads, result.stdout.splitlines())}
    assert (found["small"]["status"], found["large"]["status"]) == ("done", "skipped")
    assert found["large"]["notes"] == ["it is longer than 50 px"]
    assert "1 done, 1 skipped" in result.stderr


def test_a_list_on_standard_input(environment: dict[str, str], nano: Path, tmp_path: Path) -> None:
    Image.effect_noise((16, 16), 80).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "varsr", "upscale", "--files-from", "-", "-m", str(nano), "-s", "2", "-q"]
    done = subprocess.run(
        command, input="a.png\n", cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "a_x2.png\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to upscale"),
        (["a.png", "-0"], "about a list"),
        (["--files-from", "names", "-o", "b.png"], "one input"),
        (["--files-from", "missing"], "cannot be read"),
    ],
)
def test_lists_that_cannot_be(varsr: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "names").write_text("a.png\n")
    result = varsr("upscale", *arguments)
    assert result.returncode in (2, 4)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_long_list_is_planned_as_it_is_read(environment: dict[str, str], tmp_path: Path) -> None:
    """The first line comes before the list ends; no torch is imported, and memory stays small."""
    names = tmp_path / "names"
    names.write_text("".join(f"photos/{number % 1000:03}/{number:07}.jpg\n" for number in range(100_000)))
    script = (
        "import re, sys; from varsr.cli.app import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], 'torch' in sys.modules, "
        "file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, "upscale", "--files-from", str(names), "-d", str(tmp_path), "--dry-run"]
    started = time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        until_first = time.monotonic() - started
        lines = sum(1 for _ in process.stdout)
        assert process.stderr is not None
        kilobytes, torch = process.stderr.read().split()[-2:]
    assert first == f"photos/000/0000000.jpg -> {tmp_path}/0000000_x4.jpg\n"
    assert lines == 99_999
    assert until_first < 5, "with the machine at its worst"
    assert (int(kilobytes) < 150_000, torch) == (True, "False")


def test_a_dry_run_estimates_size_and_time(varsr: Run, nano: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for number in range(3):
        Image.effect_noise((1000, 500), 80).save(album / f"{number}.png")
    Image.effect_noise((3000, 10), 80).save(album / "long.png")
    (album / "damaged.png").write_bytes(b"no image")
    plan = ["upscale", "album", "-m", nano, "-s", "1", "-d", "out", "--skip-larger", "2000", "-v"]
    before = varsr(*plan, "--dry-run").stderr
    assert "3 images to upscale, from 1.5 to 1.5 megapixels; 1 left out as larger; 1 cannot be read" in before
    assert "known after a first run" in before
    started = time.monotonic()
    assert varsr(*plan).stderr.count("done,")
    elapsed = time.monotonic() - started
    assert "0 images to upscale" in varsr(*plan, "--dry-run").stderr
    after = varsr(*plan, "--dry-run", "--overwrite").stderr
    found = re.search(r"Time: about (\d+) s", after)
    assert found is not None, after
    assert int(found[1]) <= elapsed
    assert "known after a first run" in varsr(*plan, "--dry-run", "--overwrite", "--cfg", "2").stderr


def test_results_of_other_options_are_named_once(varsr: Run, nano: Path, tmp_path: Path) -> None:
    for suffix in ("jpg", "png", "webp", "tiff", "avif"):
        Image.effect_noise((20, 20), 80).convert("RGB").save(tmp_path / f"{suffix}.{suffix}")
    again = ["upscale", ".", "-m", nano, "-s", "2", "-d", "out", "--skip-existing", "--json"]
    assert varsr(*again).stderr.count("5 done") == 1
    same = varsr(*again)
    assert "other options" not in same.stderr + same.stdout
    other = varsr(*again, "--seed", "7")
    assert other.stderr.count("was made with other options (nano, x2)") == 1
    assert "5 were made with other options" in other.stderr
    assert all(json.loads(line)["notes"] for line in other.stdout.splitlines())
    assert "0 done, 5 skipped" in other.stderr
