"""Reports: what is printed of a plan, of each outcome, and of a run as a whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from varsr.cli.console import in_words, messages, one_line
from varsr.images.size import Size
from varsr.jobs.outcome import Outcome
from varsr.jobs.plan import Job
from varsr.jobs.run import Run
from varsr.storage.streams import STREAM

SOME_FAILED = 1
"""Exit code of a run of several files of which some failed."""


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


@dataclass(frozen=True)
class OutcomePrinter:
    """Prints each outcome as it comes: a path or a JSON object on standard output, notes on the other."""

    model: str
    seed: int
    as_json: bool

    def print(self, outcome: Outcome) -> None:
        """Print one outcome."""
        messages.trace(outcome.error)
        for note in outcome.notes if outcome.status == "done" else ():
            messages.say(f"{outcome.job.source}: {note}.")
        if messages.verbose:
            messages.say(_line(outcome))
        if outcome.job.target == STREAM:
            return
        if self.as_json:
            print(json.dumps(self._as_json(outcome)), flush=True)
        elif outcome.status == "done":
            print(outcome.job.target, flush=True)

    def _as_json(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "input": str(outcome.job.source),
            "output": str(outcome.job.target) if outcome.job.problem is None else None,
            "status": outcome.status,
            "input_size": _wide(outcome.size),
            "output_size": _wide(outcome.target_size),
            "tiles": outcome.tiles,
            "seconds": round(outcome.seconds, 3),
            "model": self.model,
            "seed": self.seed,
            "error": one_line(outcome.error) if outcome.error else None,
            "notes": list(outcome.notes),
        }


def summarize(outcomes: Sequence[Outcome], run: Run, planned: int) -> None:
    """Say on standard error what became of all jobs, with the reason for each failure and what to do."""
    counts = {status: sum(o.status == status for o in outcomes) for status in ("done", "skipped", "failed")}
    for outcome in outcomes:
        if outcome.error:
            messages.complain(f"{outcome.job.source}: {in_words(outcome.error)}")
    left = planned - len(outcomes)
    words = [f"{count} {status}" for status, count in counts.items()] + ([f"{left} not begun"] if left else [])
    messages.say(", ".join(words) + ".")
    if messages.verbose and counts["done"]:
        rate = 60 * counts["done"] / run.elapsed
        messages.say(
            f"{run.elapsed:.1f} s, {rate:.1f} images a minute, "
            f"the model computed {run.computing_share:.0%} of the time."
        )


def exit_code(outcomes: Sequence[Outcome], planned: int) -> int:
    """The exit code: 0, the error's own for a single image, 1 where some of several failed."""
    failures = [outcome.error for outcome in outcomes if outcome.error]
    if planned == 1:
        return messages.fail(failures[0]) if failures else 0
    return SOME_FAILED if failures else 0


def _line(outcome: Outcome) -> str:
    """The outcome of a job in one line."""
    words = [f"{outcome.job.source}: {outcome.status}"]
    if outcome.status == "skipped":
        words += outcome.notes or ("its result exists",)
    if outcome.target_size and outcome.status == "done":
        height, width = outcome.target_size
        words.append(f"{width} x {height} px, {outcome.tiles} tiles, {outcome.seconds:.1f} s")
    return ", ".join(words)


def _wide(size: Size | None) -> list[int] | None:
    """Width and height."""
    return [size[1], size[0]] if size else None
