"""Reports: what is printed of a plan, of each outcome, and of a run as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from varsr.cli.console import in_words, messages, one_line
from varsr.jobs.estimate import Census
from varsr.jobs.outcome import Outcome, Policy, Status
from varsr.jobs.plan import Job
from varsr.jobs.preflight import is_about_video
from varsr.jobs.report import Report, record
from varsr.jobs.targets import Targets
from varsr.storage.streams import STREAM

if TYPE_CHECKING:
    from varsr.jobs.crew import AnyRun
    from varsr.jobs.generate import GenerationOutcome

    AnyOutcome = Outcome | GenerationOutcome

NAMED_FAILURES = 1000
SOME_FAILED = 1
"""Exit code of a run of several files of which some failed."""


def announce(jobs: Iterable[Job], as_json: bool, policy: Policy) -> Census:
    """Print what would be done; return the census of the images to upscale."""
    census, targets = Census(), Targets()
    for job in jobs:
        exists = job.problem is None and targets.exist(job.target)
        if as_json:
            print(json.dumps({"input": str(job.source), "output": str(job.target), "exists": exists}))
        elif job.problem is not None:
            messages.complain(one_line(job.problem))
        else:
            print(f"{job.source} -> {job.target}{' (exists)' if exists else ''}")
        if job.problem is not None or (exists and not policy.overwrite):
            continue
        if is_about_video(job):
            census.videos += 1
        else:
            census.add(job.source)
    return census


@dataclass(frozen=True)
class OutcomePrinter:
    """Prints each outcome as it comes: a path or a JSON object on standard output, notes on the other.

    In a `report` it writes a line for each.
    """

    model: str
    seed: int
    as_json: bool
    report: Report | None = None

    def print(self, outcome: Outcome) -> None:
        """Print one outcome."""
        messages.trace(outcome.error)
        for note in outcome.notes if outcome.status == "done" else ():
            messages.say(f"{outcome.job.source}: {note}.")
        if messages.verbose:
            messages.say(_line(outcome))
        values = record(outcome, self.model, self.seed)
        values["error"] = one_line(outcome.error) if outcome.error else None
        if self.report is not None:
            self.report.add(values)
        if outcome.job.target == STREAM:
            return
        if self.as_json:
            print(json.dumps(values), flush=True)
        elif outcome.status == "done":
            print(outcome.job.target, flush=True)


class Tally:
    """The outcomes of a run, counted; of failures the first `NAMED_FAILURES` are kept."""

    def __init__(self) -> None:
        self.counts: dict[Status, int] = {"done": 0, "skipped": 0, "failed": 0}
        self.failures: list[AnyOutcome] = []
        self.outdated = 0
        """Skipped jobs whose results were made with other options."""
        self.retries = 0
        """Transfers that were tried again."""

    def add(self, outcome: AnyOutcome) -> None:
        """Count an outcome."""
        self.counts[outcome.status] += 1
        if outcome.error and len(self.failures) < NAMED_FAILURES:
            self.failures.append(outcome)

    @property
    def total(self) -> int:
        """The number of outcomes."""
        return sum(self.counts.values())


def note_peculiarities(outcome: Outcome, tally: Tally) -> None:
    """Count transfers tried again, and skipped jobs whose results were made with other options; warn of the first."""
    tally.retries += outcome.retries
    if not outcome.outdated:
        return
    tally.outdated += 1
    if tally.outdated == 1:
        messages.complain(
            f"{outcome.job.target}: {outcome.notes[0]}. Such results are kept; --overwrite makes them again."
        )


def name_failures(tally: Tally) -> None:
    """Say on standard error what failed, why, and what to do."""
    for outcome in tally.failures:
        assert outcome.error is not None
        messages.complain(f"{outcome.job.name}: {in_words(outcome.error)}")
    if (unnamed := tally.counts["failed"] - len(tally.failures)) > 0:
        messages.complain(f"{unnamed} further failures are not listed; --json names each.")


def summarize(tally: Tally, run: AnyRun, planned: int | None) -> None:
    """Say on standard error what became of all jobs, with the reason for each failure and what to do."""
    counts = tally.counts
    name_failures(tally)
    left = planned - tally.total if planned is not None else 0
    words = [f"{count} {status}" for status, count in counts.items()] + ([f"{left} not begun"] if left else [])
    outdated = f" Of the skipped, {tally.outdated} were made with other options." if tally.outdated else ""
    retried = f" {tally.retries} transfers were tried again." if tally.retries else ""
    messages.say(", ".join(words) + "." + outdated + retried)
    if messages.verbose and counts["done"]:
        rate = 60 * counts["done"] / run.elapsed
        share = run.computing_share
        computing = f", the model computed {share:.0%} of the time" if share is not None else ""
        messages.say(f"{run.elapsed:.1f} s, {rate:.1f} images a minute{computing}.")


def exit_code(tally: Tally, planned: int | None) -> int:
    """The exit code: 0, the error's own for a single image, 1 where some of several failed."""
    if not tally.failures:
        return 0
    error = tally.failures[0].error
    assert error is not None
    return messages.fail(error) if planned == 1 else SOME_FAILED


def _line(outcome: Outcome) -> str:
    """The outcome of a job in one line."""
    words = [f"{outcome.job.source}: {outcome.status}"]
    if outcome.status == "skipped":
        words += outcome.notes or ("its result exists",)
    if outcome.target_size and outcome.status == "done":
        height, width = outcome.target_size
        words.append(f"{width} x {height} px, {outcome.tiles} tiles, {outcome.seconds:.1f} s")
    return ", ".join(words)
