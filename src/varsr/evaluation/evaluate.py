"""Results of several methods measured against reference images."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from varsr.errors import VarsrError, as_varsr_error
from varsr.evaluation.datasets import Pair
from varsr.evaluation.inputs import write_png
from varsr.evaluation.learned import OF_FOLDERS, LearnedMeasures
from varsr.evaluation.measures import MEASURES, Convention, measure
from varsr.evaluation.methods import Method
from varsr.images.read import read_color
from varsr.runtime.cpu import usable_cores

MOST_WORKERS = 8
PENDING = 2 * MOST_WORKERS


@dataclass(frozen=True)
class Measured:
    """The measures of one result, or the error that prevented them."""

    method: str
    image: str
    values: dict[str, float] = field(default_factory=dict)
    error: VarsrError | None = None


@dataclass(frozen=True)
class Plan:
    """The measures to make, and under which convention."""

    measures: tuple[str, ...]
    convention: Convention

    @property
    def own(self) -> list[str]:
        """Measures that varsr computes itself."""
        return [name for name in self.measures if name in MEASURES]

    @property
    def by_network(self) -> list[str]:
        """Measures of single images by networks."""
        return [name for name in self.measures if name not in MEASURES and name not in OF_FOLDERS]

    @property
    def of_folders(self) -> list[str]:
        """Measures of all images together."""
        return [name for name in self.measures if name in OF_FOLDERS]


class Evaluation:
    """Measures results in processes beside this one, and by networks in this one."""

    def __init__(self, plan: Plan, executor: Executor, device: torch.device) -> None:
        self.plan = plan
        self.executor = executor
        self.learned = LearnedMeasures(device)

    def of_results(self, method: str, pairs: Iterable[Pair]) -> Iterator[Measured]:
        """The measures of results, in order. A pair's `image` is the result, its partner the reference."""
        return self._measured(method, ((pair.name, pair) for pair in pairs))

    def of_method(self, method: Method, pairs: Iterable[Pair], folder: Path) -> Iterator[Measured]:
        """Enlarge the images of pairs to the size of their partners, write them into a folder, and measure them."""
        return self._measured(method.name, ((pair.name, _enlarged(method, pair, folder)) for pair in pairs))

    def _measured(self, method: str, results: Iterable[tuple[str, Pair | VarsrError]]) -> Iterator[Measured]:
        """Results are taken while others are measured, at most `PENDING` of them."""
        pending: deque[tuple[Pair, Future[Measured]] | Measured] = deque()
        for name, result in results:
            if isinstance(result, VarsrError):
                pending.append(Measured(method, name, error=result))
            else:
                task = self.executor.submit(measured, method, result, self.plan.own, self.plan.convention)
                pending.append((result, task))
            if len(pending) >= PENDING:
                yield self._completed(pending.popleft())
        yield from map(self._completed, pending)

    def _completed(self, pending: tuple[Pair, Future[Measured]] | Measured) -> Measured:
        """The measures of a result, those by networks added."""
        if isinstance(pending, Measured):
            return pending
        pair, task = pending
        found = task.result()
        if found.error or not self.plan.by_network:
            return found
        for name in self.plan.by_network:
            self.learned.load(name)  # a network that cannot be had ends the evaluation, one that fails here does not
        try:
            result, reference = read_color(pair.image), read_color(pair.partner)
            more = {name: self.learned.of_image(name, result, reference) for name in self.plan.by_network}
        except Exception as error:
            return Measured(found.method, found.image, error=as_varsr_error(error))
        return Measured(found.method, found.image, found.values | more)

    def of_folders(self, results: Path, references: Path) -> dict[str, float]:
        """The measures of all images of a folder together."""
        return {name: self.learned.of_folders(name, results, references) for name in self.plan.of_folders}


@contextmanager
def measuring(workers: int | None) -> Iterator[Executor]:
    """Processes that measure: as many as asked for, else one for each core."""
    count = workers or min(MOST_WORKERS, usable_cores())
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_use_one_thread)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def measured(method: str, pair: Pair, names: Sequence[str], convention: Convention) -> Measured:
    """Read a result and its reference, and measure them. Errors are returned."""
    try:
        values = measure(names, read_color(pair.image), read_color(pair.partner), convention)
    except Exception as error:
        return Measured(method, pair.name, error=as_varsr_error(error))
    return Measured(method, pair.name, values)


def _enlarged(method: Method, pair: Pair, folder: Path) -> Pair | VarsrError:
    """A result and its reference; the error where there is none."""
    path = folder / f"{pair.name}.png"
    try:
        reference = read_color(pair.partner)
        write_png(method.enlarge(read_color(pair.image), (reference.shape[0], reference.shape[1])), path)
    except Exception as error:
        return as_varsr_error(error)
    return Pair(pair.name, path, pair.partner)


def _use_one_thread() -> None:
    torch.set_num_threads(1)
