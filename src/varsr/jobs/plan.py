"""The plan: inputs are found and outputs named, and collisions refused before any work starts, or at their turn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

from varsr.errors import InputError, OutputError, RequestError
from varsr.images.formats import how_to_get
from varsr.jobs.hash_set import HashSet
from varsr.jobs.listing import expanded, is_folder, is_readable, walk
from varsr.jobs.naming import Naming
from varsr.storage.address import Place, Remote
from varsr.storage.streams import STREAM
from varsr.video.formats import is_video

CHECKED = 10_000
"""Jobs that are known, and checked for collisions, before the first begins."""
_KEEP_APART = "Keep them apart with {source_ext} in `name`, with `output_dir` or with `format`."


@dataclass(frozen=True)
class Job:
    """An image and where its result goes.

    It was `found` in a folder where it was not named itself. A `problem` is why it cannot be done.
    """

    source: Place
    target: Place
    found: bool = False
    problem: InputError | OutputError | None = None

    @property
    def name(self) -> str:
        """Its name in messages."""
        return str(self.source)

    @property
    def is_of_files(self) -> bool:
        """True where both are files of this machine."""
        return all(isinstance(place, Path) and place != STREAM for place in (self.source, self.target))

    @property
    def source_file(self) -> Path:
        """The source, where it is a file of this machine."""
        assert isinstance(self.source, Path)
        return self.source

    @property
    def target_file(self) -> Path:
        """The target, where it is a file of this machine."""
        assert isinstance(self.target, Path)
        return self.target


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

    def of(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Every count-th job."""
        return islice(iter(jobs), self.number - 1, None, self.count)

    def size(self, total: int) -> int:
        """The number of jobs of this part, of `total` in all."""
        return len(range(self.number - 1, total, self.count))


@dataclass(frozen=True)
class Source:
    """An input, and the folder whose tree is kept below the output folder; None is the input's own."""

    path: Place
    base: Place | None = None


class Plan:
    """The jobs of files, folders and lists, in the order given, folders sorted. Iterate over it once.

    Up to `CHECKED` jobs are known before the first begins. Of more, the others are found as they are asked for; one
    that would write what an earlier one has written is then a job with a problem.
    """

    def __init__(self, sources: Iterable[Source], recursive: bool, naming: Naming, values: Mapping[str, str]) -> None:
        """Begin to plan.

        Raises `InputError` where a folder holds no image, `OutputError` where two inputs would write one output.
        """
        self._recursive, self._naming, self._values = recursive, naming, values
        self.results = 0
        """Files of folders that were left out so far, as results of earlier runs."""
        self.left_out: Counter[str] = Counter()
        """Raw photographs and videos in folders that were left out so far, by the extra that would read them."""
        found = self._found(sources)
        self._first = list({_identity(job.source): job for job in islice(found, CHECKED)}.values())
        _refuse_collisions([job for job in self._first if job.problem is None])
        following = next(found, None)
        self.total = len(self._first) if following is None else None
        """The number of jobs; None where there are more than are checked beforehand."""
        self._rest = chain([following] if following else (), found)

    @property
    def first(self) -> Sequence[Job]:
        """The jobs that are known before the first begins."""
        return self._first

    def __iter__(self) -> Iterator[Job]:
        if self.total is not None:
            return iter(self._first)
        return self._without_collisions()

    def _found(self, sources: Iterable[Source]) -> Iterator[Job]:
        for source in sources:
            if source.path == STREAM:
                raise RequestError(
                    "Standard input needs a name for its result.",
                    "Add `output` FILE, or `output` - for standard output.",
                )
            if is_folder(source.path):
                yield from self._of_folder(source.path, source.base or source.path)
            else:
                yield self._job(source.path, source.base or source.path.parent)

    def _of_folder(self, folder: Place, root: Place) -> Iterator[Job]:
        """The files of a folder. Those that are named as results of an earlier run, of this size or another, are none.

        A folder that cannot be looked into is a job with a problem. Raises `InputError` where there is nothing else.
        """
        before, jobs = self.results, 0
        for found in walk(folder, self._recursive):
            if isinstance(found, tuple):
                yield Job(found[0], found[0], problem=found[1])
            elif self._naming.is_result(found, self._values):
                self.results += 1
                continue
            elif not is_readable(found):
                self.left_out["video" if is_video(found.name) else "raw"] += 1
                continue
            else:
                yield self._job(found, root, found=True)
            jobs += 1
        if not jobs:
            results = self.results - before
            kind = "inputs" if results else "images"
            raise InputError(f"{folder} holds no {kind}.", _advice(results, self.left_out, self._recursive))

    def _job(self, path: Place, root: Place, found: bool = False) -> Job:
        try:
            return Job(path, self._naming.target(path, root, self._values), found)
        except OutputError as error:
            return Job(path, path, problem=error)
        except ValueError:  # it is not below the root
            problem = InputError(f"{path} is not below {root}.", "Choose another `base`, or leave the file out.")
            return Job(path, path, problem=problem)

    def _without_collisions(self) -> Iterator[Job]:
        """All jobs; a problem with those for whose result an earlier one has taken the name."""
        taken = HashSet()
        for job in chain(self._first, self._rest):
            if job.problem is None and not taken.add(str(_identity(job.target))):
                error = OutputError(f"{job.source} would write {job.target} once more.", _KEEP_APART)
                yield replace(job, problem=error)
            else:
                yield job


def listed(names: Iterable[Place], base: Place | None = None) -> Iterator[Source]:
    """Names that stand in a list, as they are."""
    return (Source(name, base) for name in names)


def given(inputs: Iterable[Place]) -> Iterator[Source]:
    """Inputs given as arguments, patterns that no shell has expanded among them."""
    return (Source(path) for path in chain.from_iterable(map(expanded, inputs)))


def left_out_words(extra: str, count: int) -> str:
    """Files that an extra would read, in words."""
    return f"{count} {'videos' if extra == 'video' else 'raw photographs'}"


def _advice(results: int, left_out: Mapping[str, int], recursive: bool) -> str:
    for extra, count in left_out.items():
        return f"It holds {left_out_words(extra, count)}. {how_to_get(extra)}"
    if results:
        return f"It holds {results} results of earlier runs; name a file itself to upscale it again."
    return "Name another." if recursive else "Add `recursive` to include its subfolders."


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    taken: dict[Place, Place] = {}
    for job in jobs:
        target = _identity(job.target)
        if target in taken:
            raise OutputError(
                f"{taken[target]} and {job.source} would both write {job.target}.",
                _KEEP_APART,
            )
        taken[target] = job.source


def _identity(path: Place) -> Place:
    """A path that is the same for all ways to write it, whether it exists or not."""
    if isinstance(path, Remote):
        return path
    return _resolved(path.parent) / path.name


@lru_cache(maxsize=1024)
def _resolved(folder: Path) -> Path:
    try:
        return folder.resolve()
    except OSError:  # the current folder is gone
        return folder
