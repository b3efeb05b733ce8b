"""What is to be done: inputs found, outputs named, collisions seen before any work starts."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from varsr.batch.naming import Naming
from varsr.errors import InputError, OutputError, RequestError
from varsr.imaging.formats import READ_SUFFIXES
from varsr.imaging.size import LABEL

STREAM = Path("-")
"""Standard input or standard output."""
NO_ALBUMS = ("@eaDir", "#recycle", "$RECYCLE.BIN")
"""Folders in which network drives and Windows keep thumbnails and what was deleted."""


@dataclass(frozen=True)
class Job:
    """A picture and where its result goes."""

    source: Path
    target: Path


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
            raise RequestError(f"{text!r} is no shard.", "Write the second of eight as 2/8.")
        return cls(int(match[1]), int(match[2]))

    def of(self, jobs: Sequence[Job]) -> list[Job]:
        """Every count-th job."""
        return list(jobs[self.number - 1 :: self.count])


def plan(inputs: Sequence[Path], recursive: bool, naming: Naming, values: Mapping[str, str]) -> list[Job]:
    """The jobs of files, folders and the stream, in the order given, folders sorted.

    A folder's files that are named as results of an earlier run, of this size or another, beside their inputs are none.
    Raises `InputError` where an input is not there or a folder holds no picture, `OutputError` where two inputs
    would write one output.
    """
    jobs: list[Job] = []
    for given in chain.from_iterable(map(_expanded, inputs)):
        if given == STREAM:
            raise RequestError(
                "Standard input needs a place for its result.", "Add -o FILE, or -o - for standard output."
            )
        if not given.is_dir():
            jobs.append(Job(given, naming.target(given, given.parent, values)))
            continue
        found = [Job(path, naming.target(path, given, values)) for path in sorted(pictures_in(given, recursive))]
        results = {_identity(job.target) for job in found}
        found = [job for job in found if results.isdisjoint(map(_identity, _at_any_size(job.source, values["size"])))]
        if not found:
            raise InputError(f"{given} holds no picture.", "Add --recursive to look into its folders.")
        jobs += found
    unique = list({_identity(job.source): job for job in jobs}.values())
    _refuse_collisions(unique)
    return unique


def _expanded(given: Path) -> list[Path]:
    """What a pattern stands for, where the shell left it as it is; anything else itself."""
    if given.exists() or not glob.has_magic(str(given)):
        return [given]
    found = sorted(glob.glob(str(given), recursive=True))  # noqa: PTH207, a pattern may be absolute
    return [Path(name) for name in found] or [given]


def pictures_in(folder: Path, recursive: bool) -> Iterator[Path]:
    """The files of a folder whose suffix is a picture's, hidden ones and `NO_ALBUMS` apart.

    Links to folders are not followed.
    """
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".") and name not in NO_ALBUMS]
        for name in files:
            if Path(name).suffix.lower() in READ_SUFFIXES and not name.startswith("."):
                yield Path(root) / name


def _at_any_size(result: Path, label: str) -> Iterator[Path]:
    """What a result may be called at the size of `label`: as it is, or with that in place of a size in its name."""
    yield result
    for size in LABEL.finditer(result.name):
        yield result.with_name(result.name[: size.start()] + label + result.name[size.end() :])


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = _identity(job.target)
        if target in taken:
            raise OutputError(
                f"{taken[target]} and {job.source} would both write {job.target}.",
                "Tell them apart with --name, --output-dir or --format.",
            )
        taken[target] = job.source


def _identity(path: Path) -> Path:
    """A path that is the same for all ways to write it, whether it exists or not."""
    return path.parent.resolve() / path.name
