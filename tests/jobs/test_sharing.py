"""Small images share batches of tiles, and come out as they would alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.golden import DATA
from varsr import Options, Upscaler
from varsr.errors import TooLittleMemoryError
from varsr.images.size import TargetSize
from varsr.jobs.outcome import Policy
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.jobs.preflight import read as read_image
from varsr.jobs.run import Run
from varsr.model.passes import Conditions
from varsr.runtime.worker import DeviceThread
from varsr.upscaling.progress import Progress

OPTIONS = Options(cfg=1.5, seed=3)


@pytest.fixture(scope="module")
def upscaler(nano: Path) -> Upscaler:
    return Upscaler.from_pretrained(str(nano), device="cpu", dtype="bf16")


@pytest.fixture
def batches(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tiles in each call of the model, those that only fill it included."""
    sizes: list[int] = []
    generate: Callable[..., Iterator[Tensor]] = upscaler.model.generate

    def counted(conditions: Conditions, *rest: object, **named: object) -> Iterator[Tensor]:
        sizes.append(len(conditions.prefix))
        return generate(conditions, *rest, **named)

    monkeypatch.setattr(upscaler.model, "generate", counted)
    return sizes


def images(folder: Path, sides: list[int]) -> list[Job]:
    """Photographs of these sides, each another part of one."""
    jobs = []
    with Image.open(DATA / "dandelion.jpg") as photograph:
        for number, side in enumerate(sides):
            source = folder / f"{number}.png"
            photograph.crop((number, number, number + side, number + side)).save(source)
            jobs.append(Job(source, folder / f"{number}_large.png"))
    return jobs


def run(upscaler: Upscaler, jobs: list[Job]) -> list[np.ndarray]:
    settings = JobSettings(TargetSize(scale=1), OPTIONS, policy=Policy(overwrite=True))
    outcomes = list(Run(upscaler, jobs, settings))
    assert [outcome.status for outcome in outcomes] == ["done"] * len(jobs)
    return [np.asarray(Image.open(job.target_file)) for job in jobs]


def test_small_images_share_batches(upscaler: Upscaler, tmp_path: Path, batches: list[int]) -> None:
    side, size = upscaler.model.config.tile_side, upscaler.engine.batch_size
    jobs = images(tmp_path, [side] * 2 * size)  # a tile each
    run(upscaler, jobs)
    assert batches == [size, size]


def test_each_is_what_it_is_alone_to_the_bit(upscaler: Upscaler, tmp_path: Path) -> None:
    side = upscaler.model.config.tile_side
    jobs = images(tmp_path, [side, 2 * side, side + 5, 3 * side, side, side, side // 2, 2 * side + 9])
    together = run(upscaler, jobs)
    for job, expected in zip(jobs, together, strict=True):
        (alone,) = run(upscaler, [job])
        np.testing.assert_array_equal(alone, expected)
    for job, expected in zip(jobs[3:], run(upscaler, jobs[3:]), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(job.target_file)), expected)


def test_frames_of_an_animation_share_batches(upscaler: Upscaler, tmp_path: Path, batches: list[int]) -> None:
    side, size = upscaler.model.config.tile_side, upscaler.engine.batch_size
    frames = [Image.open(job.source_file).convert("RGB") for job in images(tmp_path, [side] * size)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=40, lossless=True)
    run(upscaler, [Job(tmp_path / "a.webp", tmp_path / "b.webp")])
    assert batches == [size]


def test_a_damaged_image_between_them_is_its_own_failure(upscaler: Upscaler, tmp_path: Path) -> None:
    jobs = images(tmp_path, [upscaler.model.config.tile_side] * 5)
    jobs[2].source_file.write_bytes(jobs[2].source_file.read_bytes()[:60])

    outcomes = list(Run(upscaler, jobs, JobSettings(TargetSize(scale=1), OPTIONS)))
    assert [outcome.status for outcome in outcomes] == ["done", "done", "failed", "done", "done"]


@pytest.fixture
def beside(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine works in a thread of its own, as it does with a GPU."""
    monkeypatch.setattr(upscaler.engine, "_worker", DeviceThread())


def test_an_engine_beside_the_program_makes_the_same_images(
    upscaler: Upscaler, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    side = upscaler.model.config.tile_side
    jobs = images(tmp_path, [side, 5 * side, side + 5, 9 * side, side, side // 2, 2 * side + 9])
    expected = run(upscaler, jobs)
    request.getfixturevalue("beside")
    for found, plain in zip(run(upscaler, jobs), expected, strict=True):
        np.testing.assert_array_equal(found, plain)


@pytest.mark.usefixtures("beside")
def test_an_engine_beside_the_program_has_the_next_batch_before_this_one_is_used(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    submit, decode = upscaler.engine.submit, upscaler.engine.decode

    def begun(*arguments: Any) -> Any:
        events.append("begin")
        return submit(*arguments)

    def decoded(*arguments: Any) -> Any:
        events.append("decode")
        return decode(*arguments)

    monkeypatch.setattr(upscaler.engine, "submit", begun)
    monkeypatch.setattr(upscaler.engine, "decode", decoded)
    run(upscaler, images(tmp_path, [9 * upscaler.model.config.tile_side]))
    assert events[:2] == ["begin", "begin"]
    assert events.count("begin") > 4
    assert events[-1] == "decode"


@pytest.mark.usefixtures("beside")
def test_what_fails_beside_the_program_is_the_images_failure(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(upscaler.model, "generate", scarce)
    (job,) = images(tmp_path, [40])
    seen: list[Progress] = []
    with pytest.raises(TooLittleMemoryError), Image.open(job.source_file) as image:
        upscaler.upscale(image, 2, OPTIONS, seen.append)
    assert {progress.done for progress in seen} == {0}, "what was not done is not counted"


def test_images_are_let_go_when_they_are_done(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one too."""
    read: list[weakref.ref[Any]] = []

    def noted(*arguments: Any) -> Any:
        photo = read_image(*arguments)
        read.append(weakref.ref(photo))
        return photo

    monkeypatch.setattr("varsr.jobs.prefetch.AHEAD_PIXELS", 1)
    monkeypatch.setattr("varsr.jobs.prefetch.read", noted)
    jobs = images(tmp_path, [3 * upscaler.model.config.tile_side] * 40)
    is_kept = []
    for _ in Run(upscaler, jobs, JobSettings(TargetSize(scale=1), OPTIONS)):
        gc.collect()
        is_kept.append(read[0]() is not None)
    assert not is_kept[30]
