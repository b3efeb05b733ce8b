"""The plan: inputs are found and outputs named, and collisions refused, before any work starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from varsr.errors import InputError, OutputError, RequestError
from varsr.jobs.listing import expanded, images_in, is_folder
from varsr.jobs.naming import Naming
from varsr.storage.streams import STREAM


@dataclass(frozen=True)
class Job:
    """An image and where its result goes.

    It was `found` in a folder where it was not named itself. A `problem` is why it cannot be read.
    """

    source: Path
    target: Path
    found: bool = False
    problem: InputError | None = None


@dataclass(frozen=True)
class Plan:
    """Jobs, and how many files of folders were left out as results of earlier runs."""

    jobs: list[Job]
    results: int = 0


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, so that several machines or processes share a folder."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "2/8". Raises `RequestError`."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise RequestError(f"{text!r} is not a shard.", "Write part 2 of 8 as 2/8.")
        return cls(int(match[1]), int(match[2]))

    def of(self, jobs: Sequence[Job]) -> list[Job]:
        """Every count-th job."""
        return list(jobs[self.number - 1 :: self.count])


def plan(inputs: Sequence[Path], recursive: bool, naming: Naming, values: Mapping[str, str]) -> Plan:
    """The jobs of files, folders and the stream, in the order given, folders sorted.

    A folder's files that are named as results of an earlier run, of this size or another, are none. A folder that
    cannot be looked into is a job with a problem. Raises `InputError` where a folder holds no image, `OutputError`
    where two inputs would write one output.
    """
    jobs: list[Job] = []
    results = 0
    for given in chain.from_iterable(map(expanded, inputs)):
        if given == STREAM:
            raise RequestError(
                "Standard input needs a name for its result.",
                "Add `output` FILE, or `output` - for standard output.",
            )
        if not is_folder(given):
            jobs.append(Job(given, naming.target(given, given.parent, values)))
            continue
        paths, problems = images_in(given, recursive)
        found = [path for path in paths if not naming.is_result(path, values)]
        results += len(paths) - len(found)
        if not found and not problems:
            raise InputError(f"{given} holds no {'inputs' if paths else 'images'}.", _advice(len(paths), recursive))
        jobs += [Job(path, naming.target(path, given, values), found=True) for path in found]
        jobs += [Job(folder, folder, problem=problem) for folder, problem in problems]
    unique = list({_identity(job.source): job for job in jobs}.values())
    _refuse_collisions([job for job in unique if job.problem is None])
    return Plan(unique, results)


def _advice(results: int, recursive: bool) -> str:
    if results:
        return f"It holds {results} results of earlier runs; name a file itself to upscale it again."
    return "Name another." if recursive else "Add `recursive` to include its subfolders."


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = _identity(job.target)
        if target in taken:
            raise OutputError(
                f"{taken[target]} and {job.source} would both write {job.target}.",
                "Keep them apart with {source_ext} in `name`, with `output_dir` or with `format`.",
            )
        taken[target] = job.source


def _identity(path: Path) -> Path:
    """A path that is the same for all ways to write it, whether it exists or not."""
    try:
        return path.parent.resolve() / path.name
    except OSError:  # the current folder is gone
        return path
