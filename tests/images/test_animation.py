"""Animations: frames, how long each is shown, and how often all are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.golden import DATA
from varsr.images.encoding import Encoding
from varsr.images.read import read_photo
from varsr.images.write import write_photo

FAULTS, WRITERS = DATA / "faults", DATA / "writers"
ANIMATED = (".gif", ".png", ".webp")


def rewritten(source: Path, folder: Path, suffix: str) -> Path:
    """The file as it comes out in a format."""
    target = folder / f"out{suffix}"
    write_photo(read_photo(source), target, Encoding(lossless=suffix == ".webp"))
    return target


def timeline(path: Path) -> list[tuple[bytes, int]]:
    """Images and their durations in milliseconds; equal ones in a row count as one."""
    seen: list[tuple[bytes, int]] = []
    with Image.open(path) as image:
        first = 1 if getattr(image, "default_image", False) else 0
        for number, frame in enumerate(ImageSequence.Iterator(image)):
            if number < first:
                continue
            pixels, duration = frame.convert("RGBA").tobytes(), round(frame.info.get("duration", 0))
            if seen and seen[-1][0] == pixels:
                seen[-1] = pixels, seen[-1][1] + duration
            else:
                seen.append((pixels, duration))
    return seen


@pytest.mark.parametrize("suffix", ANIMATED)
@pytest.mark.parametrize(
    ("source", "plays"),
    [
        (FAULTS / "plays_once.gif", 1),
        (WRITERS / "once_gifsicle.gif", 1),
        (WRITERS / "three_times_gifsicle.gif", 3),
        (WRITERS / "twice_img2webp.webp", 2),
        (WRITERS / "forever_magick.gif", 0),
        (WRITERS / "no_delay_gifsicle.gif", 0),
    ],
)
def test_it_plays_as_often(tmp_path: Path, source: Path, plays: int, suffix: str) -> None:
    assert read_photo(source).metadata.plays == plays
    assert read_photo(rewritten(source, tmp_path, suffix)).metadata.plays == plays


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("name", ["apng_blink.png", "apng_default_image.png"])
def test_an_apng_shows_the_same(tmp_path: Path, name: str, suffix: str) -> None:
    assert timeline(rewritten(FAULTS / name, tmp_path, suffix)) == timeline(FAULTS / name)


def test_a_blinking_apng_has_five_frames(tmp_path: Path) -> None:
    photo = read_photo(rewritten(FAULTS / "apng_blink.png", tmp_path, ".png"))
    assert [frame.duration for frame in photo.frames] == [200] * 5
    for frame, like in zip(photo.frames[2:], photo.frames, strict=False):
        np.testing.assert_array_equal(frame.color, like.color)


def test_a_default_image_is_no_frame() -> None:
    assert [frame.duration for frame in read_photo(FAULTS / "apng_default_image.png").frames] == [100, 200, 300, 400]


@pytest.mark.parametrize("source", [WRITERS / "once_gifsicle.gif", WRITERS / "forever_magick.gif"])
def test_a_gif_as_an_apng_shows_the_same(tmp_path: Path, source: Path) -> None:
    """Disposal methods of GIF and APNG have different numbers."""
    assert timeline(rewritten(source, tmp_path, ".png")) == timeline(source)


def silhouette(path: Path) -> list[np.ndarray]:
    """Where each frame is opaque."""
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGBA"))[..., 3] > 127 for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("suffix", ANIMATED)
def test_silhouettes_keep_their_size(tmp_path: Path, suffix: str) -> None:
    """Also where alpha between has come of resizing: half of it is the border."""
    before = silhouette(FAULTS / "sprite.gif")
    after = silhouette(rewritten(FAULTS / "sprite.gif", tmp_path, suffix))
    assert len(before) == len(after)
    for first, second in zip(before, after, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_soft_edge_in_a_gif_is_cut_at_half(tmp_path: Path) -> None:
    ramp = Image.new("RGBA", (64, 8), (255, 0, 0, 0))
    ramp.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (8, 1))))
    ramp.save(tmp_path / "in.png")
    (edge,) = silhouette(rewritten(tmp_path / "in.png", tmp_path, ".gif"))
    assert abs(int(edge[0].sum()) - 32) <= 1
