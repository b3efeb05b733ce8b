"""A cluster: jobs are shared out to actors by Ray Data.

Names travel, never pixels: actors read and write by the storage's own code, and send back outcomes. Ray's defaults try
what kills its actor for ever, and end the whole run where a block is lost; here both are bounded. A block that is
lost leaves no row, so that what is missing is found by its number, tried once more alone, and then has failed.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from varsr.errors import DeviceError, RequestError, VarsrError
from varsr.jobs.outcome import Outcome
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.jobs.preflight import exists_already
from varsr.jobs.run import RUN_ERRORS, Run
from varsr.jobs.targets import Targets
from varsr.jobs.worker import portable, sendable
from varsr.upscaling.progress import Progress
from varsr.upscaling.upscaler import ModelChoice, Upscaler

if TYPE_CHECKING:
    import ray.data

JOBS_A_BLOCK = 4
"""Jobs that are lost together where an actor dies; the next attempt has one."""
JOBS_A_WAVE = 100_000
"""Jobs whose names are in the memory of Ray at a time."""
MOST_RESTARTS = 3
FATAL = -1
CPUS_AN_ACTOR = 4.0
PATIENCE = 3600.0
"""Seconds without an outcome after which the actors are taken for dead; Ray itself waits for ever."""
_LOUD = ("ray", "ray.data")
_log = logging.getLogger(__name__)

Row = dict[str, Any]


class ActorDiedError(VarsrError):
    """The actors that had an image have died."""

    def __init__(self) -> None:
        super().__init__(
            "The actor that had this image died, twice.", "Try the image alone; it may need more memory than there is."
        )


class Actor:
    """A loaded model that does batches of jobs."""

    def __init__(self, choice: ModelChoice, settings: JobSettings) -> None:
        self._choice, self._settings = choice, settings
        self._upscaler: Upscaler | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Do the jobs of a batch; return the number and the outcome of each.

        An error that every image would meet stands in the place of an outcome, with the number `FATAL`: one that is
        raised would be a lost block among others.
        """
        try:
            return self._done(batch)
        except RUN_ERRORS as error:
            return {"number": [FATAL], "outcome": [pickle.dumps(sendable(error))]}

    def _done(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        if self._upscaler is None:
            self._upscaler = self._choice.load()
        numbers = [int(number) for number in batch["number"]]
        jobs: list[Job] = [pickle.loads(data) for data in batch["job"]]
        waiting: dict[Job, list[int]] = {}
        for number, job in zip(numbers, jobs, strict=True):
            waiting.setdefault(job, []).append(number)
        done = [(waiting[outcome.job].pop(0), outcome) for outcome in Run(self._upscaler, jobs, self._settings)]
        return {
            "number": [number for number, _ in done],
            "outcome": [pickle.dumps(portable(outcome)) for _, outcome in done],
        }


@dataclass(frozen=True)
class Cluster:
    """A cluster's address, and how many actors it is to have at least and at most; None is one for each GPU."""

    choice: ModelChoice
    address: str = "auto"
    actors: tuple[int, int] | None = None
    actor: type[Actor] = Actor

    @property
    def choices(self) -> tuple[ModelChoice, ...]:
        """The model, as a crew has it."""
        return (self.choice,)

    def run(self, jobs: Iterable[Job], _: int | None, settings: JobSettings) -> ClusterRun:
        """The run of jobs, of a number that need not be known."""
        return ClusterRun(self, jobs, settings)


def actors_named(text: str | None) -> tuple[int, int] | None:
    """Read "1,8". Raises `RequestError`."""
    if text is None:
        return None
    low, comma, high = text.partition(",")
    if not comma:
        high = low
    if not low.isdigit() or not high.isdigit() or not 1 <= int(low) <= int(high):
        raise RequestError(f"{text!r} is not a number of actors.", "Write 1,8 for at least 1 and at most 8.")
    return int(low), int(high)


class ClusterRun:
    """Jobs done by a cluster: iterate over it for their outcomes, in the order in which they come."""

    progress: tuple[Job, Progress] | None = None
    """Of no single image: several are at work."""
    computing_share: float | None = None

    def __init__(self, cluster: Cluster, jobs: Iterable[Job], settings: JobSettings) -> None:
        self._cluster = cluster
        self._jobs = enumerate(jobs)
        self._settings = settings
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return max(time.monotonic() - self._started, 1e-9)

    def __iter__(self) -> Iterator[Outcome]:
        ours = _connect(self._cluster.address)
        targets = Targets()
        try:
            while wave := dict(islice(self._jobs, JOBS_A_WAVE)):
                settled = {number: outcome for number, job in wave.items() if (outcome := self._settled(job, targets))}
                waiting = {number: job for number, job in wave.items() if number not in settled}
                for outcome in chain(settled.values(), self._wave(waiting)):
                    yield outcome
                    if outcome.status == "failed" and self._settings.policy.fail_fast:
                        return
        finally:
            if ours:
                _ray().shutdown()

    def _settled(self, job: Job, targets: Targets) -> Outcome | None:
        """The outcome of a job of which nothing is to be computed: actors see the others alone, and ask no more."""
        try:
            if job.problem is not None:
                raise job.problem
            if not self._settings.policy.overwrite and targets.exist(job.target):
                if not self._settings.policy.skip_existing:
                    raise exists_already(job.target)
                return Outcome(job, "skipped")
        except VarsrError as error:
            return Outcome(job, "failed", error=error)
        return None

    def _wave(self, wave: dict[int, Job]) -> Iterator[Outcome]:
        """Do the jobs of a wave; those that get lost once more, each alone."""
        for jobs_a_block in (JOBS_A_BLOCK, 1):
            if not wave:
                return
            for number, outcome in self._attempt(wave, jobs_a_block):
                del wave[number]
                yield outcome
        for job in wave.values():
            yield Outcome(job, "failed", error=ActorDiedError())

    def _attempt(self, wave: Mapping[int, Job], jobs_a_block: int) -> Iterator[tuple[int, Outcome]]:
        rows = [{"number": number, "job": pickle.dumps(job)} for number, job in wave.items()]
        found = self._dataset(rows, jobs_a_block)
        for row in _watched(found.iter_rows()):
            number, outcome = int(row["number"]), pickle.loads(row["outcome"])
            if number == FATAL:
                raise outcome
            yield number, outcome

    def _dataset(self, rows: Sequence[Row], jobs_a_block: int) -> ray.data.Dataset:
        data = _ray().data
        policy = replace(self._settings.policy, overwrite=True, skip_existing=False)
        low, most = self._cluster.actors or (1, _most_actors())
        high = min(most, max(1, -(-len(rows) // jobs_a_block)))
        ahead = 2 if jobs_a_block > 1 else 1  # what waits for an actor is lost with it
        pool = data.ActorPoolStrategy(min_size=min(low, high), max_size=high, max_tasks_in_flight_per_actor=ahead)
        blocks = data.from_items(list(rows)).repartition(target_num_rows_per_block=jobs_a_block)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the two that bound what is tried again
            return blocks.map_batches(
                self._cluster.actor,
                batch_size=jobs_a_block,
                fn_constructor_args=(self._cluster.choice, replace(self._settings, policy=policy)),
                compute=pool,
                max_restarts=MOST_RESTARTS,
                max_task_retries=0,
                **_resources(most),  # not of `high`: those of an attempt before may still be ending
            )


def _watched(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, until none comes for `PATIENCE` seconds. Raises `DeviceError` where Ray gives up."""
    passed: queue.Queue[Row | Exception | None] = queue.Queue()

    def pass_on() -> None:
        try:
            for row in rows:
                passed.put(row)
            passed.put(None)
        except Exception as error:
            passed.put(error)

    threading.Thread(target=pass_on, daemon=True, name="varsr-cluster").start()
    while True:
        try:
            row = passed.get(timeout=_patience())
        except queue.Empty:
            return
        if row is None:
            return
        if isinstance(row, Exception):
            raise DeviceError(f"The cluster gave up ({type(row).__name__}).", "Look at the logs of Ray.") from row
        yield row


def _patience() -> float:
    text = os.environ.get("VARSR_CLUSTER_PATIENCE", "")
    return float(text) if text.replace(".", "", 1).isdigit() and float(text) > 0 else PATIENCE


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise RequestError("A cluster needs the extra varsr[ray].", 'Install it: pip install "varsr[ray]"') from error
    return ray


def _connect(address: str) -> bool:
    """Connect to a cluster, or begin one on this machine; True where it is to be ended by this process."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _ray()
    if ray.is_initialized():
        return False
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address=address, **quiet)
    except ConnectionError as error:
        if address != "auto":
            raise DeviceError(
                f"The cluster {address} does not answer.",
                "Is it started, and reachable? One with a token wants RAY_AUTH_MODE=token and RAY_AUTH_TOKEN.",
            ) from error
        _log.info("No cluster answers: one is begun on this machine.")
        ray.init(include_dashboard=False, **quiet)
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1
    context.enable_progress_bars = False
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return True


def _most_actors() -> int:
    resources = _ray().cluster_resources()
    return max(1, int(resources.get("GPU", 0)) or int(resources.get("CPU", 1) // CPUS_AN_ACTOR))


def _resources(actors: int) -> dict[str, float]:
    """A GPU for each actor; without GPUs, half of the CPUs for all: Ray's own steps need some, or all wait."""
    resources = _ray().cluster_resources()
    if resources.get("GPU", 0):
        return {"num_gpus": 1}
    return {"num_cpus": min(CPUS_AN_ACTOR, resources.get("CPU", 1) / 2 / actors)}
