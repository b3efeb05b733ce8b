"""A Ray cluster on this machine that works on a bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.in_process import run
from tests.storage.conftest import cloud, small_photo
from tests.storage.proxy import Proxy
from varsr.errors import RequestError
from varsr.images.size import target_size
from varsr.jobs import cluster
from varsr.jobs.cluster import Actor, Cluster, actors_named
from varsr.jobs.naming import Naming, naming_values
from varsr.jobs.outcome import Outcome, Policy
from varsr.jobs.plan import Plan, Source
from varsr.jobs.prefetch import JobSettings
from varsr.storage.address import place_of
from varsr.upscaling.upscaler import ModelChoice

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


def outcomes(nano: Path, policy: Policy, actor: type[Actor] = MortalActor) -> list[Outcome]:
    size = target_size(scale=2)
    out = place_of("s3://photos/out")
    plan = Plan([Source(place_of("s3://photos/in"))], True, Naming(folder=out), naming_values(size, "nano"))
    choice = ModelChoice(str(nano), device="cpu", dtype="fp32")
    settings = JobSettings(size=size, policy=policy)
    return [*Cluster(choice, actors=(2, 2), actor=actor).run(plan, plan.total, settings)]


@pytest.mark.filterwarnings("ignore")
def test_what_kills_an_actor_costs_itself_alone(s3: Any, proxy: Proxy, machine: Any, nano: Path) -> None:
    for number in range(100):
        body = b"damaged" if number == 20 else small_photo(number)
        s3.put_object(Bucket="photos", Key=f"in/{number:03}.png", Body=body)
    found = outcomes(nano, Policy())
    failures = {outcome.job.source.name: type(outcome.error).__name__ for outcome in found if outcome.error}
    assert len(found) == 100
    assert failures == {"020.png": "InputError", DEADLY: "ActorDiedError"}
    assert len(s3.list_objects_v2(Bucket="photos", Prefix="out/")["Contents"]) == 98
    again = outcomes(nano, Policy(skip_existing=True))
    assert sum(outcome.status == "skipped" for outcome in again) == 98
    assert {outcome.job.source.name for outcome in again if outcome.error} == {"020.png", DEADLY}


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
