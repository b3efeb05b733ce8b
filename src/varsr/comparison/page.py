"""One self-contained HTML page on which images are compared with a divider between them.

Each layer is an overview of at most `OVERVIEW` pixels and, where it is larger, tiles of its full resolution that a
browser decodes when they come into view.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from varsr.comparison.heatmap import heatmap
from varsr.comparison.layers import Comparison, Layer, made_of_each, with_sizes
from varsr.errors import InputError
from varsr.images.pillow import image_of
from varsr.images.read import read_color
from varsr.images.resize import resize
from varsr.images.size import Size
from varsr.storage.local import replacing
from varsr.tiling.array import FloatImage

OVERVIEW = 2048
TILE = 1024
THUMBNAIL = 160
LOSSLESS_PIXELS = 4_000_000
"""Images up to this size are embedded without loss, larger ones as WebP of high quality."""
QUALITY = 92


def write_page(comparisons: Sequence[Comparison], path: Path) -> list[InputError]:
    """Write the page, whole or not at all; return why comparisons were left out, as `made_of_each` does.

    Raises `InputError` where all are, and `OSError`.
    """
    left_out: list[InputError] = []
    assets = files("varsr.comparison.assets")
    style, script, page = (
        "".join((assets / name).read_text("utf-8") for name in names)
        for names in (("viewer.css", "page.css"), ("viewer.js", "page.js"), ("page.html",))
    )
    before, after = page.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script).split("/*DATA*/")
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(before)
        _write_list(stream, made_of_each(comparisons, _data, left_out))
        stream.write(after)
    return left_out


def _write_list(stream: TextIO, items: Iterator[Any]) -> None:
    """Write a JSON list item by item, in which no text can end the element that it stands in."""
    stream.write("[")
    for number, item in enumerate(items):
        stream.write("," if number else "")
        stream.write(json.dumps(item, ensure_ascii=False).replace("<", "\\u003c"))
    stream.write("]")


def _data(comparison: Comparison) -> dict[str, Any]:
    """All that the page shows of a comparison."""
    embedded: list[dict[str, Any]] = []
    sizes: list[Size] = []
    views: list[FloatImage] = []
    for layer in comparison.layers:
        size, overview, found = _embedded(layer.path)
        sizes.append(size)
        views.append(overview)
        embedded.append(found)
    height, width = max(sizes)
    for layer, found, size in zip(with_sizes(comparison, sizes).layers, embedded, sizes, strict=True):
        found |= {"label": layer.label, "facts": dict(layer.facts), "tiles": _placed(found["tiles"], size, width)}
    embedded += _differences(comparison.layers, views)
    last = views[-1]
    thumbnail = image_of([resize(last, fitted((last.shape[0], last.shape[1]), THUMBNAIL)).clip(0, 1)])
    return {
        "name": comparison.name,
        "width": width,
        "height": height,
        "thumbnail": _uri(thumbnail, lossless=False),
        "layers": embedded,
    }


def fitted(size: Size, longest: int) -> Size:
    """The size, reduced to a longest side."""
    factor = min(1.0, longest / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _embedded(path: Path) -> tuple[Size, FloatImage, dict[str, Any]]:
    """The size of one layer, its overview, and both overview and tiles as they are embedded, in pixels of its own.

    Of a large image no more than these stays in memory.
    """
    color = read_color(path)
    size = color.shape[0], color.shape[1]
    overview = resize(color, fitted(size, OVERVIEW)).clip(0, 1)
    lossless = color.shape[0] * color.shape[1] <= LOSSLESS_PIXELS
    tiles = []
    if overview.shape != color.shape:
        for top in range(0, color.shape[0], TILE):
            for left in range(0, color.shape[1], TILE):
                tile = color[top : top + TILE, left : left + TILE]
                tiles.append([left, top, tile.shape[1], tile.shape[0], _uri(image_of([tile]), lossless)])
    return size, overview, {"overview": _uri(image_of([overview]), lossless), "tiles": tiles}


def _placed(tiles: list[list[Any]], size: Size, width: int) -> list[list[Any]]:
    """Tiles in pixels of the largest layer."""
    factor = width / size[1]
    return [[*(place * factor for place in tile[:4]), tile[4]] for tile in tiles]


def _differences(layers: Sequence[Layer], views: Sequence[FloatImage]) -> Iterator[dict[str, Any]]:
    """Heat maps of what layers have beside the first one."""
    for layer, view in zip(layers[1:], views[1:], strict=True):
        label = f"difference, {layer.label}"
        yield {"label": label, "overview": _uri(image_of([heatmap(view, views[0])]), lossless=False), "tiles": []}


def _uri(image: Image.Image, lossless: bool) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=lossless, quality=0 if lossless else QUALITY, method=1)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
