"""Damaged files: each is upscaled whole or refused in one line; nothing else happens."""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.disk import small_disk
from tests.golden import DATA
from tests.sixteen_bit import write_sixteen_bit
from varsr import Options, Upscaler
from varsr.errors import InputError, OutputError, TooLittleMemoryError, UnforeseenError
from varsr.images import photo as photo_module
from varsr.images.metadata import Metadata
from varsr.images.photo import Photo
from varsr.images.size import TargetSize
from varsr.jobs import prefetch
from varsr.jobs.outcome import Outcome, Policy
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.jobs.run import Run
from varsr.runtime.batch import Step, TileBatch
from varsr.runtime.engine import Engine
from varsr.tiling.array import FloatImage, FloatImages

FORMATS = ("jpg", "png", "webp", "tif", "bmp", "gif", "avif", "deep.png", "deep.tif", "lzw.tif", "mpo.jpg")
MUTANTS = 40  # of each format


@pytest.fixture(scope="module")
def upscaler(nano: Path) -> Upscaler:
    return Upscaler.from_pretrained(str(nano), device="cpu", dtype="fp32")


def do(upscaler: Upscaler, jobs: list[Job], policy: Policy = Policy(), scale: float = 1) -> list[Outcome]:
    settings = JobSettings(TargetSize(scale=scale), Options(corrector=False, cfg=0), policy=policy)
    return list(Run(upscaler, jobs, settings))


def sample(suffix: str) -> bytes:
    with Image.open(DATA / "dandelion.jpg") as opened:
        image = opened.resize((16, 12))
    buffer = io.BytesIO()
    kind = suffix.rpartition(".")[2]
    if suffix.startswith("deep"):
        format = "PNG" if kind == "png" else "TIFF"
        write_sixteen_bit(np.asarray(image, np.float32) / np.float32(255), buffer, format, Metadata(dpi=(72.0, 72.0)))
    elif suffix == "lzw.tif":
        tifffile.imwrite(buffer, np.asarray(image).astype(np.uint16) * 257, compression="lzw", photometric="rgb")
    elif suffix == "mpo.jpg":
        image.save(buffer, "MPO", save_all=True, append_images=[image.resize((8, 6))])
    else:
        format = {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper())
        image.save(buffer, format)
    return buffer.getvalue()


def mutants(data: bytes, seed: int) -> Iterator[bytes]:
    """Copies with bytes changed, cut out, doubled or cut off."""
    rng = np.random.default_rng(seed)
    for _ in range(MUTANTS):
        damaged = bytearray(data)
        for _ in range(int(rng.integers(1, 6))):
            place, kind = int(rng.integers(len(damaged))), rng.integers(4)
            if kind == 0:
                damaged[place] = int(rng.integers(256))
            elif kind == 1:
                del damaged[place : place + int(rng.integers(1, 30))]
            elif kind == 2:
                damaged[place:place] = damaged[place : place + int(rng.integers(1, 30))]
            else:
                del damaged[max(8, place) :]
            if not damaged:
                damaged.append(0)
        yield bytes(damaged)


@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_files(upscaler: Upscaler, tmp_path: Path, suffix: str) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    jobs = []
    for number, damaged in enumerate(mutants(sample(suffix), seed=FORMATS.index(suffix))):
        path = source / f"{number}.{suffix}"
        path.write_bytes(damaged)
        jobs.append(Job(path, out / f"{number}.png"))
    outcomes = do(upscaler, jobs, Policy(create_folders=True, max_pixels=1_000_000))
    assert len(outcomes) == MUTANTS
    for outcome in outcomes:
        if outcome.status == "done":
            with Image.open(outcome.job.target_file) as image:
                image.load()
        else:
            assert isinstance(outcome.error, InputError)
            assert "\n" not in str(outcome.error)
            assert not outcome.job.target_file.exists()
    done = {outcome.job.target for outcome in outcomes if outcome.status == "done"}
    assert set(out.iterdir() if out.exists() else ()) == done


