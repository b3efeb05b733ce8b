"""Images of classes as jobs: planned, made in batches, written, one outcome each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from varsr.errors import RequestError, VarsrError, as_varsr_error
from varsr.generation.options import GenerationOptions, Wish
from varsr.images.encoding import Encoding
from varsr.images.formats import Format
from varsr.images.write import write_photo
from varsr.jobs.outcome import Policy, Status
from varsr.jobs.preflight import check_target
from varsr.storage.local import exists

if TYPE_CHECKING:
    from varsr.generation.generator import Generated, Generator

FIELDS = ("class", "seed", "ext")


@dataclass(frozen=True)
class GenerationJob:
    """An image to make and where it goes."""

    wish: Wish
    target: Path

    @property
    def name(self) -> str:
        """Its name in messages."""
        return str(self.target)


@dataclass(frozen=True)
class GenerationOutcome:
    """Outcome of a job; `error` is set where it failed, `made_from` where it was done."""

    job: GenerationJob
    status: Status
    seconds: float = 0.0
    made_from: dict[str, Any] = field(default_factory=dict)
    error: VarsrError | None = None


def plan_generation(
    labels: Sequence[int], count: int, seed: int, folder: Path, template: str, format: Format
) -> list[GenerationJob]:
    """`count` images of each class, whose seeds rise by one from `seed`.

    Raises `RequestError` for a template that cannot be filled in or gives several images one name.
    """
    wishes = [Wish(label, seed + number) for label in dict.fromkeys(labels) for number in range(count)]
    jobs = [GenerationJob(wish, folder / _name(template, wish, format)) for wish in wishes]
    if len({job.target for job in jobs}) < len(jobs):
        name = jobs[0].target.name
        raise RequestError(f"Several images would be called {name}.", "Put {class} and {seed} into `name`.")
    return jobs


def generate_jobs(
    load: Callable[[], Generator],
    jobs: Sequence[GenerationJob],
    options: GenerationOptions,
    policy: Policy,
    encoding: Encoding,
) -> Iterator[GenerationOutcome]:
    """Do the jobs, and yield an outcome for each: first what need not or cannot be done, then images as they are made.

    The model is loaded if there is anything to make. Raises as loading and generating do.
    """
    settled = [(job, _settled(job, policy)) for job in jobs]
    yield from (outcome for _, outcome in settled if outcome)
    waiting = [job for job, outcome in settled if outcome is None]
    if not waiting or (policy.fail_fast and any(outcome and outcome.error for _, outcome in settled)):
        return
    generator = load()
    generator.check(job.wish.label for job in waiting)
    began = time.monotonic()
    for job, made in zip(waiting, generator.generate((job.wish for job in waiting), options), strict=True):
        outcome = _written(job, made, encoding, time.monotonic() - began)
        yield outcome
        if outcome.error and policy.fail_fast:
            return
        began = time.monotonic()


def _settled(job: GenerationJob, policy: Policy) -> GenerationOutcome | None:
    """The outcome of a job that is skipped or bound to fail; None for one that is to be done."""
    if policy.skip_existing and exists(job.target):
        return GenerationOutcome(job, "skipped")
    try:
        check_target(job.target, policy.overwrite)
    except VarsrError as error:
        return GenerationOutcome(job, "failed", error=error)
    return None


def _written(job: GenerationJob, made: Generated, encoding: Encoding, seconds: float) -> GenerationOutcome:
    try:
        write_photo(made.photo(), job.target, encoding)
    except Exception as error:
        return GenerationOutcome(job, "failed", seconds, error=as_varsr_error(error))
    return GenerationOutcome(job, "done", seconds, dict(made.made_from))


def _name(template: str, wish: Wish, format: Format) -> str:
    suffix = format.suffixes[0]
    try:
        name = template.format(**{"class": wish.label, "seed": wish.seed, "ext": suffix})
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise RequestError(
            f"The name {template!r} cannot be filled in ({error}).",
            f"Fields are {', '.join('{' + name + '}' for name in FIELDS)}.",
        ) from error
    if not name or name != Path(name).name:
        raise RequestError(f"The name {template!r} is not a plain file name.", "Choose the folder with `output_dir`.")
    return name if "{ext}" in template else name + suffix
