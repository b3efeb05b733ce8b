"""Files found: in folders, and by patterns that the shell left as they are."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from varsr.errors import InputError, describe
from varsr.images.formats import RAW_SUFFIXES, READ_SUFFIXES, has_extra
from varsr.storage import objects
from varsr.storage.address import Place, Remote
from varsr.storage.local import exists, is_special
from varsr.video import formats

_SUFFIXES = frozenset((*READ_SUFFIXES, *RAW_SUFFIXES, *formats.READ_SUFFIXES))
IGNORED_FOLDERS = ("@eaDir", "#recycle", "$RECYCLE.BIN")
"""Folders in which network drives and Windows keep thumbnails and what was deleted."""


def expanded(given: Place) -> list[Place]:
    """The paths that a pattern stands for, where the shell left it as it is; anything else itself."""
    if isinstance(given, Remote) or not glob.has_magic(str(given)) or exists(given):
        return [given]
    found = sorted(glob.glob(str(given), recursive=True))  # noqa: PTH207, a pattern may be absolute
    return [Path(name) for name in found] or [given]


Found = Place | tuple[Place, InputError]
"""An image, or a folder that cannot be looked into and why."""


def walk(folder: Place, recursive: bool) -> Iterator[Found]:
    """The images, raw photographs and videos of a folder, by suffix, and folders that cannot be looked into; sorted.

    One folder at a time is listed. Hidden files and `IGNORED_FOLDERS` are left out, links to folders not followed, and
    pipes and devices not taken for files.
    """
    if isinstance(folder, Remote):
        yield from _walk_remote(folder, recursive)
        return
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        yield (
            folder,
            InputError(f"The folder {folder} cannot be read ({describe(error)}).", "Check its permissions."),
        )
        return
    for entry in entries:
        path = folder / entry.name
        if _is_directory(entry):
            if recursive and not entry.is_symlink() and _is_shown(entry.name):
                yield from walk(path, recursive)
        elif path.suffix.lower() in _SUFFIXES and not entry.name.startswith(".") and not is_special(path):
            yield path


def _walk_remote(folder: Remote, recursive: bool) -> Iterator[Found]:
    try:
        for remote in objects.walked(folder, recursive):
            if remote.suffix.lower() in _SUFFIXES and not remote.name.startswith("."):
                yield remote
    except InputError as error:
        yield folder, error


def is_readable(path: Place) -> bool:
    """False for a raw photograph, or a video, where what reads it is not installed."""
    if formats.is_video(path.name):
        return formats.has_video()
    return path.suffix.lower() in READ_SUFFIXES or has_extra("raw")


def images_in(folder: Path) -> tuple[list[Path], list[tuple[Place, InputError]]]:
    """The images of one folder, and the folder itself where it cannot be looked into."""
    found = [*walk(folder, recursive=False)]
    images = [one for one in found if isinstance(one, Path) and not formats.is_video(one.name)]
    return [one for one in images if is_readable(one)], [one for one in found if isinstance(one, tuple)]


def is_folder(path: Place) -> bool:
    """True for a folder; False too in a folder that may not be looked into: reading it tells more.

    Raises `InputError` where a storage does not answer.
    """
    if isinstance(path, Remote):
        named_as_image = path.suffix.lower() in _SUFFIXES and not path.key.endswith("/")
        return not path.is_web and not named_as_image and objects.is_folder(path)  # which costs a request
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_shown(folder: str) -> bool:
    return not folder.startswith(".") and folder not in IGNORED_FOLDERS
