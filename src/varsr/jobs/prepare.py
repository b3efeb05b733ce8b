"""Before a picture is computed: is there anything to do, can its place be written to, and what does its file hold."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import BinaryIO

from varsr.errors import OutputError, describe
from varsr.images.exif import is_marked
from varsr.images.photo import Photo
from varsr.images.read import read_photo, read_stream
from varsr.images.write import Encoding, check_folder, check_target, create_folder
from varsr.jobs.outcome import Policy, Skipped
from varsr.jobs.plan import STREAM, Job
from varsr.storage.local import is_special


def prepare(job: Job, policy: Policy, encoding: Encoding) -> Photo | Skipped:
    """The picture of a job, read, its place found fit to be written to; or that there is nothing to do.

    Raises `InputError` where it cannot be read, `OutputError` where its result could not be written.
    """
    if job.problem is not None:
        raise job.problem
    if policy.skip_existing and _exists(job):
        return Skipped()
    _check_target(job, policy)
    if job.source == STREAM:
        return read_stream(_standard_input(), policy.max_pixels)
    photo = read_photo(job.source, policy.max_pixels)
    if job.found and is_marked(photo.metadata.exif) and not _same(job.source, job.target):
        return Skipped(("it is a result of varsr",))
    if policy.create_folders:
        create_folder(job.target.parent)
    return photo if encoding.background is None else photo.on(encoding.background)


def _exists(job: Job) -> bool:
    try:
        return job.target.exists() and not is_special(job.target)
    except OSError as error:  # of a name that the file system does not take
        raise OutputError(f"{job.target} cannot be written ({describe(error)}).", "Choose another name.") from error


def _check_target(job: Job, policy: Policy) -> None:
    """Raise `OutputError` where the result could not be written."""
    if job.target == STREAM:
        return
    if _exists(job):
        if not policy.overwrite and _same(job.source, job.target):
            raise OutputError(f"{job.target} is the input itself.", "Choose another name, or use --overwrite.")
        check_target(job.target, policy.overwrite)
    elif policy.create_folders:
        check_folder(job.target.parent)
    else:
        check_target(job.target, policy.overwrite)


def _standard_input() -> BinaryIO:
    """Standard input without Python's buffer, whose lock a reader that is left behind would hold until the end."""
    try:
        return io.FileIO(sys.stdin.fileno(), closefd=False)
    except (OSError, ValueError):  # not a file of the system
        return sys.stdin.buffer


def _same(first: Path, second: Path) -> bool:
    return first != STREAM and first.exists() and second.exists() and first.samefile(second)
