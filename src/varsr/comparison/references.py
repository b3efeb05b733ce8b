"""Reference images of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from varsr.comparison.layers import Comparison, with_reference
from varsr.errors import RequestError
from varsr.evaluation.datasets import REFERENCE_NAMES, bare, files_of, subfolder


def with_references(comparisons: Sequence[Comparison], reference: Path) -> list[Comparison]:
    """Comparisons with their reference images: the one file for the only one, or those of a folder by name.

    Raises `RequestError` where one file is given for several.
    """
    if not reference.is_dir():
        if len(comparisons) > 1:
            raise RequestError(f"{reference} is one image for {len(comparisons)} comparisons.", "Name a folder.")
        return [with_reference(comparison, reference) for comparison in comparisons]
    by_name = {bare(path.stem): path for path in files_of(subfolder(reference, REFERENCE_NAMES))}
    found = []
    for comparison in comparisons:
        path = by_name.get(bare(Path(comparison.name).stem))
        found.append(with_reference(comparison, path) if path else comparison)
    return found
