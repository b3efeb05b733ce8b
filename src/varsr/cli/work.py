"""Carrying out a plan: load the model, run the jobs, show and report what becomes of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from varsr.choices import DtypeName
from varsr.cli.console import messages, one_line
from varsr.images.photo import Photo
from varsr.images.size import Size, TargetSize
from varsr.images.write import Encoding
from varsr.jobs.outcome import Outcome, Policy
from varsr.jobs.plan import STREAM, Job
from varsr.jobs.run import Clock, Run
from varsr.runtime.cpu import limit_threads
from varsr.runtime.device import pick_device
from varsr.upscaling.options import Options
from varsr.upscaling.restoration import Restoration
from varsr.upscaling.upscaler import Upscaler
from varsr.weights.cache import cache_folder, temporary_cache
from varsr.weights.store import is_first_use, locate

SOME_FAILED = 1


@dataclass(frozen=True)
class Work:
    """A plan and all that it takes to carry it out."""

    jobs: Sequence[Job]
    size: TargetSize
    encoding: Encoding
    policy: Policy
    options: Options
    model: str
    device: str
    dtype: DtypeName
    compiled: bool
    json: bool

    def load(self) -> Upscaler:
        """The model, ready."""
        limit_threads()
        if is_first_use(self.model):
            messages.say(f"Using {self.model}, the built-in model. The full one, a download of 5 GB, is --model varsr.")
        if cache_folder() == temporary_cache():
            messages.say(f"There is no home folder to write to: caches are kept in {temporary_cache()}.")
        path = locate(self.model, self.dtype, messages.say)
        return Upscaler.from_checkpoint(path, device=self.device, dtype=self.dtype, compiled=self.compiled)


def announce(jobs: Sequence[Job], as_json: bool) -> None:
    """Print what would be done."""
    for job in jobs:
        exists = job.problem is None and job.target.exists()
        if as_json:
            print(json.dumps({"input": str(job.source), "output": str(job.target), "exists": exists}))
        elif job.problem is not None:
            messages.complain(one_line(job.problem))
        else:
            print(f"{job.source} -> {job.target}{' (exists)' if exists else ''}")


def carry_out(work: Work) -> int:
    """Do the work; return the exit code: 0, the error's own for a single picture, 1 where some of several failed."""
    pick_device(work.device)  # what is wrong with it would be wrong for every picture
    upscaler: Upscaler | None = None
    clock = Clock()
    outcomes: list[Outcome] = []
    try:
        with messages.watch(len(work.jobs)) as watch:

            def begin(job: Job, photo: Photo, size: Size) -> Restoration:
                nonlocal upscaler
                upscaler = upscaler or work.load()  # not before there is something to do
                return upscaler.begin(photo, size, work.options, watch.picture(job.source.name))

            for outcome in Run(begin, work.size, work.encoding, work.policy, clock).outcomes(work.jobs):
                outcomes.append(outcome)
                watch.file_done()
                _tell(outcome, work)
    finally:  # what is known by then is of use after an interruption too
        if len(work.jobs) > 1:
            _sum_up(outcomes, clock, len(work.jobs))
    failures = [outcome.error for outcome in outcomes if outcome.error]
    if len(work.jobs) == 1:
        return messages.fail(failures[0]) if failures else 0
    return SOME_FAILED if failures else 0


def _tell(outcome: Outcome, work: Work) -> None:
    """Print a job's outcome as it comes: a path or a JSON object on standard output, notes on the other."""
    messages.trace(outcome.error)
    for note in outcome.notes if outcome.status == "done" else ():
        messages.say(f"{outcome.job.source}: {note}.")
    if messages.verbose:
        messages.say(_line(outcome))
    if outcome.job.target == STREAM:
        return
    if work.json:
        print(json.dumps(_as_json(outcome, work)), flush=True)
    elif outcome.status == "done":
        print(outcome.job.target, flush=True)


def _line(outcome: Outcome) -> str:
    """The outcome of a job in one line, for --verbose."""
    words = [f"{outcome.job.source}: {outcome.status}"]
    if outcome.status == "skipped":
        words += outcome.notes or ("its result exists",)
    if outcome.target_size and outcome.status == "done":
        height, width = outcome.target_size
        words.append(f"{width} x {height} px, {outcome.tiles} tiles, {outcome.seconds:.1f} s")
    return ", ".join(words)


def _as_json(outcome: Outcome, work: Work) -> dict[str, Any]:
    def wide(size: Size | None) -> list[int] | None:
        return [size[1], size[0]] if size else None

    return {
        "input": str(outcome.job.source),
        "output": str(outcome.job.target) if outcome.job.problem is None else None,
        "status": outcome.status,
        "input_size": wide(outcome.size),
        "output_size": wide(outcome.target_size),
        "tiles": outcome.tiles,
        "seconds": round(outcome.seconds, 3),
        "model": work.model,
        "seed": work.options.seed,
        "error": one_line(outcome.error) if outcome.error else None,
        "notes": list(outcome.notes),
    }


def _sum_up(outcomes: Sequence[Outcome], clock: Clock, planned: int) -> None:
    """Say on standard error what became of all jobs, with the reason for each failure and what to do."""
    counts = {status: sum(o.status == status for o in outcomes) for status in ("done", "skipped", "failed")}
    for outcome in outcomes:
        if outcome.error:
            messages.complain(f"{outcome.job.source}: {one_line(outcome.error)} {outcome.error.advice}")
    left = planned - len(outcomes)
    words = [f"{count} {status}" for status, count in counts.items()] + ([f"{left} not begun"] if left else [])
    messages.say(", ".join(words) + ".")
    if messages.verbose and counts["done"]:
        seconds = clock.elapsed
        rate = 60 * counts["done"] / seconds
        messages.say(
            f"{seconds:.1f} s, {rate:.1f} pictures a minute, the model computed {clock.share:.0%} of the time."
        )
