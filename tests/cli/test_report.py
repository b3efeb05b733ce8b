"""Lines of --json and --report hold to their schemas, and a report keeps what it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image

from tests.conftest import Run

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def schema(name: str) -> Any:
    found = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return found


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.effect_noise((20, 16), 80).save(folder / "a.png")
    Image.effect_noise((20, 16), 80).save(folder / "b.png")
    (folder / "damaged.png").write_bytes(b"no image")
    return folder


def test_lines_hold_to_their_schemas(varsr: Run, album: Path, nano: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "out" / "b_x2.png")
    result = varsr("upscale", album, "-d", "out", "-s", "2", "-m", nano, "--skip-existing", "--json", "--report",
                   "report.jsonl")  # fmt: skip
    assert result.returncode == 1
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    reported = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert sorted(one["status"] for one in printed) == ["done", "failed", "skipped"]
    for line in printed:
        jsonschema.validate(line, schema("json"))
    for line, same in zip(reported, printed, strict=True):
        jsonschema.validate(line, schema("report"))
        assert {k: v for k, v in line.items() if k not in ("schema", "time")} == same
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(printed[0] | {"novelty": 1}, schema("json"))


def test_a_report_grows_by_whole_lines(varsr: Run, album: Path, nano: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    report.write_text('{"mine": 1}\n')
    varsr("upscale", album / "a.png", "-d", "out", "-s", "2", "-m", nano, "--report", report, "-q")
    varsr("upscale", album / "b.png", "-d", "out", "-s", "2", "-m", nano, "--report", report, "-q")
    lines = report.read_text().splitlines()
    assert lines[0] == '{"mine": 1}'
    assert [json.loads(line)["input"][-5:] for line in lines[1:]] == ["a.png", "b.png"]


def test_a_report_that_cannot_be_written_is_named_before_any_work(varsr: Run, album: Path, nano: Path) -> None:
    result = varsr("upscale", album, "-d", "out", "-m", nano, "--report", "missing/report.jsonl")
    assert result.returncode == 5
    assert "The report missing/report.jsonl could not be written" in result.stderr
    assert result.stdout == ""
