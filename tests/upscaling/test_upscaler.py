"""One image through the whole pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import varsr
from tests.golden import DATA
from tests.nano import DIAL_LIKE, LARGE, MINI_LIKE, NANO, write_nano, write_preset
from varsr import Options, Upscaler
from varsr.errors import DeviceError, RequestError, TooLittleMemoryError
from varsr.model.config import ModelConfig
from varsr.model.passes import Conditions
from varsr.model.varsr import VARSR
from varsr.runtime.device import Precision
from varsr.runtime.engine import Engine
from varsr.tiling.grid import plan_tiles
from varsr.upscaling.progress import Progress


@pytest.fixture(scope="module")
def upscaler(nano: Path) -> Upscaler:
    return Upscaler.from_pretrained(str(nano), device="cpu", dtype="fp32")


def test_the_default_is_the_command_lines(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VARSR_MODEL", raising=False)
    assert Upscaler.from_pretrained(device="cpu").model.config == Upscaler.from_pretrained("mini").model.config
    monkeypatch.setenv("VARSR_MODEL", str(nano))
    assert Upscaler.from_pretrained(device="cpu").model.config == Upscaler.from_pretrained(str(nano)).model.config


@pytest.fixture(scope="module")
def transparent_upscaler(tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
    """A model that adds nothing to its input: all else in the pipeline must leave the image alone."""
    path = tmp_path_factory.mktemp("transparent") / "model.safetensors"
    write_nano(path, MINI_LIKE)
    upscaler = Upscaler.from_pretrained(str(path), device="cpu", dtype="fp32")
    for parameter in upscaler.model.decoder.parameters():
        parameter.data.zero_()
    return upscaler


@pytest.fixture
def image() -> Image.Image:
    with Image.open(DATA / "dandelion.jpg") as opened:
        return opened.resize((30, 21))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(1, 8), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_any_size_at_any_scale_is_its_bicubic_when_the_model_adds_nothing(
    transparent_upscaler: Upscaler, width: int, height: int, scale: float, overlap: int
) -> None:
    rng = np.random.default_rng(width * 41 + height)
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    result = transparent_upscaler.upscale(image, scale, Options(tile_overlap=overlap))
    assert result.size == (round(width * scale), round(height * scale))
    channels = [
        np.asarray(Image.fromarray(np.asarray(c, np.float32)).resize(result.size, Image.Resampling.BICUBIC))
        for c in image.split()
    ]
    expected = np.stack(channels, -1).clip(0, 255)
    assert np.abs(pixels(result) - expected).max() <= 0.6


@pytest.mark.parametrize("scale", [0.5, 8.01, float("nan")])
def test_other_scales_are_refused(upscaler: Upscaler, image: Image.Image, scale: float) -> None:
    with pytest.raises(RequestError, match="cannot be scaled"):
        upscaler.upscale(image, scale)


def test_batch_size_changes_nothing(upscaler: Upscaler, image: Image.Image) -> None:
    first, second = (pixels(upscaler.upscale(image, 4, Options(batch_size=size))) for size in (1, 5))
    assert np.abs(first - second).max() <= 1


@pytest.mark.parametrize("options", [Options(), Options(top_k=0, corrector=False)])
def test_same_seed_same_result_another_seed_another(upscaler: Upscaler, image: Image.Image, options: Options) -> None:
    first, again, other = (pixels(upscaler.upscale(image, 2, replace(options, seed=seed))) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_argmax_without_corrector_needs_no_seed(upscaler: Upscaler, image: Image.Image) -> None:
    first, second = (pixels(upscaler.upscale(image, 2, Options(seed=seed, corrector=False))) for seed in (1, 2))
    assert np.array_equal(first, second)


def test_the_corrector_and_guidance_change_the_result(upscaler: Upscaler, image: Image.Image) -> None:
    results = [pixels(upscaler.upscale(image, 2, o)) for o in (Options(), Options(corrector=False), Options(cfg=0))]
    assert not np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize(("scale", "strength"), [(1, 6.0), (4, 7.0)])
def test_guidance_is_stronger_when_tiling(upscaler: Upscaler, image: Image.Image, scale: int, strength: float) -> None:
    by_default, asked_for = (pixels(upscaler.upscale(image, scale, Options(cfg=cfg))) for cfg in (None, strength))
    assert np.array_equal(by_default, asked_for)


def test_colours_are_the_inputs_by_default(upscaler: Upscaler, image: Image.Image) -> None:
    expected = pixels(image.resize((60, 42), Image.Resampling.BICUBIC)).mean((0, 1))
    fixed, raw = (pixels(upscaler.upscale(image, 2, Options(color_fix=fix))).mean((0, 1)) for fix in (None, "none"))
    assert np.abs(fixed - expected).max() < np.abs(raw - expected).max()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_modes(upscaler: Upscaler, image: Image.Image, mode: str) -> None:
    result = upscaler.upscale(image.convert(mode), 1.5)
    assert result.size == (45, 32)
    assert result.mode == {"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)


def test_progress_runs_from_nothing_to_all(upscaler: Upscaler, image: Image.Image) -> None:
    seen: list[Progress] = []
    upscaler.upscale(image, 4, Options(batch_size=3), seen.append)
    steps = len(upscaler.model.config.scales) + 2
    assert seen[0].done == 0
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == seen[-1].total == seen[-1].tiles * steps
    assert {"scale 1 of 3", "scale 3 of 3", "corrector", "decoding"} < {p.activity for p in seen}


def test_overlaps_that_cannot_be_are_refused(upscaler: Upscaler, image: Image.Image) -> None:
    with pytest.raises(RequestError, match="cannot overlap"):
        upscaler.upscale(image, 4, Options(tile_overlap=4))
    with pytest.raises(RequestError, match="cannot overlap"):
        upscaler.layout((64, 64), Options(tile_overlap=-1))


def test_running_out_of_memory_is_said_plainly(
    upscaler: Upscaler, image: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(*_: object, **__: object) -> None:
        torch.empty(1 << 60)

    monkeypatch.setattr(upscaler.model, "generate", allocate)
    with pytest.raises(TooLittleMemoryError, match="too little memory"):
        upscaler.upscale(image)


def test_a_batch_too_large_for_memory_is_halved(
    upscaler: Upscaler, image: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pixels(upscaler.upscale(image, 4, Options(batch_size=2)))
    restore, sizes = upscaler.model.generate, []

    def scarce(conditions: Conditions, *rest: Any, **named: Any) -> Iterator[torch.Tensor]:
        sizes.append(len(conditions.prefix))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return restore(conditions, *rest, **named)

    monkeypatch.setattr(upscaler.model, "generate", scarce)
    seen: list[Progress] = []
    found = pixels(upscaler.upscale(image, 4, Options(batch_size=8), seen.append))
    assert np.abs(found - expected).max() <= 1
    assert {8, 4, 2} <= set(sizes)
    assert seen[-1].done == seen[-1].total


def test_other_failures_are_not_taken_for_it(
    upscaler: Upscaler, image: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(upscaler.model, "generate", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        upscaler.upscale(image)


@pytest.mark.parametrize("device", ["tpu", "cpux", "meta"])
def test_devices_that_are_none(nano: Path, device: str) -> None:
    with pytest.raises(RequestError):
        Upscaler.from_pretrained(str(nano), device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_missing_device(nano: Path) -> None:
    with pytest.raises(DeviceError, match="No CUDA"):
        Upscaler.from_pretrained(str(nano), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compiled", [True, False])
def test_cuda_computes_what_the_cpu_computes(
    nano: Path, upscaler: Upscaler, image: Image.Image, compiled: bool
) -> None:
    on_cuda = Upscaler.from_pretrained(str(nano), device="cuda", dtype="fp32", compiled=compiled)
    assert np.abs(pixels(on_cuda.upscale(image)) - pixels(upscaler.upscale(image))).mean() < 1


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_narrow_types_come_near(nano: Path, upscaler: Upscaler, image: Image.Image, dtype: str) -> None:
    narrow = Upscaler.from_pretrained(str(nano), device="cpu", dtype=dtype)  # type: ignore[arg-type]
    options = Options(corrector=False, cfg=0)
    difference = pixels(narrow.upscale(image, 2, options)) - pixels(upscaler.upscale(image, 2, options))
    assert np.abs(difference).mean() < 20  # tokens of a random model flip easily


@pytest.mark.parametrize(
    ("config", "device", "precision", "tiles"),
    [
        (NANO, "cpu", Precision(torch.bfloat16, torch.bfloat16), 8),
        (NANO, "cpu", Precision(torch.bfloat16, torch.float32), 4),
        (NANO, "cpu", Precision(torch.bfloat16, torch.float32, int8=True), 1),
        (LARGE, "cpu", Precision(torch.bfloat16, torch.bfloat16), 1),
        (LARGE, "cuda", Precision(torch.bfloat16, torch.bfloat16), 8),
        (NANO, "cuda", Precision(torch.bfloat16, torch.bfloat16), 32),
    ],
)
def test_tiles_at_a_time(config: ModelConfig, device: str, precision: Precision, tiles: int) -> None:
    with torch.device("meta"):
        assert Engine(VARSR(config), torch.device(device), precision).batch_size == tiles


def test_public_names() -> None:
    for name in varsr.__all__:
        assert getattr(varsr, name) is not None
    with pytest.raises(AttributeError):
        _ = varsr.novelty


@pytest.mark.parametrize(
    ("overlap", "blend", "options", "predicted", "decoded"),
    [
        (0.25, 0.25, Options(), 8, 8),
        (0.25, 0.25, Options(speed="fast"), 4, 4),
        (0.125, 0.25, Options(), 4, 8),
        (0.0, 0.125, Options(), 0, 4),
        (0.0, 0.125, Options(speed="fast"), 0, 4),
        (0.125, 0.25, Options(tile_overlap=0), 0, 8),
        (0.125, 0.25, Options(tile_overlap=12, speed="fast"), 12, 12),
    ],
)
def test_tiles_overlap_as_the_model_says_and_less_in_fast_mode_but_are_always_blended(
    tmp_path: Path, overlap: float, blend: float, options: Options, predicted: int, decoded: int
) -> None:
    """In a map of 256 cells, which tiles of 32 cover in the fewest steps that the overlap allows."""
    write_nano(tmp_path / "model.safetensors", replace(MINI_LIKE, scales=(1, 32)))
    write_preset(tmp_path / "model.toml", tile_overlap=overlap, decode_overlap=blend)
    upscaler = Upscaler.from_checkpoint(tmp_path / "model.safetensors", device="cpu")
    assert upscaler.layout((2048, 2048), options).tiles == plan_tiles(256, 256, 32, predicted)
    assert upscaler.layout((2048, 2048), options).windows == plan_tiles(256, 256, 32, decoded)


@pytest.mark.parametrize(
    ("size", "side", "count"),
    [
        ((2048, 2048), 96, 9),
        ((792, 792), 99, 1),  # one a little larger instead of four
        ((600, 2048), 75, 4),
        ((20, 30), 32, 1),
    ],
)
def test_windows_are_about_as_many_tiles_wide_as_the_model_says_where_there_are_so_many(
    tmp_path: Path, size: tuple[int, int], side: int, count: int
) -> None:
    write_nano(tmp_path / "model.safetensors", replace(MINI_LIKE, scales=(1, 32)))
    write_preset(tmp_path / "model.toml", decode_overlap=0.125, decode_window=3)
    upscaler = Upscaler.from_checkpoint(tmp_path / "model.safetensors", device="cpu")
    assert [window.side for window in upscaler.layout(size, Options(tile_overlap=0)).windows] == [side] * count
    assert {tile.side for tile in upscaler.layout(size).tiles} == {32}


@pytest.mark.parametrize(("batch_size", "expected"), [(4, {1}), (8, {2}), (64, {4})])
def test_windows_decoded_at_a_time_have_the_area_of_a_batch_of_tiles(
    tmp_path: Path, image: Image.Image, monkeypatch: pytest.MonkeyPatch, batch_size: int, expected: set[int]
) -> None:
    write_nano(tmp_path / "model.safetensors", MINI_LIKE)
    write_preset(tmp_path / "model.toml", decode_overlap=0, decode_window=2)
    upscaler = Upscaler.from_checkpoint(tmp_path / "model.safetensors", device="cpu", dtype="fp32")
    decode, counts = upscaler.model.decode, set()

    def counted(latent: torch.Tensor, *rest: Any) -> torch.Tensor:
        counts.add(len(latent))
        return decode(latent, *rest)

    monkeypatch.setattr(upscaler.model, "decode", counted)
    monkeypatch.setattr(Engine, "batch_size", batch_size)
    side = 2 * upscaler.model.config.tile_side
    upscaler.upscale(image.resize((4 * side, side)), 1, Options(tile_overlap=0))
    assert counts == expected


def test_without_tokens_the_decoder_works_alone(
    tmp_path: Path, image: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_nano(tmp_path / "model.safetensors", DIAL_LIKE)
    upscaler = Upscaler.from_checkpoint(tmp_path / "model.safetensors", device="cpu", dtype="fp32")
    with_tokens = pixels(upscaler.upscale(image, 4))
    monkeypatch.setattr(upscaler.model, "generate", None)
    monkeypatch.setattr(upscaler.model, "prefix", None)
    seen: list[Progress] = []
    alone = pixels(upscaler.upscale(image, 4, Options(tokens=False), seen.append))
    assert (alone != with_tokens).any()
    assert seen[-1].done == seen[-1].total
    decode = upscaler.model.decode
    monkeypatch.setattr(upscaler.model, "decode", lambda latent, *rest: decode(torch.zeros_like(latent), *rest))
    assert (pixels(upscaler.upscale(image, 4, Options(tokens=False))) == alone).all()


def test_fast_mode_has_fewer_tiles_and_another_image(upscaler: Upscaler, image: Image.Image) -> None:
    counts = {}
    results = {}
    for speed in ("default", "fast"):
        seen: list[Progress] = []
        results[speed] = pixels(upscaler.upscale(image, 8, Options(speed=speed), seen.append))
        counts[speed] = seen[-1].tiles
    assert counts["fast"] < counts["default"]
    assert (results["default"] != results["fast"]).any()
