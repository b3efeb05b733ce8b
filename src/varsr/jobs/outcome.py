"""Records of a run: the policy for files, and the outcome of each job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from varsr.choices import RawColors
from varsr.errors import VarsrError, as_varsr_error
from varsr.images.size import Size
from varsr.jobs.plan import Job

Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Policy:
    """Rules for outputs that exist, folders that do not, failures and very large inputs.

    With `preserve` results have the permissions and times of their inputs, as `cp -p` would give them.
    """

    overwrite: bool = False
    skip_existing: bool = False
    fail_fast: bool = False
    max_pixels: int | None = None
    skip_larger: int | None = None
    """Longer side in pixels; inputs with a longer one are skipped."""
    create_folders: bool = False
    preserve: bool = False
    raw_colors: RawColors = "srgb"
    """Colours that raw photographs are developed to."""


DEFAULT_POLICY = Policy()


@dataclass(frozen=True)
class Outcome:
    """Outcome of a job. Sizes are (height, width); `error` is set where it failed.

    `notes` say what of an image was not kept, or why it was skipped.
    """

    job: Job
    status: Status
    size: Size | None = None
    target_size: Size | None = None
    frames: int = 1
    tiles: int = 0
    seconds: float = 0.0
    error: VarsrError | None = None
    notes: tuple[str, ...] = ()
    outdated: bool = False
    """The job was skipped though its result was made with other options."""
    retries: int = 0
    """Transfers that were tried again since the outcome before."""


@dataclass(frozen=True)
class Skipped:
    """A job with nothing to do, and why where that is not plain. An `outdated` result has other options."""

    notes: tuple[str, ...] = ()
    outdated: bool = False


def failed(outcome: Outcome, error: Exception, seconds: float) -> Outcome:
    """The outcome of a job that raised: one of varsr's errors as it is, any other as an `UnforeseenError`."""
    return replace(outcome, status="failed", error=as_varsr_error(error), seconds=seconds)
