"""varsr bench, as a process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Run
from varsr.evaluation.benchmark import Timing
from varsr.tiling.grid import plan_tiles


def test_figures_as_json(varsr: Run, nano: Path) -> None:
    result = varsr("bench", "-m", nano, "--batch", "1,3", "--runs", "2", "--size", "100x60", "--json", "-q")
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert report["tile_side"] == 32
    assert report["tiles"] == report["windows"] == 12, "of 13 x 8 cells, in tiles of four that share one"
    assert [batch["tiles"] for batch in report["batches"]] == [1, 3]
    for batch in report["batches"]:
        assert set(batch["seconds"]) == set(batch["operations"]) == {
            "prefix", "scale 2 x 2", "scale 4 x 4", "corrector", "decoder",
        }  # fmt: skip
        assert batch["seconds_per_tile"] == pytest.approx(sum(batch["seconds"].values()) / batch["tiles"])
        assert 0 < batch["share_of_peak"] < 1
    first, second = (sum(batch["operations"].values()) for batch in report["batches"])
    assert second == pytest.approx(3 * first, rel=0.01), "timesteps are embedded once"
    assert report["peak"] > 1e9
    fastest = min(batch["seconds_per_tile"] for batch in report["batches"])
    assert report["images_per_hour"] == pytest.approx(3600 / (12 * fastest))


def test_an_image_takes_its_tiles_and_the_windows_it_is_decoded_in() -> None:
    timing = Timing(tiles=2, seconds={"prefix": 2.0, "decoder": 1.0}, operations={}, first=0.0)
    assert timing.of_image(plan_tiles(8, 40, 4, 0), plan_tiles(8, 40, 8, 0)) == 20 * 1.0 + 5 * 4 * 0.5


def test_fast_mode_does_less(varsr: Run, nano: Path) -> None:
    done = {}
    for speed in ("default", "fast"):
        result = varsr("bench", "-m", nano, "--batch", "1", "--runs", "1", "--speed", speed, "--json", "-q")
        done[speed] = json.loads(result.stdout)["batches"][0]["operations"]
    for stage in ("scale 2 x 2", "scale 4 x 4", "corrector"):
        assert done["fast"][stage] < done["default"][stage]
    for stage in ("prefix", "decoder"):
        assert done["fast"][stage] == done["default"][stage]


def test_a_table_for_people(varsr: Run, nano: Path) -> None:
    result = varsr("bench", "-m", nano, "--batch", "2", "--runs", "1", "--no-compile")
    assert result.returncode == 0, result.stderr
    assert "batch 2" in result.stdout
    assert "images per hour" in result.stdout
    assert "run 2 of 2" in result.stderr


@pytest.mark.parametrize("arguments", [["--batch", "0"], ["--batch", "two"], ["--size", "3000"], ["--runs", "0"]])
def test_wrong_requests(varsr: Run, nano: Path, arguments: list[str]) -> None:
    assert varsr("bench", "-m", nano, *arguments).returncode == 2


def test_the_built_in_model_whose_preset_leaves_the_corrector_out(varsr: Run) -> None:
    result = varsr("bench", "--batch", "1", "--runs", "1", "--json", "-q")
    assert (result.returncode, result.stderr) == (0, "")
    assert "corrector" not in json.loads(result.stdout)["batches"][0]["seconds"]
