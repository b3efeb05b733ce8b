"""Where downloaded and converted models are kept, also for a user without a home."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

_HUB_VARIABLES = {"HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"}


def cache_folder() -> Path:
    """Where converted models are kept: VARSR_CACHE, else the user's cache folder, else one for temporary files.

    A container may run with a user that has no home, or one that may not be written to.
    """
    own = os.environ.get("VARSR_CACHE")
    if own:
        return Path(own)
    try:
        usual = user_cache_path("varsr")
    except RuntimeError:  # nobody knows where this user's home is
        return temporary_cache()
    return usual if _is_usable(usual) else temporary_cache()


def temporary_cache() -> Path:
    """The folder that takes the place of the user's."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"varsr-{user}"


def hub_cache() -> Path | None:
    """Where the Hub's files are kept: None for the place that its library chooses, where that can be used."""
    if _HUB_VARIABLES & os.environ.keys() or _is_usable(Path(os.path.expanduser("~/.cache"))):  # noqa: PTH111, it may be unknown
        return None
    return cache_folder() / "hub"


def _is_usable(folder: Path) -> bool:
    """True for a folder in which files can be made, or which can be made itself."""
    if not folder.is_absolute():
        return False
    try:
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    except (OSError, StopIteration):
        return False
