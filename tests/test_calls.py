"""Calls run one way: no module calls up into a room that stands above its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RANKS = (
    "cli",
    "comparison",
    "evaluation",
    "jobs",
    "upscaling generation",
    "weights",
    "runtime images video",
    "model tiling storage",
    "errors choices",
)
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms.split()}
TRACE = """
import inspect, json, sys, threading
from pathlib import Path
import varsr
ROOT = str(Path(varsr.__file__).parent) + "/"
calls = set()

def named(frame):
    file = frame.f_code.co_filename
    return file[len(ROOT):].removesuffix(".py") if file.startswith(ROOT) and "/" in file[len(ROOT):] else None

def trace(frame, event, _):
    # Generators and iterators are pulled: what runs in them is asked for by whoever takes from them.
    code = frame.f_code
    if event != "call" or code.co_flags & inspect.CO_GENERATOR or code.co_name in ("__next__", "<module>"):
        return
    callee, caller = named(frame), frame.f_back
    while caller is not None and named(caller) is None:
        caller = caller.f_back
    if callee and caller is not None:
        calls.add((named(caller), callee, code.co_name))

threading.setprofile(trace)
sys.setprofile(trace)
from varsr.cli.app import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    exit_code = end.code
finally:
    sys.setprofile(None)
print(json.dumps([exit_code, sorted(calls)]))
"""


@pytest.fixture
def traced(environment: dict[str, str], photo: Path, tmp_path: Path, nano: Path) -> list[tuple[str, str, str]]:
    """The calls between modules of a run over a folder with several kinds of files, one of them damaged."""
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    faults = Path(__file__).parent / "data" / "faults"
    inputs = [photo, tmp_path / "bad.jpg", *(faults / name for name in ("sprite.gif", "grey12.tif", "sbit10.png"))]
    arguments = ["upscale", *map(str, inputs), "-d", "out", "-m", str(nano), "--color-fix", "wavelet", "-v"]
    result = subprocess.run(
        [sys.executable, "-c", TRACE, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    code, calls = json.loads(result.stdout.splitlines()[-1])
    assert code == 1, result.stderr
    assert len(list((tmp_path / "out").iterdir())) == 4
    return [tuple(call) for call in calls]


def test_no_call_goes_up(traced: list[tuple[str, str, str]]) -> None:
    rooms = {(caller.split("/")[0], callee.split("/")[0]) for caller, callee, _ in traced}
    assert {("cli", "jobs"), ("jobs", "upscaling"), ("upscaling", "runtime"), ("runtime", "model")} <= rooms
    assert [call for call in traced if RANK[call[0].split("/")[0]] > RANK[call[1].split("/")[0]]] == []
