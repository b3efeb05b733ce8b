"""Frames of a video: which are computed, how steady they are, and how a run is interrupted and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av", reason="needs PyAV: pip install varsr[video]")

from tests import in_process  # noqa: E402
from tests.conftest import Run  # noqa: E402
from tests.video.clips import TICK, Make, images_of, moving, packets_of, still, times_of  # noqa: E402
from varsr import Upscaler, VideoOptions, upscale_file  # noqa: E402
from varsr.errors import OutputError  # noqa: E402
from varsr.runtime.cpu import usable_cores  # noqa: E402
from varsr.upscaling.still import ChangeDetector  # noqa: E402

SECOND = round(1 / TICK)
SLOW = tuple(n * SECOND // 2 for n in range(30))
"""2 frames a second for 15 s: a segment and a half."""


@pytest.fixture(scope="module")
def upscaler(identity: Path) -> Upscaler:
    return Upscaler.from_pretrained(str(identity), device="cpu", dtype="fp32")


def flicker(images: list[np.ndarray]) -> float:
    """Mean absolute difference of consecutive frames where nothing moves."""
    parts = [image[len(image) // 3 :].astype(float) for image in images]
    return float(np.mean([np.abs(one - other).mean() for one, other in pairwise(parts)]))


def test_a_still_scene_is_steady_and_hardly_computed(tmp_path: Path, upscaler: Upscaler) -> None:
    source = Make(lambda: still(40), options=(("crf", "20"), ("g", "20"))).write(tmp_path / "a.mp4")
    lossless = VideoOptions(codec="ffv1")
    every = VideoOptions(codec="ffv1", reuse=False)
    ours = upscale_file(source, tmp_path / "b.mkv", upscaler, scale=1, video=lossless)
    frame_by_frame = upscale_file(source, tmp_path / "c.mkv", upscaler, scale=1, video=every)
    assert ours.tiles * 3 <= frame_by_frame.tiles
    before = flicker(images_of(source))
    assert before > 0
    assert flicker(images_of(tmp_path / "b.mkv")) <= 1.2 * before
    assert flicker(images_of(tmp_path / "b.mkv")) < flicker(images_of(tmp_path / "c.mkv"))
    after = [image[:12, :30].astype(float) for image in images_of(tmp_path / "b.mkv")]
    moved = [image[:12, :30].astype(float) for image in images_of(source)]
    assert max(np.abs(one - other).mean() for one, other in zip(after, moved, strict=True)) < 3


def test_a_fade_is_not_taken_for_stillness() -> None:
    frames = ChangeDetector()
    scene = np.random.default_rng(0).integers(60, 120, (64, 64, 3)).astype(np.uint8)
    for number in range(60):
        brighter = (scene + number // 2).astype(np.uint8)
        shown = frames.stabilize(brighter, number / 25, is_key=False).pixels
        assert np.abs(shown.astype(int) - brighter).max() <= 1


def test_slow_changes_add_up() -> None:
    """A patch brightens by a step every 4th frame, which no 2 frames show."""
    frames, scene = ChangeDetector(), np.full((64, 64, 3), 80, np.uint8)
    for number in range(100):
        scene[8:16, 8:16] = 80 + number // 4
        shown = frames.stabilize(scene, number / 25, is_key=False).pixels
        assert np.abs(shown.astype(int) - scene).max() <= 3


def test_a_run_that_was_killed_goes_on(
    tmp_path: Path, nano: Path, varsr: Run, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    source = Make(lambda: moving(30), ticks=SLOW, audio=True).write(tmp_path / "a.mp4")
    command = ["upscale", source, "-m", nano, "--scale", "1", "--no-reuse"]
    assert varsr(*command, "-o", tmp_path / "whole.mp4").returncode == 0
    parts = tmp_path / ".b.mp4.varsr-parts"
    with subprocess.Popen(
        [sys.executable, "-m", "varsr", *map(str, command), "-o", str(tmp_path / "b.mp4")],
        env=environment,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while not (parts / "segment-00000.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "b.mp4").exists()
    segment = (parts / "segment-00000.mkv").stat()
    again = varsr(*command, "-o", tmp_path / "b.mp4", "--json")
    assert again.returncode == 0, again.stderr
    assert packets_of(tmp_path / "b.mp4", "video") == packets_of(tmp_path / "whole.mp4", "video")
    assert times_of(tmp_path / "b.mp4") == times_of(source)
    assert segment.st_size > 0
    assert not parts.exists()


def test_segments_of_other_options_are_not_taken(tmp_path: Path, upscaler: Upscaler) -> None:
    source = Make(lambda: moving(3)).write(tmp_path / "a.mp4")
    parts = tmp_path / ".b.mp4.varsr-parts"
    parts.mkdir()
    (parts / "made-of.json").write_text("{}")
    (parts / "segment-00000.mkv").write_bytes(b"of another run")
    note = {"number": 0, "times": [0, 512, 1024], "delay": 0, "tiles": 3, "computed": 3}
    (parts / "segment-00000.json").write_text(json.dumps(note))
    upscale_file(source, tmp_path / "b.mp4", upscaler, scale=1)
    assert len(images_of(tmp_path / "b.mp4")) == 3


@pytest.mark.parametrize(("other", "is_taken"), [("fp32", True), ("bf16", False)])
def test_segments_of_another_precision_are_not_taken(
    tmp_path: Path, identity: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch, other: str, is_taken: bool
) -> None:
    def full_disk(*_: object) -> None:
        raise OutputError("The disk is full.", "Make room.")

    monkeypatch.setattr("varsr.jobs.clip.join", full_disk)
    source = Make(lambda: moving(3)).write(tmp_path / "a.mp4")
    segment = tmp_path / ".b.mp4.varsr-parts/segment-00000.mkv"
    written = []
    for using in (upscaler, Upscaler.from_pretrained(str(identity), device="cpu", dtype=other)):  # type: ignore[arg-type]
        with pytest.raises(OutputError, match="disk is full"):
            upscale_file(source, tmp_path / "b.mp4", using, scale=1)
        written.append(segment.stat().st_mtime_ns)
    assert (written[0] == written[1]) is is_taken


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_length(tmp_path: Path, identity: Path, environment: dict[str, str]) -> None:
    """10 and 60 s of 2 frames a second: the results of 100 frames more would be 130 MB more."""
    peaks = []
    for seconds in (10, 60):
        count = 2 * seconds
        ticks = tuple(n * SECOND // 2 for n in range(count))
        source = Make(partial(still, count, 288, 384), ticks=ticks).write(tmp_path / f"{seconds}.mp4")
        code = (
            "import re, sys; from varsr.__main__ import main; sys.argv = ['varsr', *sys.argv[1:]]\n"
            "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
            r"print(re.search(r'VmHWM:\s+(\d+)', open('/proc/self/status').read())[1], file=sys.stderr)"
        )
        ended = subprocess.run(
            [
                sys.executable,
                "-c",
                code,
                "upscale",
                str(source),
                "-m",
                str(identity),
                *["--scale", "1", "-q", "--video-preset", "ultrafast"],
            ],
            env=environment | {"MALLOC_ARENA_MAX": "2"},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(ended.stderr.split()[-1]))
    assert peaks[1] <= 1.1 * peaks[0], peaks


def test_frames_to_images_and_back(tmp_path: Path, identity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Make(lambda: moving(12)).write(tmp_path / "clip.mp4")
    common = ("-m", identity, "--scale", "1")
    ended = in_process.run("upscale", "clip.mp4", "-d", "frames", *common)
    assert ended.code == 0, ended.err
    assert in_process.lines(ended) == ["frames"]
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"clip_{n:06}.png" for n in range(1, 13)]
    (tmp_path / "frames/clip_000005.png").unlink()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "frames").iterdir()}
    refused = in_process.run("upscale", "clip.mp4", "-d", "frames", *common)
    assert (refused.code, "exists already" in refused.err) == (5, True)
    again = in_process.run("upscale", "clip.mp4", "-d", "frames", "--skip-existing", *common)
    assert again.code == 0, again.err
    assert all(path.stat().st_mtime_ns == at for path, at in times.items())
    back = in_process.run("upscale", "frames", "--fps", "24", "-o", "back.mkv", "--video-codec", "ffv1", *common)
    assert back.code == 0, back.err
    assert [float(time) for time in times_of(tmp_path / "back.mkv")] == pytest.approx(
        [n / 24 for n in range(12)], abs=1e-3
    )
    with Image.open(tmp_path / "frames/clip_000005.png") as image:
        frame = np.asarray(image).astype(int)
    assert np.abs(images_of(tmp_path / "back.mkv")[4] - frame).mean() < 3
    assert "--fps" in in_process.run("upscale", "frames", "-o", "b.mp4", *common).err


def test_folders_hold_videos_too(tmp_path: Path, identity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    Make(lambda: moving(3)).write(tmp_path / "in/a.mp4")
    Make(lambda: moving(3)).write(tmp_path / "in/b.mkv")
    Image.fromarray(next(moving(1))).save(tmp_path / "in/c.png")
    (tmp_path / "in/d.mov").write_bytes(b"not a video")
    ended = in_process.run("upscale", "in", "-d", "out", "-m", identity, "--scale", "1", "--json")
    assert ended.code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_x1.mp4", "b_x1.mkv", "c_x1.png"]
    found = {Path(row["input"]).name: row for row in map(json.loads, in_process.lines(ended))}
    assert found["d.mov"]["status"] == "failed"
    assert "cannot be read as a video" in found["d.mov"]["error"]
    assert found["a.mp4"]["notes"][0].startswith("3 frames")
    again = in_process.run("upscale", "in", "-d", "out", "-m", identity, "--scale", "1", "--skip-existing")
    assert "3 skipped, 1 failed" in again.err


def test_long_runs_are_announced_and_confirmed(tmp_path: Path, nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("varsr.cli.video.LONG", 0.001)
    source = Make(lambda: moving(3)).write(tmp_path / "a.mp4")
    refused = in_process.run("upscale", source, "-m", nano, "--scale", "1")
    assert refused.code == 2
    assert "3 frames, at most" in refused.err
    assert "on disk" in refused.err
    assert "--yes" in refused.err
    assert not (tmp_path / "a_x1.mp4").exists()
    assert in_process.run("upscale", source, "-m", nano, "--scale", "1", "--yes").code == 0


def test_without_what_reads_videos(tmp_path: Path, nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Make(lambda: moving(1)).write(tmp_path / "a.mp4")
    for module in ("varsr.jobs.preflight", "varsr.cli.video"):
        monkeypatch.setattr(f"{module}.has_video", lambda: False)
    ended = in_process.run("upscale", source, "-m", nano)
    assert ended.code == 4
    assert 'pip install "varsr[video]"' in ended.err


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1:30", 90), ("0:01:30.5", 90.5), ("0:10", 10)])
def test_times(text: str, seconds: float) -> None:
    from varsr.cli.video import seconds_in

    assert seconds_in(text) == seconds


def test_a_local_run_does_not_load_what_reads_videos(environment: dict[str, str], nano: Path, photo: Path) -> None:
    code = (
        "import sys; from varsr.__main__ import main; sys.argv = ['varsr', *sys.argv[1:]]\n"
        "try: main()\nexcept SystemExit: pass\nassert 'av' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code, "upscale", str(photo), "-m", str(nano), "-q"],
        env=environment | {"PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
    )


def test_workers_share_out_segments(tmp_path: Path, nano: Path, varsr: Run) -> None:
    """The frames are those of one process with as many threads as each worker has."""
    source = Make(lambda: moving(30), ticks=SLOW, audio=True).write(tmp_path / "a.mp4")
    command = ["upscale", source, "-m", nano, "--scale", "1", "--video-codec", "ffv1"]
    alone = varsr(*command, "-o", tmp_path / "alone.mkv", OMP_NUM_THREADS=str(max(1, usable_cores() // 2)))
    shared = varsr(*command, "-o", tmp_path / "shared.mkv", "--workers", "2", "--json")
    assert (alone.returncode, shared.returncode) == (0, 0), shared.stderr
    assert packets_of(tmp_path / "alone.mkv", "video") == packets_of(tmp_path / "shared.mkv", "video")
    assert packets_of(tmp_path / "alone.mkv", "audio") == packets_of(tmp_path / "shared.mkv", "audio")
    assert json.loads(shared.stdout)["notes"][0].startswith("30 frames")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "alone.mkv", "shared.mkv"]


def test_a_dry_run_counts_frames(tmp_path: Path, nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARSR_CACHE", str(tmp_path / "cache"))
    source = Make(lambda: moving(7)).write(tmp_path / "a.mp4")
    ended = in_process.run("upscale", source, "-m", nano, "--dry-run")
    assert in_process.lines(ended) == [f"{source} -> {tmp_path}/a_x4.mp4"]
    assert "7 frames, and about" in ended.err
    assert "0 images" not in ended.err
    other = in_process.run("upscale", source, "-m", nano, "--dry-run", "-d", tmp_path / "out", "--format", "mkv")
    assert in_process.lines(other) == [f"{source} -> {tmp_path}/out/a_x4.mkv"]
