"""Files found: in folders, and by patterns that the shell left as they are."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from varsr.errors import InputError, describe
from varsr.images.formats import READ_SUFFIXES
from varsr.storage.local import exists, is_special

IGNORED_FOLDERS = ("@eaDir", "#recycle", "$RECYCLE.BIN")
"""Folders in which network drives and Windows keep thumbnails and what was deleted."""


def expanded(given: Path) -> list[Path]:
    """The paths that a pattern stands for, where the shell left it as it is; anything else itself."""
    if not glob.has_magic(str(given)) or exists(given):
        return [given]
    found = sorted(glob.glob(str(given), recursive=True))  # noqa: PTH207, a pattern may be absolute
    return [Path(name) for name in found] or [given]


def images_in(folder: Path, recursive: bool) -> tuple[list[Path], list[tuple[Path, InputError]]]:
    """The files of a folder whose suffix is an image's, sorted, and the folders that cannot be looked into.

    Hidden ones and `IGNORED_FOLDERS` are left out, links to folders not followed, and pipes and devices not taken for
    files.
    """
    paths: list[Path] = []
    problems: list[tuple[Path, InputError]] = []

    def note(error: OSError) -> None:
        closed = Path(error.filename)
        problems.append(
            (closed, InputError(f"The folder {closed} cannot be read ({describe(error)}).", "Check its permissions."))
        )

    for root, folders, files in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if recursive and _is_shown(name)]
        for name in files:
            path = Path(root) / name
            if path.suffix.lower() in READ_SUFFIXES and not name.startswith(".") and not is_special(path):
                paths.append(path)
    return sorted(paths), sorted(problems, key=lambda problem: problem[0])


def is_folder(path: Path) -> bool:
    """True for a folder; False too in a folder that may not be looked into: reading it tells more."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_shown(folder: str) -> bool:
    return not folder.startswith(".") and folder not in IGNORED_FOLDERS
