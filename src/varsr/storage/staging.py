"""Staging: what is not on this machine is fetched to a temporary file, and delivered from one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock, Thread

from varsr.errors import OutputError, VarsrError, describe
from varsr.storage import objects, web
from varsr.storage.address import Place, Remote


@contextmanager
def fetched(place: Place) -> Iterator[Path]:
    """A file of this machine with what is at a place: the place itself, or a copy while the block lasts.

    Errors that name the copy name the place instead. Raises `InputError` where it cannot be had.
    """
    if isinstance(place, Path):
        yield place
        return
    with _temporary(place) as copy:
        fetch = web.fetch if place.is_web else objects.fetch
        fetch(place, copy)
        yield copy


class Fetch:
    """A file on its way from another machine, in a thread that the interpreter's end does not wait for."""

    def __init__(self, place: Remote) -> None:
        self._place = place
        self._copy = ExitStack()
        self._path: Path | None = None
        self._error: Exception | None = None
        self._lock = Lock()
        self._abandoned = False
        self._thread = Thread(target=self._work, daemon=True, name="varsr-fetch")
        self._thread.start()

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Wait for the copy, which is there while the block lasts. Raises as `fetched` does."""
        self._thread.join()
        if self._path is None:
            assert self._error is not None
            raise self._error
        with self._copy:
            yield self._path

    def abandon(self) -> None:
        """Have the copy deleted, now or once it is there."""
        with self._lock:
            self._abandoned = True
            self._copy.close()

    def _work(self) -> None:
        try:
            with ExitStack() as copy:
                path = copy.enter_context(fetched(self._place))
                with self._lock:
                    if not self._abandoned:
                        self._copy, self._path = copy.pop_all(), path
        except Exception as error:
            self._error = error


@contextmanager
def delivered(place: Place) -> Iterator[Path]:
    """A path to write to: the place itself, or a temporary file that is delivered where the block ends well.

    Raises `OutputError` where the storage refuses it.
    """
    if isinstance(place, Path):
        yield place
        return
    with _temporary(place) as copy:
        yield copy
        objects.deliver(copy, place)


@contextmanager
def _temporary(place: Remote) -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="varsr-", ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputError(
            f"The folder for temporary files cannot be used ({describe(error)}).", "Set TMPDIR to another."
        ) from error
    with folder as name:
        copy = Path(name) / f"image{place.suffix.lower()}"
        try:
            yield copy
        except VarsrError as error:
            if str(copy) not in str(error):
                raise
            raise error.about(str(copy), str(place)) from error
