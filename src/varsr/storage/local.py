"""Writing a file so that it appears whole or not at all, and saying why it could not be."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; when the block ends well it becomes `path`, durably.

    When the block raises, the temporary file is gone and what stood at `path` still stands. A link is written
    through, and anything but a file, such as a pipe or a device, is written into. Raises the `OSError` of whatever the
    file system refuses.
    """
    if is_special(path):
        with _written_into(path) as temporary:
            yield temporary
        return
    path = path.resolve() if path.is_symlink() else path  # a link stays one
    handle, name = tempfile.mkstemp(prefix=_prefix(os.getpid()), suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with suppress(OSError):  # memory cards and network drives may have no permissions to set
            temporary.chmod(_ordinary_mode())
        _sync(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # not every system lets a directory be opened
        _sync(path.parent)


def forget_unfinished(folder: Path, process: int | None) -> None:
    """Delete what a process that was killed has left unfinished in a folder."""
    if process is None:
        return
    with suppress(OSError):
        for path in folder.glob(f"{_prefix(process)}*"):
            path.unlink(missing_ok=True)


def forget_all_unfinished(folder: Path) -> None:
    """Delete what processes that are gone have left unfinished in a folder and those below it.

    For the start of a program that has the folder for itself: its own number may be that of one that was killed.
    """
    with suppress(OSError):
        for path in folder.rglob(".varsr-*-*"):
            process = path.name.split("-")[1]
            if process.isdigit() and (int(process) == os.getpid() or not _is_alive(int(process))):
                path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _prefix(process: int) -> str:
    return f".varsr-{process}-"


def is_special(path: Path) -> bool:
    """True for a path to a pipe, a device or an open stream, which are written into and never replaced."""
    if str(path).startswith(_STREAMS):
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def exists(path: Path) -> bool:
    """True for a path that exists; False too in a folder that may not be looked into."""
    try:
        return path.exists()
    except OSError:
        return False


@contextmanager
def _written_into(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="varsr-") as folder:
        temporary = Path(folder) / f"result{path.suffix}"
        yield temporary
        with temporary.open("rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)


def _ordinary_mode() -> int:
    """The permissions that a newly created file would have had."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
