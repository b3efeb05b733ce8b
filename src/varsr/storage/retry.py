"""Retries: what a network breaks is tried again, a bounded number of times, with growing pauses."""

from __future__ import annotations

import errno
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
ATTEMPTS = 6
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
LONGEST_TRYING = 60.0
"""Seconds after which nothing is begun again: libraries try for a while by themselves."""
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError, TypeError, MemoryError)
_FINAL_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_FINAL_NAMES = (
    "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ParamValidationError", "OfflineModeIsEnabled",
)  # fmt: skip


class Retries:
    """Counts what was tried again in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def add(self) -> None:
        """Count one."""
        with self._lock:
            self._count += 1

    def take(self) -> int:
        """The number since this was last asked."""
        with self._lock:
            taken, self._count = self._count, 0
        return taken


RETRIES = Retries()


def with_retries(action: Callable[[], T]) -> T:
    """Do something of which a network may let parts fail. Raises what it raised last, or at once what stays so."""
    pause, began = FIRST_PAUSE, time.monotonic()
    for _ in range(ATTEMPTS - 1):
        try:
            return action()
        except Exception as error:  # libraries of storages raise kinds of their own
            if is_final(error) or time.monotonic() - began > LONGEST_TRYING:
                raise
        RETRIES.add()
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(2 * pause, LONGEST_PAUSE)
    return action()


def is_final(error: Exception) -> bool:
    """True for an error that another try would meet too."""
    if isinstance(error, _FINAL) or type(error).__name__ in _FINAL_NAMES:
        return True
    return isinstance(error, OSError) and error.errno in _FINAL_NUMBERS
