"""The crew of a run: one process that does everything, or a worker for each device."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import torch

from varsr.errors import DeviceError, RequestError
from varsr.jobs.cluster import ClusterRun
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.jobs.run import Run
from varsr.jobs.workers import WorkerRun
from varsr.runtime.cpu import usable_cores
from varsr.runtime.device import pick_device
from varsr.runtime.memory import memory_size
from varsr.upscaling.upscaler import ModelChoice, Upscaler
from varsr.video.formats import has_video, is_video

if TYPE_CHECKING:
    from varsr.jobs.shared_clip import SharedClipRun

AnyLocalRun: TypeAlias = "Run | WorkerRun | SharedClipRun"
AnyRun: TypeAlias = "AnyLocalRun | ClusterRun"
"""Whatever does jobs: iterate over it for their outcomes."""
_log = logging.getLogger(__name__)
BYTES_A_WORKER = 600_000_000
"""Memory of a process with the built-in model, by measurement."""
CORES_A_WORKER = 4
"""Cores that one process of the built-in model keeps busy."""


@dataclass(frozen=True)
class Crew:
    """A model for each worker, and the threads of each on a CPU. `loaded` is that of a single worker, once it is."""

    choices: tuple[ModelChoice, ...]
    threads: int | None = None
    loaded: Upscaler | None = None

    def run(self, jobs: Iterable[Job], total: int | None, settings: JobSettings) -> AnyLocalRun:
        """The run of `total` jobs, None for many: in this process where there is one worker, or one job.

        A single job may be about the standard streams, which a worker has not. A single video is shared out.
        """
        if total == 1 and len(self.choices) > 1:
            (job,) = jobs
            if is_video(job.target.name) and has_video():
                from varsr.jobs.shared_clip import SharedClipRun  # which needs what reads videos

                return SharedClipRun(self.choices, job, settings, self.threads, _patience())
            jobs = [job]
        if len(self.choices) == 1 or total == 1:
            return Run(self.loaded or self.choices[0], jobs, settings)
        return WorkerRun(self.choices, jobs, settings, self.threads, _patience())

    def with_model(self) -> Crew:
        """The same crew with the model of its first worker loaded. Raises as `ModelChoice.load` does."""
        return replace(self, loaded=self.loaded or self.choices[0].load())


def crew_of(choice: ModelChoice, workers: str | None) -> Crew:
    """The workers that a list of devices or a number of workers asks for.

    Raises `RequestError` where both do, `DeviceError` where a device is not there.
    """
    devices = _devices(choice.device)
    for device in devices:
        pick_device(device)  # what is wrong with it would be wrong for every image
    if workers is None:
        return Crew(tuple(replace(choice, device=device) for device in devices))
    if len(devices) > 1 or pick_device(devices[0]).type != "cpu":
        raise RequestError("`workers` share the cores of a CPU.", "For several GPUs name them: `device` cuda:0,cuda:1.")
    cores = usable_cores()
    count = _count(workers, cores)
    return Crew((replace(choice, device="cpu"),) * count, max(1, cores // count))


def _patience() -> float:
    """Seconds without a sign of life after which a worker is taken for dead. Raises `RequestError` for no number."""
    text = os.environ.get("VARSR_WORKER_PATIENCE", "60")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise RequestError(f"VARSR_WORKER_PATIENCE is {text!r}.", "Set it to a number of seconds, or not at all.")
    return seconds


def _devices(text: str) -> list[str]:
    if text != "all":
        return [name.strip() for name in text.split(",")]
    count = torch.cuda.device_count()
    if not count:
        raise DeviceError("No CUDA device is available.", "Use `device` auto, or `workers` on a CPU.")
    return [f"cuda:{number}" for number in range(count)]


def _count(workers: str, cores: int) -> int:
    """The number of workers, no more than memory suffices for."""
    fitting = max(1, memory_size(torch.device("cpu")) // 2 // BYTES_A_WORKER)
    if workers == "auto":
        return max(1, min(cores // CORES_A_WORKER, fitting))
    if not workers.isdigit() or int(workers) < 1:
        raise RequestError(f"{workers!r} is not a number of workers.", "Use 1 or more, or auto.")
    if int(workers) > fitting:
        _log.info("Memory suffices for %d workers.", fitting)
    return min(int(workers), fitting)
