"""A Ray cluster on this machine that works on a bucket."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.in_process import Result, run
from tests.storage.conftest import cloud, small_photo
from tests.storage.proxy import Proxy
from varsr.errors import RequestError
from varsr.jobs import cluster
from varsr.jobs.cluster import Actor, actors_named

DEADLY = "050.png"


class MortalActor(Actor):
    """An actor that one of the images kills."""

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        if any(DEADLY.encode() in data for data in batch["job"]):
            os._exit(1)
        return super().__call__(batch)


@pytest.fixture(scope="module")
def machine(_proxy: Proxy) -> Iterator[Any]:
    """Ray on this machine, which several tests share."""
    ray = pytest.importorskip("ray", reason="needs the extra for clusters")
    pytest.importorskip("s3fs", reason="needs the extra for S3")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud(_proxy).items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        patch.setenv("PYTHONWARNINGS", "ignore")
        assert cluster._connect("auto")
        yield ray
        ray.shutdown()


def upscale(nano: Path, report: Path, *more: str) -> tuple[Result, list[dict[str, Any]]]:
    """The result of a command on a cluster of two actors, and its report."""
    result = run("upscale", "s3://photos/in", "-d", "s3://photos/out", "--ray", "auto", "--ray-actors", "2,2",
                 "--report", report, "-m", nano, "--scale", "2", "--dtype", "fp32", *more)  # fmt: skip
    return result, [json.loads(line) for line in report.read_text().splitlines()]


@pytest.mark.filterwarnings("ignore")
def test_what_kills_an_actor_costs_itself_alone(
    s3: Any, proxy: Proxy, machine: Any, nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        body = b"damaged" if number == 20 else small_photo(number)
        s3.put_object(Bucket="photos", Key=f"in/{number:03}.png", Body=body)
    monkeypatch.setattr(cluster, "Cluster", partial(cluster.Cluster, actor=MortalActor))
    result, report = upscale(nano, tmp_path / "first.jsonl")
    assert (result.code, len(report)) == (1, 100), result.err
    failed = {entry["input"]: entry["error"] for entry in report if entry["status"] == "failed"}
    assert sorted(failed) == ["s3://photos/in/020.png", f"s3://photos/in/{DEADLY}"]
    assert failed[f"s3://photos/in/{DEADLY}"] == "The actor that had this image died, twice."
    assert len(s3.list_objects_v2(Bucket="photos", Prefix="out/")["Contents"]) == 98
    proxy.asked.clear()
    again, report = upscale(nano, tmp_path / "second.jsonl", "--skip-existing")
    assert again.code == 1
    assert "0 done, 98 skipped, 2 failed." in again.err
    assert {asked.path for asked in proxy.asked if asked.path.endswith(".png")} == {"/photos/in/020.png"}


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_from_the_command_line(s3: Any, proxy: Proxy, machine: Any, nano: Path, tmp_path: Path) -> None:
    for number in range(3):
        s3.put_object(Bucket="photos", Key=f"in/{number}.png", Body=small_photo(number))
    report = tmp_path / "report.jsonl"
    arguments = ("s3://photos/in", "-d", "s3://photos/out", "--ray", "auto", "--ray-actors", "1,1", "--report", report)
    result = run("upscale", *arguments, "-m", nano, "--dtype", "fp32")
    assert result.code == 0, result.err
    assert "3 done, 0 skipped, 0 failed." in result.err
    assert len(report.read_text().splitlines()) == 3
    broken = run("upscale", *arguments, "-m", tmp_path / "none.safetensors", "--overwrite")
    assert broken.code == 3, broken.err
    assert broken.err.count("none.safetensors") == 1


def test_numbers_of_actors() -> None:
    assert actors_named("2") == (2, 2)
    assert actors_named("1,8") == (1, 8)
    for text in ("0", "8,1", "a", "1,", "-1,2"):
        with pytest.raises(RequestError):
            actors_named(text)


def test_options_that_contradict_a_cluster(nano: Path) -> None:
    for arguments in (("--ray-actors", "1,2"), ("--ray", "auto", "--workers", "2"), ("--ray", "auto", "-o", "b.png")):
        assert run("upscale", "a.png", *arguments, "-m", nano).code == 2