def test_a_file_that_changes_while_the_run_goes_on(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is gone by the time it is read is a failure; the others are done."""
    monkeypatch.setattr(prefetch, "AHEAD_FILES", 2)
    jobs = []
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(sample("png"))
        jobs.append(Job(tmp_path / f"{number}.png", tmp_path / f"{number}_out.png"))

    outcomes = []
    for outcome in Run(upscaler, jobs, JobSettings(TargetSize(scale=1), Options(batch_size=1))):
        (tmp_path / "7.png").unlink(missing_ok=True)
        outcomes.append(outcome)
    assert [o.status for o in outcomes] == ["done"] * 7 + ["failed"]


@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if suffix != "bmp"])
def test_a_file_cut_short_while_it_is_read(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    source = tmp_path / f"a.{suffix}"
    source.write_bytes(sample(suffix))
    opened = Image.open

    def cut(*arguments: Any, **named: Any) -> Image.Image:
        image = opened(*arguments, **named)
        os.truncate(source, source.stat().st_size // 2)
        return image

    monkeypatch.setattr(Image, "open", cut)
    (outcome,) = do(upscaler, [Job(source, tmp_path / "b.png")])
    monkeypatch.undo()
    if outcome.status == "done":  # the system had read it whole by then
        Image.open(tmp_path / "b.png").load()
    else:
        assert isinstance(outcome.error, InputError)
        assert sorted(p.name for p in tmp_path.iterdir()) == [source.name]


def test_files_that_cannot_be_read(upscaler: Upscaler, tmp_path: Path) -> None:
    """A link to nothing, an empty file, and one that the system gives an error for."""
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "empty.png").touch()
    jobs = [Job(tmp_path / name, tmp_path / "out" / name) for name in ("gone.png", "empty.png")]
    if Path("/proc/self/mem").exists():
        (tmp_path / "broken.png").symlink_to("/proc/self/mem")
        jobs.append(Job(tmp_path / "broken.png", tmp_path / "out" / "broken.png"))
    outcomes = do(upscaler, jobs, Policy(create_folders=True))
    assert all(isinstance(outcome.error, InputError) for outcome in outcomes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "deep.tif"])
def test_a_disk_that_fills_up(upscaler: Upscaler, tmp_path: Path, suffix: str) -> None:
    """Results that still fit are written whole; those that do not are failures and leave nothing."""
    sources = []
    noise = np.random.default_rng(0).random((240, 240, 3), np.float32)
    for number, side in enumerate((16, 240, 240, 16)):
        source = tmp_path / f"{number}.{suffix}"
        if suffix.startswith("deep"):
            write_sixteen_bit(noise[:side, :side], source, "TIFF", Metadata())
        else:
            Image.fromarray((noise[:side, :side] * 255).astype(np.uint8)).save(source, quality=100)
        sources.append(source)
    with small_disk(tmp_path / "disk", "16k") as disk:
        jobs = [Job(source, disk / source.name) for source in sources]
        outcomes = [outcome for job in jobs for outcome in do(upscaler, [job])]  # two are written at a time otherwise
        assert [outcome.status for outcome in outcomes] == ["done", "failed", "failed", "done"]
        assert all("no space left" in str(o.error).lower() for o in outcomes if o.error), outcomes
        assert sorted(p.name for p in disk.iterdir()) == [f"0.{suffix}", f"3.{suffix}"]
        for path in disk.iterdir():
            Image.open(path).load()


def test_memory_that_runs_out_costs_one_image(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = []
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(sample("png"))
        jobs.append(Job(tmp_path / f"{number}.png", tmp_path / f"{number}_out.png"))
    restored = photo_module.Photo.with_color
    calls = iter([False, True, False])

    def scarce(photo: Photo, color: FloatImage) -> Photo:
        if next(calls):
            raise MemoryError
        return restored(photo, color)

    monkeypatch.setattr(photo_module.Photo, "with_color", scarce)
    outcomes = do(upscaler, jobs)
    assert [o.status for o in outcomes] == ["done", "failed", "done"]
    assert isinstance(outcomes[1].error, TooLittleMemoryError)


def test_names_as_long_as_the_system_allows(upscaler: Upscaler, tmp_path: Path) -> None:
    source = tmp_path / f"{'n' * 251}.png"
    source.write_bytes(sample("png"))
    (outcome,) = do(upscaler, [Job(source, tmp_path / f"{'n' * 250}x.png")])
    assert outcome.status == "done", outcome.error
    (outcome,) = do(upscaler, [Job(source, tmp_path / f"{'n' * 260}.png")])
    assert isinstance(outcome.error, OutputError)


def test_a_place_that_knows_no_permissions(upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a memory card that another user has mounted."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    (tmp_path / "a.png").write_bytes(sample("png"))
    (outcome,) = do(upscaler, [Job(tmp_path / "a.png", tmp_path / "b.png")])
    assert outcome.status == "done", outcome.error


def test_times_and_permissions_where_asked(upscaler: Upscaler, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(sample("png"))
    source.chmod(0o640)
    os.utime(source, (1_000_000_000, 1_000_000_000))
    for preserve in (False, True):
        target = tmp_path / f"{preserve}.png"
        do(upscaler, [Job(source, target)], Policy(preserve=preserve))
        assert (target.stat().st_mtime == 1_000_000_000) == preserve
        assert (target.stat().st_mode & 0o777 == 0o640) == preserve


def test_a_shared_batch_that_fails_costs_one_image(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiles of an image that breaks the model lie in one batch with those of its neighbours."""
    jobs = []
    for number in range(3):
        if number == 1:
            Image.new("RGB", (16, 12), (255, 0, 0)).save(tmp_path / "1.png")
        else:
            (tmp_path / f"{number}.png").write_bytes(sample("png"))
        jobs.append(Job(tmp_path / f"{number}.png", tmp_path / f"{number}_out.png"))
    assert [outcome.status for outcome in do(upscaler, jobs)] == ["done"] * 3
    expected = [job.target_file.read_bytes() for job in jobs]
    latents = Engine.latents

    def fail_for_red(engine: Engine, batch: TileBatch, size: int) -> Generator[Step, None, FloatImages]:
        if (batch.pixels == (1, 0, 0)).all((1, 2, 3)).any():
            raise ZeroDivisionError("of a kind that nobody thought of")
        return latents(engine, batch, size)

    monkeypatch.setattr(Engine, "latents", fail_for_red)
    outcomes = do(upscaler, jobs, Policy(overwrite=True))
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert isinstance(outcomes[1].error, UnforeseenError)
    assert [job.target_file.read_bytes() for job in jobs] == expected
