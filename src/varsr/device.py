"""Which device computes, and in which types."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from varsr.choices import DtypeName
from varsr.errors import DeviceError, RequestError, TooLittleMemoryError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "arm_bf16", "sve_bf16")


@dataclass(frozen=True)
class Precision:
    """The type in which the matrices are held and the type in which they are multiplied; `int8`: most in eight bits."""

    weights: torch.dtype
    compute: torch.dtype
    int8: bool = False


def pick_device(name: str) -> torch.device:
    """The device called `name`; "auto" is CUDA, else MPS, else the CPU.

    Raises `DeviceError` where this machine or this PyTorch has no such device.
    """
    if name == "auto":
        return torch.device(_best_device())
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RequestError(f"{name!r} is no device.", "Use auto, cpu, cuda, cuda:1 or mps.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError("No CUDA device is available.", f"{_why_no_cuda()} Or use --device cpu.")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise DeviceError(f"There is no {name}: this machine has {torch.cuda.device_count()}.", "Use --device cuda.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("No MPS device is available.", "It needs an Apple GPU. Use --device cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise RequestError(f"varsr does not run on {name!r}.", "Use auto, cpu, cuda, cuda:1 or mps.")
    return device


def pick_precision(name: DtypeName, device: torch.device) -> Precision:
    """The types for `name` on `device`; "auto" is the fastest that the device computes in.

    A CPU without bfloat16 instructions emulates them, many times slower than float32. There the narrow
    types hold the weights alone, at half the memory, and the arithmetic is float32. Raises `RequestError` for
    int8 anywhere but on a CPU, and for a name that there is not.
    """
    if name not in get_args(DtypeName):
        raise RequestError(f"{name!r} is not a type to compute in.", f"Use one of {', '.join(get_args(DtypeName))}.")
    if name == "int8":
        if device.type != "cpu":
            raise RequestError(f"int8 is for the CPU, not for {device.type}.", "Use --dtype auto, or --device cpu.")
        return Precision(torch.bfloat16, torch.float32, int8=True)
    if name == "auto":
        name = "fp16" if device.type == "mps" else "bf16"
    weights = DTYPES[name]
    if device.type == "cpu" and not (name == "bf16" and cpu_has_bf16()):
        return Precision(weights, torch.float32)
    return Precision(weights, weights)


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 natively, as far as PyTorch can tell."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in _BF16_INSTRUCTIONS)


def limit_threads(cgroup: Path = Path("/sys/fs/cgroup")) -> None:
    """Compute with no more threads than this process may have cores; what OMP_NUM_THREADS says goes before.

    PyTorch counts the cores of the machine. In a container that may use two of sixty-four it would start as many
    threads, which then wait for each other.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores(cgroup)))


def usable_cores(cgroup: Path) -> int:
    """The cores that affinity and the quota of a Linux control group (version 2 or 1) leave, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        newer = cgroup / "cpu.max"
        older = cgroup / "cpu" / "cpu.cfs_quota_us", cgroup / "cpu" / "cpu.cfs_period_us"
        quota, period = newer.read_text().split() if newer.exists() else (path.read_text() for path in older)
        return max(1, min(cores, math.ceil(int(quota) / int(period)))) if int(quota) > 0 else cores
    except (OSError, ValueError):  # no such group, or "max": no limit
        return cores


def memory_size(device: torch.device, cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that a device has, used or not: on a CPU what the machine or its control group has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # a system that does not tell
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
            f"There is too little memory on {device.type} for this model and picture.",
            "Try --batch-size 1, --dtype bf16, a smaller model, or a smaller picture or scale.",
        ) from error


def is_about_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, in one of PyTorch's ways or Python's."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in words or "allocate memory" in words)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        return "This PyTorch is a CPU build: install a CUDA build (pytorch.org) to use a GPU."
    return "Check the driver with nvidia-smi."
