"""Files of two folders find each other by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from varsr.errors import InputError, RequestError
from varsr.evaluation.datasets import INPUT_NAMES, REFERENCE_NAMES, bare, match, subfolder


def folder_of(path: Path, *names: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (4, 4)).save(path / name)
    return path


@pytest.mark.parametrize(
    ("image", "partner"),
    [
        ("baby.png", "baby.png"),
        ("baby_x4.png", "baby.jpg"),
        ("babyx4.png", "baby.png"),
        ("Canon_002_LR4.png", "Canon_002_HR.png"),
        ("DSC_1454_x4.png", "DSC_1454_x1.png"),
        ("0801x4.png", "0801.png"),
        ("a (1)_x2.5.webp", "a (1).tif"),
        ("photo-lq.png", "photo-gt.png"),
    ],
)
def test_names_of_the_field_belong_together(tmp_path: Path, image: str, partner: str) -> None:
    matched = match(folder_of(tmp_path / "a", image, "other1.png"), folder_of(tmp_path / "b", partner, "other2.png"))
    assert [(pair.image.name, pair.partner.name) for pair in matched.pairs] == [(image, partner)]
    assert sorted(path.name for path in matched.unmatched) == ["other1.png", "other2.png"]


def test_equal_stems_come_first(tmp_path: Path) -> None:
    both = "a.png", "a_x4.png"
    matched = match(folder_of(tmp_path / "a", *both), folder_of(tmp_path / "b", *both))
    assert [(pair.image.name, pair.partner.name) for pair in matched.pairs] == [(name, name) for name in both]


def test_what_could_belong_to_two_is_left_out(tmp_path: Path) -> None:
    matched = match(folder_of(tmp_path / "a", "a_x2.png", "a_x4.png"), folder_of(tmp_path / "b", "a.png"))
    assert not matched.pairs
    assert len(matched.unmatched) == 3


def test_a_name_of_marks_alone_stays() -> None:
    assert bare("x4") == "x4"


@pytest.mark.parametrize(
    ("inputs", "references"), [("LR", "HR"), ("test_LR", "test_HR"), ("lq", "gt"), ("LRbicx4", "GTmod12")]
)
def test_layouts_of_the_field(tmp_path: Path, inputs: str, references: str) -> None:
    folder_of(tmp_path / inputs, "a.png")
    folder_of(tmp_path / references, "a.png")
    assert subfolder(tmp_path, INPUT_NAMES).resolve() == (tmp_path / inputs).resolve()
    assert subfolder(tmp_path, REFERENCE_NAMES).resolve() == (tmp_path / references).resolve()


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds neither images nor one folder"):
        subfolder(tmp_path, REFERENCE_NAMES)
    with pytest.raises(InputError, match="holds no images"):
        match(tmp_path, tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        match(tmp_path / "missing", tmp_path)
