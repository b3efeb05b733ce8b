"""Images that are compared with each other: their files, labels, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from varsr.errors import InputError, RequestError
from varsr.evaluation.datasets import match
from varsr.evaluation.measures import Convention, measure
from varsr.images.read import read_color
from varsr.images.size import Size
from varsr.tiling.array import FloatImage

T = TypeVar("T")
MEASURES = ("psnr", "ssim", "niqe")


@dataclass(frozen=True)
class Layer:
    """One of the images that are laid on each other. `facts` are shown beside it."""

    label: str
    path: Path
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Layers that show the same: the first is what the others are compared with."""

    name: str
    layers: tuple[Layer, ...]


def of_files(paths: Sequence[Path], labels: Sequence[str]) -> list[Comparison]:
    """Files beside each other, as one comparison."""
    layers = tuple(Layer(label, path) for label, path in zip(labels, paths, strict=True))
    return [Comparison(paths[0].name, layers)]


def of_folders(folders: Sequence[Path], labels: Sequence[str]) -> tuple[list[Comparison], list[Path]]:
    """The images of folders that belong together by their names, and those of the first that have no partner.

    Raises `InputError` where a folder has no images, `RequestError` where nothing belongs together.
    """
    found: dict[Path, list[Layer]] = {}
    unmatched: list[Path] = []
    for label, folder in zip(labels[1:], folders[1:], strict=True):
        matched = match(folders[0], folder)
        for pair in matched.pairs:
            layers = found.setdefault(pair.image, [Layer(labels[0], pair.image)])
            layers.append(Layer(label, pair.partner))
        unmatched += matched.unmatched
    if not found:
        raise RequestError("No images of the folders belong together by their names.", "Compare two files instead.")
    return [Comparison(path.name, tuple(layers)) for path, layers in sorted(found.items())], unmatched


def made_of_each(
    comparisons: Sequence[Comparison], make: Callable[[Comparison], T], left_out: list[InputError]
) -> Iterator[T]:
    """Make something of each comparison. Of several, those with an image that cannot be read are left out and noted.

    Raises `InputError` where that is so of all.
    """
    for comparison in comparisons:
        try:
            made = make(comparison)
        except InputError as error:  # noqa: PERF203, each may fail by itself
            left_out.append(error)
            if len(left_out) == len(comparisons):
                raise
        else:
            yield made


def with_reference(comparison: Comparison, reference: Path) -> Comparison:
    """The comparison with a reference image as its last layer, and measures of those that have its size."""
    target = read_color(reference)
    layers = tuple(_measured(layer, target) for layer in comparison.layers)
    return replace(comparison, layers=(*layers, Layer("reference", reference)))


def with_sizes(comparison: Comparison, sizes: Sequence[Size]) -> Comparison:
    """The comparison with the sizes of the images and of their files among the facts."""
    layers = tuple(
        replace(layer, facts={"size": f"{width} × {height}", "file": _bytes(layer.path.stat().st_size), **layer.facts})
        for layer, (height, width) in zip(comparison.layers, sizes, strict=True)
    )
    return replace(comparison, layers=layers)


def _measured(layer: Layer, target: FloatImage) -> Layer:
    try:
        color = read_color(layer.path)
    except InputError:  # it is named when the comparison is made
        return layer
    if color.shape != target.shape:
        return layer
    values = measure(MEASURES, color, target, Convention())
    return replace(layer, facts={name.upper(): f"{value:.3f}" for name, value in values.items()})


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
