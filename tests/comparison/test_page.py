"""The comparison page, driven in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from varsr.comparison.layers import Comparison, Layer, of_files, of_folders
from varsr.comparison.page import fitted, write_page
from varsr.comparison.references import with_references

STRANGE = 'it\'s "<img src=x onerror=alert(1)>" & 🐦.png'
RED, GREEN, BLUE = (200, 30, 30), (30, 160, 60), (40, 60, 200)


def write_image(path: Path, color: tuple[int, int, int], size: tuple[int, int] = (80, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def data_of(page: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">\n(.*?)\n</script>', page.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """The page of a folder of 3 images and its results, and everything that went wrong on it."""
    for name in ("a.png", "b.png", STRANGE.replace("/", "_")):
        write_image(tmp_path / "album" / name, RED)
        write_image(tmp_path / "large" / f"{Path(name).stem}_x4.png", BLUE, (320, 240))
    comparisons, _ = of_folders([tmp_path / "album", tmp_path / "large"], ["album", "large"])
    write_page(comparisons, tmp_path / "page.html")
    page = browser.new_page(viewport={"width": 900, "height": 700})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_timeout(300)
    yield page
    assert not problems
    page.close()


def color_at(page: Any, x: float, y: float) -> tuple[int, ...]:
    """The colour of the canvas at a share of its width and height."""
    page.wait_for_timeout(150)
    return tuple(
        page.evaluate(
            """([x, y]) => {
                const c = document.getElementById("canvas");
                return [...c.getContext("2d").getImageData(x * c.width, y * c.height, 1, 1).data].slice(0, 3);
            }""",
            [x, y],
        )
    )


def test_the_divider_parts_left_from_right(opened: Any) -> None:
    assert color_at(opened, 0.4, 0.5) == RED
    assert color_at(opened, 0.6, 0.5) == BLUE
    opened.locator("#position").fill("70")
    assert color_at(opened, 0.6, 0.5) == RED
    box = opened.locator("#divider").bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    opened.mouse.down()
    opened.mouse.move(900 * 0.3, box["y"] + 20, steps=4)
    opened.mouse.up()
    assert color_at(opened, 0.4, 0.5) == BLUE


def test_keys_move_zoom_swap_and_leaf(opened: Any) -> None:
    opened.locator("#canvas").focus()
    for _ in range(10):
        opened.keyboard.press("ArrowRight")
    assert color_at(opened, 0.6, 0.5) == RED
    opened.keyboard.press("s")
    assert color_at(opened, 0.6, 0.5) == BLUE
    opened.keyboard.press("1")
    assert opened.locator("#zoom").text_content() == "100 %"
    opened.keyboard.press("+")
    assert opened.locator("#zoom").text_content() == "150 %"
    before = opened.evaluate("viewer.x")
    opened.keyboard.press("Shift+ArrowLeft")
    assert opened.evaluate("viewer.x") > before
    opened.keyboard.press("0")
    assert opened.locator("#zoom").text_content() not in ("100 %", "150 %")
    opened.keyboard.press("n")
    assert opened.locator("h1").text_content() == "b.png"
    opened.keyboard.press("p")
    opened.keyboard.press("p")
    assert opened.locator("h1").text_content() == STRANGE


def test_wheel_and_drag_move_both_sides_together(opened: Any) -> None:
    before = opened.evaluate("viewer.scale")
    opened.mouse.move(450, 300)
    opened.mouse.wheel(0, -400)
    opened.wait_for_timeout(100)
    scale, x = opened.evaluate("[viewer.scale, viewer.x]")
    assert scale > 2 * before
    opened.mouse.move(300, 300)
    opened.mouse.down()
    opened.mouse.move(350, 300, steps=3)
    opened.mouse.up()
    assert opened.evaluate("viewer.x") == pytest.approx(x + 50, abs=1)


def test_thumbnails_choose_an_image_and_names_are_text(opened: Any) -> None:
    assert opened.locator("#strip button").count() == 3
    opened.get_by_role("button", name=STRANGE).click()
    assert opened.locator("h1").text_content() == STRANGE
    assert opened.locator("h1 *").count() == 0
    assert STRANGE in opened.title()


def test_layers_are_chosen_by_name_and_the_difference_is_one(opened: Any) -> None:
    options = opened.locator("#right option").all_text_contents()
    assert options == ["album", "large", "difference, large"]
    opened.locator("#right").select_option(label="difference, large")
    assert color_at(opened, 0.6, 0.5) not in (RED, BLUE)
    assert "difference" in opened.locator("#canvas").get_attribute("aria-label")


def test_every_control_has_a_name(opened: Any) -> None:
    names_of = "c => [c.ariaLabel, c.textContent, c.labels?.[0]?.textContent, c.querySelector('img')?.alt]"
    for control in opened.locator("button, select, input, canvas").all():
        names = control.evaluate(names_of)
        assert any(name and name.strip() for name in names)


def test_it_fits_a_phone(opened: Any) -> None:
    opened.set_viewport_size({"width": 360, "height": 640})
    opened.wait_for_timeout(200)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360
    assert opened.locator("#stage").bounding_box()["height"] > 120


def test_pinching_zooms(browser: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", RED)
    write_page(of_files([tmp_path / "a.png"] * 2, ["a", "b"]), tmp_path / "page.html")
    page = browser.new_page(has_touch=True, viewport={"width": 400, "height": 600})
    page.goto((tmp_path / "page.html").as_uri())
    before = page.evaluate("viewer.scale")
    client = page.context.new_cdp_session(page)

    def touch(kind: str, apart: int) -> None:
        points = [{"x": 200 - apart, "y": 250, "id": 0}, {"x": 200 + apart, "y": 250, "id": 1}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else points})

    touch("touchStart", 40)
    for apart in (60, 80, 100):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    assert page.evaluate("viewer.scale") > 1.8 * before
    page.close()


def test_large_images_come_in_tiles_of_their_full_resolution(browser: Any, tmp_path: Path) -> None:
    """A line of one pixel is gone in the overview and there at 1:1."""
    pixels = np.zeros((2600, 3100, 3), np.uint8)
    pixels[:, 2500] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    write_page(of_files([tmp_path / "wide.png"] * 2, ["a", "b"]), tmp_path / "page.html")
    (found,) = data_of(tmp_path / "page.html")
    layer = found["layers"][0]
    assert sum(tile[2] * tile[3] for tile in layer["tiles"]) == 2600 * 3100
    page = browser.new_page(viewport={"width": 900, "height": 700})
    page.goto((tmp_path / "page.html").as_uri())
    page.keyboard.press("1")
    page.evaluate("viewer.pan(-(viewer.x + 2500 * viewer.scale) + 450, 0)")
    page.wait_for_timeout(600)
    assert color_at(page, 450.5 / 900, 0.5)[0] > 200
    page.close()


def test_the_script_element_holds_every_name(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", RED)
    name = "</script><script>alert(1)</script>"
    layers = (Layer(name, tmp_path / "a.png"), Layer("b", tmp_path / "a.png"))
    write_page([Comparison(name, layers)], tmp_path / "page.html")
    (found,) = data_of(tmp_path / "page.html")
    assert found["name"] == found["layers"][0]["label"] == name


def test_facts_of_a_reference(tmp_path: Path) -> None:
    for name in ("in.png", "out.png", "truth.png"):
        write_image(tmp_path / name, GREEN, (96, 96))
    comparisons = with_references(
        of_files([tmp_path / "in.png", tmp_path / "out.png"], ["in", "out"]), tmp_path / "truth.png"
    )
    write_page(comparisons, tmp_path / "page.html")
    (found,) = data_of(tmp_path / "page.html")
    facts = {layer["label"]: layer.get("facts") for layer in found["layers"]}
    assert facts["out"]["PSNR"] == "inf"
    assert facts["out"]["size"] == "96 × 96"
    assert "reference" in facts


def test_sizes_are_fitted() -> None:
    assert fitted((1000, 4096), 2048) == (500, 2048)
    assert fitted((10, 20), 2048) == (10, 20)
