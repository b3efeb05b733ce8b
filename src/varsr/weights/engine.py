"""From a checkpoint to an engine that runs it on a device."""

from __future__ import annotations

from pathlib import Path

from varsr.choices import DtypeName
from varsr.runtime.cpu import limit_threads
from varsr.runtime.device import pick_device, pick_precision
from varsr.runtime.engine import Engine
from varsr.runtime.memory import memory_errors
from varsr.weights.checkpoint import load_model


def open_engine(path: Path, device: str, dtype: DtypeName, compiled: bool) -> Engine:
    """Load a checkpoint onto a device.

    Raises `WeightsError` where it cannot be, `DeviceError` where the device is not there.
    """
    place = pick_device(device)
    precision = pick_precision(dtype, place)
    limit_threads()
    with memory_errors(place):
        return Engine(load_model(path, place, precision), place, precision, compiled)
