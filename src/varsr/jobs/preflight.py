"""Preflight: before an image is computed, its result's place is checked and its file is read."""

from __future__ import annotations

import tempfile
from pathlib import Path

from varsr.errors import InputError, OutputError, describe
from varsr.images.encoding import Encoding
from varsr.images.formats import how_to_get
from varsr.images.header import read_header
from varsr.images.mark import is_marked, made_with
from varsr.images.photo import Photo
from varsr.images.read import read_photo, read_stream
from varsr.jobs.outcome import Policy, Skipped
from varsr.jobs.plan import Job
from varsr.jobs.targets import Targets
from varsr.storage.address import Place, Remote
from varsr.storage.local import exists, is_special
from varsr.storage.streams import STREAM, standard_input
from varsr.video.formats import has_video, is_video


def prepare(job: Job, policy: Policy, encoding: Encoding, targets: Targets) -> Skipped | None:
    """Check the place of a job's result before its image is read; or say that there is nothing to do.

    Raises `OutputError` where the result could not be written.
    """
    if job.problem is not None:
        raise job.problem
    if policy.skip_existing and targets.exist(job.target):
        return _skipped_existing(job.target, encoding)
    _check_target(job, policy, targets)
    return None


def read(job: Job, file: Path, policy: Policy, encoding: Encoding) -> Photo | Skipped:
    """Read the image of a job from its file, or standard input; or say that there is nothing to do.

    Raises `InputError` where it cannot be read, `OutputError` where the folder of its result cannot be made.
    """
    if job.source == STREAM:
        return read_stream(standard_input(), policy.max_pixels)
    photo = read_photo(file, policy.max_pixels, policy.raw_colors)
    if policy.skip_larger is not None and max(photo.size) > policy.skip_larger:
        return Skipped((f"it is longer than {policy.skip_larger} px",))
    if job.found and is_marked(photo.metadata.exif) and not _same(job.source, job.target):
        return Skipped(("it is a result of varsr",))
    if policy.create_folders and isinstance(job.target, Path):
        create_folder(job.target.parent)
    return photo if encoding.background is None else photo.on(encoding.background)


def is_about_video(job: Job) -> bool:
    """True for a job whose input or result is a video."""
    return is_video(job.source.name) or is_video(job.target.name)


def prepare_video(job: Job, policy: Policy, targets: Targets) -> Skipped | None:
    """Check the place of a video's result, or of the folder of its frames; or say that there is nothing to do.

    Raises `InputError` where what reads videos is not installed, `OutputError` where the result could not be written.
    """
    if job.problem is not None:
        raise job.problem
    if not has_video():
        raise InputError(f"{job.source}: reading videos is not installed.", how_to_get("video"))
    if not is_video(job.target.name):  # a folder of images, each of which is checked at its turn
        if isinstance(job.target, Remote) or job.target == STREAM:
            raise OutputError(f"{job.target} cannot hold the frames of a video.", "Name a folder of this machine.")
        check_folder(job.target)
        return None
    if policy.skip_existing and targets.exist(job.target):
        return Skipped()
    _check_target(job, policy, targets)
    if policy.create_folders and isinstance(job.target, Path):
        create_folder(job.target.parent)
    return None


def _skipped_existing(target: Place, encoding: Encoding) -> Skipped:
    """Skip a job whose result exists, with a note where its mark names other options. Objects are not fetched."""
    if isinstance(target, Remote):
        return Skipped()
    try:
        found = made_with(read_header(target).exif)
    except InputError:
        return Skipped()
    if not found or not encoding.made_with or found == encoding.made_with:
        return Skipped()
    return Skipped((f"its result was made with other options ({found})",), outdated=True)


def _check_target(job: Job, policy: Policy, targets: Targets) -> None:
    """Raise `OutputError` where the result could not be written."""
    target = job.target
    if target == STREAM:
        return
    if isinstance(target, Remote) and target.is_web:
        raise OutputError(f"{target} cannot be written: the web is read alone.", "Choose another place.")
    if isinstance(target, Remote) and policy.overwrite:
        return
    exists = targets.exist(target)
    if exists and not policy.overwrite:
        if _same(job.source, target):
            raise OutputError(f"{target} is the input itself.", "Choose another name, or use `overwrite`.")
        raise exists_already(target)
    if isinstance(target, Remote):
        return
    if policy.create_folders and not exists:
        check_folder(target.parent)
    else:
        check_target(target, policy.overwrite)


def exists_already(target: Place) -> OutputError:
    """The error of a result that is there and is not to be replaced."""
    return OutputError(f"{target} exists already.", "Use `overwrite` to replace it, or `output` to write elsewhere.")


def _same(first: Place, second: Place) -> bool:
    if isinstance(first, Remote) or isinstance(second, Remote):
        return first == second
    return first != STREAM and first.exists() and second.exists() and first.samefile(second)


def check_target(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` now where writing `path` is bound to fail later."""
    try:
        if is_special(path):
            return
        if path.is_symlink() and not path.exists() and not overwrite:
            raise OutputError(f"{path} is a link to nothing.", "Use `overwrite` to write where it points.")
        real = path.resolve() if path.is_symlink() else path
        if not real.parent.is_dir():
            raise OutputError(f"The folder {real.parent} does not exist.", "Create it first.")
        if path.is_dir():
            raise OutputError(f"{path} is a folder.", "Name a file, or use `output_dir`.")
        if path.exists() and not overwrite:
            raise exists_already(path)
        with tempfile.TemporaryFile(dir=real.parent):
            return
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({describe(error)}).", "Choose another place with `output`."
        ) from error


def check_folder(path: Path) -> None:
    """Raise `OutputError` now where files could not be written into a folder, or into one made there later."""
    there = next((folder for folder in (path, *path.parents) if exists(folder)), Path())
    try:
        if not there.is_dir():
            raise OutputError(f"{there} is not a folder.", "Choose another folder with `output_dir`.")
        with tempfile.TemporaryFile(dir=there):
            return
    except OSError as error:
        raise OutputError(
            f"Nothing can be written to the folder {path} ({describe(error)}).", "Choose another with `output_dir`."
        ) from error


def create_folder(path: Path) -> None:
    """Make a folder and those above it. Raises `OutputError` where that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {path} cannot be made ({describe(error)}).", "Choose another with `output_dir`."
        ) from error
