"""The page, driven in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import isolated
from tests.golden import DATA
from tests.waiting import wait_for
from tests.web.server import Server, serving


@pytest.fixture(scope="module")
def server(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    with serving(isolated(folder), nano, folder, "--token", "secret") as started:
        yield started


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(browser: Any, server: Server, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, opened by the address that the server printed; nothing may go wrong on it."""
    width, height = request.param
    known = {"authorization": "Bearer secret"}
    for job in json.loads(server.ask("GET", "/api/v1/jobs", None, known)[1]):
        server.ask("DELETE", f"/api/v1/jobs/{job['id']}", None, known)
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda sent: None if _is_own(sent.url, server) else wrong.append(sent.url))
    page.goto(server.url)
    yield page
    context.close()
    assert [text for text in wrong if "status of 422" not in text] == []


def until(page: Any, condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait from outside of the page, whose policy forbids to evaluate text in it."""
    wait_for(condition, seconds, lambda: page.wait_for_timeout(50))


def _is_own(url: str, server: Server) -> bool:
    return url.startswith((f"http://127.0.0.1:{server.port}/", "data:", "blob:"))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    found = []
    for name in ("a.png", "b <img src=x onerror=alert(1)>.png"):
        with Image.open(DATA / "dandelion.jpg") as image:
            image.crop((20, 20, 80, 60)).save(tmp_path / name)
        found.append(tmp_path / name)
    return found


def color_at(card: Any, x: float, y: float) -> tuple[int, ...]:
    """The pixel that the canvas of a card shows at a place, both coordinates from 0 to 1."""
    read = """(canvas, [x, y]) => [...canvas.getContext('2d').getImageData(
        Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data]"""
    return tuple(card.locator("canvas").evaluate(read, [x, y]))


def test_photos_are_upscaled_and_looked_at(page: Any, photos: list[Path], tmp_path: Path) -> None:
    assert "token" not in page.url
    page.select_option("#scale", "2")
    page.set_input_files("#files", photos)
    until(page, lambda: page.locator(".job.done").count() >= 2)
    card = page.locator(".job").first
    assert "120 × 80 px" in card.locator(".state").inner_text()
    assert page.locator("#jobs img[src=x]").count() == 0
    card.scroll_into_view_if_needed()
    position = card.locator(".position")
    until(page, lambda: "upscaled" in (card.locator("canvas").get_attribute("aria-label") or ""))
    until(page, lambda: color_at(card, 0.5, 0.5) != (0, 0, 0, 0))
    position.focus()
    position.press("Home")
    until(page, lambda: card.locator(".divider").evaluate("divider => divider.style.left") == "0%")
    upscaled = color_at(card, 0.3, 0.4)
    position.press("End")
    until(page, lambda: card.locator(".divider").evaluate("divider => divider.style.left") == "100%")
    assert color_at(card, 0.3, 0.4) != upscaled, "the divider shows the input in place of the result"
    card.locator(".stage").hover()
    page.mouse.wheel(0, -100)
    page.mouse.wheel(0, 100)
    assert "scrolled" in card.locator(".stage").get_attribute("class"), "the wheel scrolls the page"
    card.locator(".actual").click()
    assert "scrolled" not in card.locator(".stage").get_attribute("class")
    assert card.locator(".zoom").inner_text() == "100 %"
    with page.expect_download() as started:
        card.locator(".download").click()
    started.value.save_as(tmp_path / "result.png")
    with Image.open(tmp_path / "result.png") as image:
        assert image.size == (120, 80)
    with page.expect_download() as started:
        page.locator("#all").click()
    assert started.value.suggested_filename == "varsr.zip"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"
    page.reload()
    until(page, lambda: page.locator(".job.done").count() >= 2)
    number = page.locator(".job").count()
    page.locator(".job .remove").first.click()
    until(page, lambda: page.locator(".job").count() == number - 1)


def test_an_unreadable_file_shows_its_reason(page: Any, tmp_path: Path) -> None:
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    page.set_input_files("#files", tmp_path / "damaged.png")
    page.wait_for_selector(".job.failed")
    assert "damaged" in page.locator(".job.failed .state").first.inner_text()


def test_files_are_dropped(page: Any, photos: list[Path]) -> None:
    import base64

    content = base64.b64encode(photos[0].read_bytes()).decode()
    before = page.locator(".job").count()
    page.evaluate(
        """async (content) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], 'dropped.png', {type: 'image/png'}));
            document.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
        }""",
        content,
    )
    until(page, lambda: page.locator(".job").count() > before)
    until(page, lambda: "done" in page.locator(".job").first.get_attribute("class"))
    assert page.locator(".job .name").first.inner_text() == "dropped.png"


def test_the_documentation_works(page: Any, server: Server) -> None:
    page.goto(f"http://127.0.0.1:{server.port}/docs")
    page.wait_for_selector(".opblock", timeout=30_000)
    assert page.locator(".opblock").count() >= 8
