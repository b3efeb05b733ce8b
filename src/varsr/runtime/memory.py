"""Memory of a device, and errors about too little of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from varsr.errors import TooLittleMemoryError


def memory_size(device: torch.device, cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that a device has, used or not: on a CPU what the machine or its control group has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # a system that does not say
        return 8 << 30
    try:
        return min(whole, int((cgroup / "memory.max").read_text()))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return whole


@contextmanager
def memory_errors(device: torch.device) -> Iterator[None]:
    """Turn the many ways of running out of memory into `TooLittleMemoryError`."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not is_about_memory(error):
            raise
        raise TooLittleMemoryError(
            f"There is too little memory on {device.type} for this model and image.",
            "Try `batch_size` 1, `dtype` bf16, a smaller model, or a smaller image or scale.",
        ) from error


def is_about_memory(error: BaseException) -> bool:
    """True for an error that says that memory has run out, in one of PyTorch's ways or Python's."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in words or "allocate memory" in words)
