"""Contact sheets and heat maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from varsr.comparison.heatmap import heatmap
from varsr.comparison.layers import of_files
from varsr.comparison.sheet import GAP, LABEL, SIDE, Crop, most_different, write_sheet
from varsr.errors import RequestError


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """A grey image of 100 x 80 px, and one of 400 x 320 px with a bright square at the lower right."""
    Image.new("RGB", (100, 80), (90, 90, 90)).save(tmp_path / "small.png")
    pixels = np.full((320, 400, 3), 90, np.uint8)
    pixels[250:310, 330:390] = 250
    Image.fromarray(pixels).save(tmp_path / "large.png")
    return [tmp_path / "small.png", tmp_path / "large.png"]


def test_a_sheet_shows_where_images_differ(pair: list[Path], tmp_path: Path) -> None:
    write_sheet(of_files(pair, ["small", "large"]), tmp_path / "sheet.png", None)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (LABEL + SIDE, 2 * SIDE + GAP, 3)
    assert (sheet[LABEL:, :SIDE] == 90).all()
    assert (sheet[LABEL:, SIDE + GAP :] == 250).all(2).sum() == 60 * 60
    assert sheet[:LABEL].min() < 50, "labels"


def test_a_crop_of_ones_own(pair: list[Path], tmp_path: Path) -> None:
    write_sheet(of_files(pair, ["small", "large"]), tmp_path / "sheet.webp", Crop.parse("330,250,60,60"))
    sheet = np.asarray(Image.open(tmp_path / "sheet.webp").convert("L"))
    assert sheet.shape == (LABEL + 60, 2 * 60 + GAP)
    assert sheet[LABEL + 30, 60 + GAP + 30] > 240


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "-1,0,5,5", "0,0,0,5", ""])
def test_crops_are_four_numbers(text: str) -> None:
    with pytest.raises(RequestError):
        Crop.parse(text)


def test_a_crop_outside_is_refused(pair: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"outside of small\.png, 400 x 320 pixels"):
        write_sheet(of_files(pair, ["small", "large"]), tmp_path / "sheet.png", Crop(390, 0, 20, 20))
    assert not (tmp_path / "sheet.png").exists()


def test_small_images_are_shown_whole() -> None:
    colors = [np.zeros((30, 20, 3), np.float32), np.ones((30, 20, 3), np.float32)]
    assert most_different(colors) == Crop(0, 0, 20, 30)


def test_the_map_is_bright_where_images_differ() -> None:
    base = np.full((20, 20, 3), 0.5, np.float32)
    image = np.full((40, 40, 3), 0.5, np.float32)
    image[:20] += 0.2
    map_ = heatmap(image, base)
    assert map_.shape == (40, 40, 3)
    assert map_[:18].mean() > 0.4
    assert map_[22:].max() < 0.05
