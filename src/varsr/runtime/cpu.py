"""The processor: its instructions, and the cores that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")
_BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "arm_bf16", "sve_bf16")
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Variables that limit oneDNN, which makes PyTorch's convolutions and matrix products, to some instructions."""
_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")


def cpu_has_bf16() -> bool:
    """True where this processor multiplies bfloat16 natively, as far as PyTorch knows and oneDNN may."""
    if any(os.environ.get(name, "").upper() in _WITHOUT_BF16 for name in _LIMITS):
        return False
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in _BF16_INSTRUCTIONS)


def limit_threads(cgroup: Path = CGROUP) -> None:
    """Compute with no more threads than this process may have cores; what OMP_NUM_THREADS says goes before.

    PyTorch counts the cores of the machine. In a container that may use two of sixty-four it would start as many
    threads, which then wait for each other.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores(cgroup)))


def usable_cores(cgroup: Path = CGROUP) -> int:
    """The cores that affinity and the quota of a Linux control group (version 2 or 1) leave, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        newer = cgroup / "cpu.max"
        older = cgroup / "cpu" / "cpu.cfs_quota_us", cgroup / "cpu" / "cpu.cfs_period_us"
        quota, period = newer.read_text().split() if newer.exists() else (path.read_text() for path in older)
        return max(1, min(cores, math.ceil(int(quota) / int(period)))) if int(quota) > 0 else cores
    except (OSError, ValueError):  # no such group, or "max": no limit
        return cores
