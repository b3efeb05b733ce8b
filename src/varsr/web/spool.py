"""The spool: one folder for what clients send and what they get, emptied when the server starts and ends."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from varsr.errors import OutputError, describe


class Spool:
    """A folder that belongs to one port of one user, so that a later start finds what a killed server left."""

    def __init__(self, port: int) -> None:
        """Make it, empty and closed to others. Raises `OutputError`."""
        user = os.getuid() if hasattr(os, "getuid") else 0
        self._folder = Path(tempfile.gettempdir()) / f"varsr-serve-{user}-{port}"
        try:
            if self._folder.is_symlink():
                raise OSError("it is a link")
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(mode=0o700)
        except OSError as error:
            raise OutputError(
                f"The folder {self._folder} cannot be made ({describe(error)}).", "Set TMPDIR to another place."
            ) from error

    def path(self, name: str) -> Path:
        """The place of a file; `name` is the server's own, never a client's."""
        return self._folder / name

    def forget(self, prefix: str) -> None:
        """Delete the files whose names begin so."""
        for path in self._folder.glob(f"{prefix}*"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Delete everything."""
        shutil.rmtree(self._folder, ignore_errors=True)
