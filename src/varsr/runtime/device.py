"""Choice of device and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch

from varsr.choices import DtypeName
from varsr.errors import DeviceError, RequestError
from varsr.runtime.cpu import cpu_has_bf16

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
        raise RequestError(f"{name!r} is not a device.", "Use auto, cpu, cuda, cuda:1 or mps.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError("No CUDA device is available.", f"{why_no_cuda()} Or use `device` cpu.")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise DeviceError(f"{name} does not exist: this machine has {count} CUDA devices.", "Use `device` cuda.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("No MPS device is available.", "It needs an Apple GPU. Use `device` cpu.")
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
            raise RequestError(f"int8 is for the CPU, not for {device.type}.", "Use `dtype` auto, or `device` cpu.")
        return Precision(torch.bfloat16, torch.float32, int8=True)
    if name == "auto":
        name = "fp16" if device.type == "mps" else "bf16"
    weights = DTYPES[name]
    if device.type == "cpu" and not (name == "bf16" and cpu_has_bf16()):
        return Precision(weights, torch.float32)
    return Precision(weights, weights)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def why_no_cuda() -> str:
    """Why PyTorch finds no CUDA device, and what to do."""
    if torch.version.cuda is None:
        return "This PyTorch is a CPU build: install a CUDA build (pytorch.org) to use a GPU."
    return "Check the driver with nvidia-smi."
