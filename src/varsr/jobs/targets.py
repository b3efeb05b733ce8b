"""Targets: which results are there already. A folder of a storage is listed once a run, not asked for every name."""

from __future__ import annotations

from functools import lru_cache

from varsr.errors import InputError, OutputError, describe
from varsr.storage import objects
from varsr.storage.address import Place, Remote
from varsr.storage.local import is_special

FOLDERS_KEPT = 256


class Targets:
    """The results that were there when a run came to their folders."""

    def __init__(self) -> None:
        self._names = lru_cache(FOLDERS_KEPT)(_names)

    def exist(self, target: Place) -> bool:
        """True for a result that is there. Raises `OutputError` where that cannot be told."""
        try:
            if isinstance(target, Remote):
                return target.name in self._names(target.parent)
            return target.exists() and not is_special(target)
        except (OSError, InputError) as error:  # a name that the file system does not take, a folder not to be listed
            raise OutputError(f"{target} cannot be written ({describe(error)}).", "Choose another name.") from error


def _names(folder: Remote) -> frozenset[str]:
    return frozenset(objects.listed(folder)[0])
