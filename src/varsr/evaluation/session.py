"""An evaluation from beginning to end: references, inputs, methods, and what was measured of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from varsr.choices import DegradationName
from varsr.errors import RequestError, VarsrError
from varsr.evaluation.datasets import INPUT_NAMES, REFERENCE_NAMES, Pair, bare, files_of, match, subfolder
from varsr.evaluation.evaluate import Evaluation, Measured
from varsr.evaluation.inputs import make_inputs
from varsr.evaluation.methods import Method
from varsr.evaluation.summary import Summary, summarize


@dataclass(frozen=True)
class Made:
    """The degradation that makes inputs of reference images."""

    kind: DegradationName
    scale: int
    seed: int


@dataclass(frozen=True)
class Sources:
    """Pairs of an image and its reference, the references' folder, and files without a partner or of no use."""

    pairs: tuple[Pair, ...]
    references: Path
    unmatched: tuple[Path, ...] = ()
    failed: tuple[tuple[Path, VarsrError], ...] = ()


def given_sources(inputs: Path | None, reference: Path) -> Sources:
    """The inputs of a folder, or of the dataset that the reference folder is, matched with their references.

    Raises `RequestError` or `InputError` where there are none.
    """
    folder = subfolder(inputs or reference, INPUT_NAMES)
    references = subfolder(reference, REFERENCE_NAMES)
    if folder == references:
        raise RequestError(
            f"{reference} holds no folder of inputs.", "Name it as `input`, or have inputs made by `degrade`."
        )
    matched = match(folder, references)
    return Sources(matched.pairs, references, matched.unmatched)


def made_sources(reference: Path, made: Made, folder: Path) -> Sources:
    """Inputs made of the references by a degradation, in a folder."""
    found = [*make_inputs(files_of(subfolder(reference, REFERENCE_NAMES)), folder, made.kind, made.scale, made.seed)]
    pairs = tuple(one for one in found if isinstance(one, Pair))
    return Sources(pairs, folder / "references", failed=tuple(one for one in found if not isinstance(one, Pair)))


class MethodRun:
    """One method measured: iterate over its images, then ask for the summary."""

    def __init__(self, name: str, sources: Sources, results: Path, measured: Iterable[Measured]) -> None:
        self.name, self.sources, self.results = name, sources, results
        self.found: list[Measured] = []
        self._measured = measured

    def __iter__(self) -> Iterator[Measured]:
        for one in self._measured:
            self.found.append(one)
            yield one

    def summary(self, evaluation: Evaluation) -> Summary:
        """Means over the images that were measured, and measures of all of them together."""
        return summarize(self.name, self.found, evaluation.of_folders(self.results, self.sources.references))


def results_run(evaluation: Evaluation, folder: Path, reference: Path) -> MethodRun:
    """The results of a folder against their references. Raises `InputError` where there are none."""
    references = subfolder(reference, REFERENCE_NAMES)
    matched = match(folder, references)
    sources = Sources(matched.pairs, references, matched.unmatched)
    return MethodRun(folder.name, sources, folder, evaluation.of_results(folder.name, matched.pairs))


def method_run(evaluation: Evaluation, method: Method, sources: Sources, folder: Path) -> MethodRun:
    """A method on the sources, its results written into a folder of its name."""
    results = folder / method.name.replace("/", "-")
    return MethodRun(method.name, sources, results, evaluation.of_method(method, sources.pairs, results))


def distinct_names(names: Sequence[str]) -> None:
    """Raise `RequestError` where two methods would stand under one name."""
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"Two methods are called {bare(name) or name}.", "Rename a folder, or name each once.")
