"""varsr compare, as a process."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two folders of two images, one image in the first alone."""
    for folder, side, names in (("in", 20, ("a", "b", "c")), ("out", 80, ("a_x4", "b_x4"))):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.effect_noise((side, side), 80).convert("RGB").save(tmp_path / folder / f"{name}.png")
    return tmp_path


def test_a_page_of_two_images(varsr: Run, folders: Path) -> None:
    result = varsr("compare", "in/a.png", "out/a_x4.png")
    assert (result.returncode, result.stdout) == (0, "compare.html\n"), result.stderr
    page = (folders / "compare.html").read_text()
    assert "a_x4.png" in page
    assert "http://" not in page
    assert "https://" not in page
    again = varsr("compare", "in/a.png", "out/a_x4.png")
    assert again.returncode == 5
    assert "Use --overwrite" in again.stderr
    assert varsr("compare", "in/a.png", "out/a_x4.png", "--overwrite").returncode == 0


def test_folders_and_what_has_no_partner(varsr: Run, folders: Path) -> None:
    result = varsr("compare", "in", "out", "-o", "album.html", "--label", "before", "--label", "after")
    assert result.returncode == 0, result.stderr
    assert "c.png is left out" in result.stderr
    page = (folders / "album.html").read_text()
    assert '"after"' in page
    assert page.count('"thumbnail"') == 2


@pytest.mark.parametrize("output", ["album.html", "sheet.png"])
def test_a_damaged_image_costs_its_comparison_alone(varsr: Run, folders: Path, output: str) -> None:
    (folders / "out" / "b_x4.png").write_bytes(b"no image")
    result = varsr("compare", "in", "out", "-o", output, "--reference", "in")
    assert (result.returncode, result.stdout) == (1, f"{output}\n")
    assert result.stderr.count("b_x4.png") == 1
    (folders / "out" / "a_x4.png").write_bytes(b"no image")
    none = varsr("compare", "in", "out", "-o", f"none-{output}")
    assert none.returncode == 4
    assert not (folders / f"none-{output}").exists()


def test_a_sheet(varsr: Run, folders: Path) -> None:
    result = varsr("compare", "in", "out", "-o", "sheet.png", "--crop", "0,0,40,30", "-q")
    assert (result.returncode, result.stderr) == (0, "")
    with Image.open(folders / "sheet.png") as sheet:
        assert sheet.size == (2 * 40 + 6, 26 + 2 * 30 + 6)


def test_a_page_on_the_way(varsr: Run, folders: Path, nano: Path) -> None:
    result = varsr("upscale", "in", "-d", "large", "-s", "2", "-m", nano, "--compare", "report.html")
    assert result.returncode == 0, result.stderr
    page = (folders / "report.html").read_text()
    assert page.count('"thumbnail"') == 3
    assert "in/a.png" not in result.stdout
    assert "report.html" not in result.stdout, "standard output is for results"
    assert "report.html" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["in/a.png"], 2, "nothing to be compared with"),
        (["in", "out/a_x4.png"], 2, "cannot be compared with each other"),
        (["in/a.png", "in/b.png", "-o", "page.pdf"], 2, "neither a page nor a sheet"),
        (["in/a.png", "in/b.png", "--crop", "0,0,5,5"], 2, "Leave out --crop"),
        (["in/a.png", "in/b.png", "--label", "one"], 2, "Give --label once for each"),
        (["in/a.png", "missing.png"], 4, "does not exist"),
        (["in/a.png", "in/b.png", "-o", "nowhere/page.html"], 5, "does not exist"),
        (["in", "out", "--reference", "in/a.png"], 2, "Name a folder"),
    ],
)
def test_wrong_requests(varsr: Run, folders: Path, arguments: list[str], code: int, message: str) -> None:
    result = varsr("compare", *arguments)
    assert result.returncode == code, result.stderr
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not list(folders.glob("*.html"))
