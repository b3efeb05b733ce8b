"""An inbox: files that appear in a folder, found once they have stopped growing, and moved away afterwards."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from varsr.errors import OutputError, RequestError, VarsrError, describe
from varsr.jobs.listing import is_readable, walk
from varsr.storage.local import replacing

EMPTY_SECONDS = 60.0
"""Until a file without content is settled: some programs make it long before they fill it."""
_JOURNAL = ".attempts.json"


@dataclass(frozen=True)
class Places:
    """The folder that is watched, and those that files are moved to; `done` is None where inputs stay.

    Folders that are `excluded` are not looked into. Raises `RequestError` where a result or a moved file would be
    found as an input again.
    """

    inbox: Path
    output: Path
    failed: Path
    done: Path | None = None
    excluded: tuple[Path, ...] = ()
    recursive: bool = False

    def __post_init__(self) -> None:
        for folder in (self.output, self.done):
            if folder is not None and self.is_searched(folder):
                raise RequestError(
                    f"{folder} lies in {self.inbox}: what is put there would be taken for an input.",
                    "Choose a folder elsewhere, or leave it out with `exclude`.",
                )

    def is_searched(self, folder: Path) -> bool:
        """True for the inbox, and where it is searched with its subfolders for those that are not excluded."""
        place = folder.resolve()
        if place == self._root:
            return True
        return self.recursive and self._root in place.parents and not self._is_excluded(place)

    def takes(self, path: Path) -> bool:
        """True for a file that is an input: not a link, nor in a folder that is excluded."""
        return not path.is_symlink() and is_readable(path) and not self._is_excluded(self._root / self.relative(path))

    def relative(self, path: Path) -> Path:
        """The place of an input below the inbox."""
        return path.relative_to(self.inbox)

    @cached_property
    def _root(self) -> Path:
        return self.inbox.resolve()

    @cached_property
    def _left_out(self) -> frozenset[Path]:
        return frozenset(folder.resolve() for folder in (self.failed, *self.excluded))

    def _is_excluded(self, place: Path) -> bool:
        return not self._left_out.isdisjoint((place, *place.parents))


class Arrivals:
    """The files of an inbox, seen again and again: each is settled when it has not changed for `seconds`."""

    def __init__(self, places: Places, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._places, self._seconds, self._clock = places, seconds, clock
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}
        self._taken: dict[Path, tuple[int, int]] = {}
        self.waiting = False
        """True where a file was still changing when it was last looked at."""

    def settled(self) -> list[Path]:
        """The files that are settled and not taken yet, the oldest first."""
        now, seen = self._clock(), self._seen
        self._seen, found = {}, []
        for path in self._files():
            try:
                state = path.stat()
            except OSError:  # it has just been moved away
                continue
            mark = (state.st_size, state.st_mtime_ns)
            if self._taken.get(path) == mark:
                self._seen[path] = (mark, now)
                continue
            since = seen[path][1] if path in seen and seen[path][0] == mark else now
            self._seen[path] = (mark, since)
            if now - since >= (self._seconds if state.st_size else max(self._seconds, EMPTY_SECONDS)):
                found.append((state.st_mtime_ns, path))
        self._taken = {p: mark for p, mark in self._taken.items() if p in self._seen and self._seen[p][0] == mark}
        self.waiting = len(self._seen) > len(self._taken) + len(found)
        return [path for _, path in sorted(found)]

    def take(self, path: Path) -> None:
        """Leave a file alone from now on, unless it changes."""
        if path in self._seen:
            self._taken[path] = self._seen[path][0]

    def _files(self) -> Iterable[Path]:
        walked = walk(self._places.inbox, self._places.recursive)
        return (path for path in walked if isinstance(path, Path) and self._places.takes(path))


class Attempts:
    """Attempts at files that have not ended well so far, kept on disk: a file may end the process that tries it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _JOURNAL
        try:
            found = json.loads(self._path.read_text())
            self._counts = {str(name): int(count) for name, count in found.items()}
        except (OSError, ValueError, AttributeError):
            self._counts = {}

    def of(self, name: Path) -> int:
        """The attempts at a file."""
        return self._counts.get(str(name), 0)

    def begin(self, names: Iterable[Path]) -> None:
        """Count an attempt at each of these files, before it begins. Raises `OutputError`."""
        for name in names:
            self._counts[str(name)] = self.of(name) + 1
        self._write()

    def forget(self, name: Path) -> None:
        """Forget a file that has been dealt with. Raises `OutputError`."""
        if self._counts.pop(str(name), None) is not None:
            self._write()

    def _write(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as temporary:
                temporary.write_text(json.dumps(self._counts))
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written ({describe(error)}).", "Free some space.") from error


def write_reason(path: Path, error: VarsrError) -> None:
    """Write why a file failed into a text file beside it."""
    with suppress(OSError):
        path.with_name(f"{path.name}.txt").write_text(f"{error} {error.advice}\n")


def move(source: Path, target: Path) -> Path:
    """Move a file, to another file system too, and return its place: beside one that has its name already.

    It is never in neither place. Raises `OutputError`.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target = free_name(target)
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with replacing(target) as temporary:
                shutil.copy2(source, temporary)
                state = source.stat()
            os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))
            source.unlink()
    except OSError as error:
        raise OutputError(f"{source} cannot be moved to {target} ({describe(error)}).", "Check the folder.") from error
    return target


def free_name(path: Path, taken: Iterable[Path] = ()) -> Path:
    """The path itself, or with a number where it exists or is taken."""
    used, number, candidate = set(taken), 1, path
    while candidate.exists() or candidate in used:
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate
