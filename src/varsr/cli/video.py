"""Videos on the command line: their options, which of them a job is about, and the estimate before a long run."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.filesize import decimal

from varsr.choices import VideoCodecName
from varsr.cli.console import messages
from varsr.cli.forecast import counted, in_time
from varsr.errors import OutputError, RequestError
from varsr.jobs.listing import is_folder
from varsr.jobs.pace import known_pace, measured_pace
from varsr.jobs.plan import Job
from varsr.jobs.preflight import is_about_video
from varsr.storage.address import Place, Remote
from varsr.video.formats import CONTAINERS, VideoOptions, has_video, is_video, result_suffix

if TYPE_CHECKING:
    from varsr.images.size import TargetSize
    from varsr.jobs.clip_estimate import ClipEstimate
    from varsr.jobs.crew import Crew
    from varsr.jobs.outcome import Policy
    from varsr.jobs.prefetch import JobSettings

LONG = 3600.0
"""Seconds from which a run has to be confirmed."""
_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)")


def video_options(
    codec: VideoCodecName | None,
    crf: int | None,
    preset: str | None,
    start: str | None,
    duration: str | None,
    fps: float | None,
    no_reuse: bool,
) -> VideoOptions:
    """The options of videos. Raises `RequestError` for values that cannot be."""
    return VideoOptions(
        codec=codec,
        crf=crf,
        preset=preset,
        start=seconds_in(start) if start else 0.0,
        duration=seconds_in(duration) if duration else None,
        fps=fps,
        reuse=not no_reuse,
    )


def seconds_in(text: str) -> float:
    """A time written as 90, 1:30 or 0:01:30.5. Raises `RequestError` for anything else."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise RequestError(f"{text!r} is not a time.", "Write seconds, or 1:30, or 0:01:30.5.")
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds)


def container_named(format: str | None) -> str | None:
    """The suffix of the videos that a format names; None where it names one of images, or nothing."""
    suffix = f".{format.lower().lstrip('.')}" if format else ""
    return suffix if suffix in CONTAINERS else None


def video_job(
    inputs: Sequence[Place], output: str | None, folder: Place | None, container: str | None, fps: float | None
) -> Job | None:
    """The job of one video, or of one folder of frames, whose result is not named as others are; None for any other.

    Raises `RequestError` where input and output do not go together.
    """
    if len(inputs) != 1:
        return None
    (source,) = inputs
    if output is None:
        if folder is None or container is not None or not is_video(source.name):
            return None
        messages.say(f"Its frames become images in {folder}. For a video there add --format {_own_container(source)}.")
        return Job(source, folder)
    if not is_video(output):
        if is_video(source.name):
            raise RequestError(f"{output} is not the name of a video.", "Name one, or a folder for frames with -d.")
        return None
    if is_folder(source):
        if fps is None:
            raise RequestError(f"{source}: images have no times of their own.", "Give frames a second with --fps.")
        return Job(source, _file(output))
    if not is_video(source.name):
        raise RequestError(f"{source} is not a video.", "Name a video, or a folder of frames with --fps.")
    return Job(source, _file(output))


def _own_container(source: Place) -> str:
    return result_suffix(source.name)[1:].lower()


def _file(output: str) -> Place:
    from varsr.storage.address import place_of

    target = place_of(output)
    if is_folder(target):
        raise OutputError(f"{output} is a folder.", "Name a file.")
    return target


def announce_clips(jobs: Sequence[Job], crew: Crew, settings: JobSettings, key: str, yes: bool) -> Crew:
    """Say what the videos among jobs will take, and have it confirmed where that is long.

    Returns the crew, its model loaded where the speed of this machine had to be measured. Raises `RequestError` where
    nobody is there to confirm.
    """
    estimate = _estimate(jobs, settings)
    if estimate is None:
        return crew
    pace = known_pace(key)
    if pace is None:
        crew = crew.with_model()
        assert crew.loaded is not None
        pace = measured_pace(crew.loaded, settings.options)
    seconds = pace * estimate.megapixels / len(crew.choices)
    _say(estimate, seconds, settings.video.reuse)
    _check_space(jobs[0], estimate.bytes)
    if seconds > LONG and not yes:
        _confirm(in_time(seconds))
    return crew


def say_clips(jobs: Sequence[Job], size: TargetSize, policy: Policy, video: VideoOptions, key: str) -> None:
    """Say what the videos among jobs would take, their time where earlier runs tell it."""
    if not any(map(is_about_video, jobs)):
        return
    from varsr.jobs.prefetch import JobSettings

    estimate = _estimate(jobs, JobSettings(size=size, policy=policy, video=video))
    if estimate is not None:
        pace = known_pace(key)
        _say(estimate, None if pace is None else pace * estimate.megapixels, video.reuse)


def _estimate(jobs: Sequence[Job], settings: JobSettings) -> ClipEstimate | None:
    """The estimate of the videos among jobs; None where there are none to do."""
    about = [job for job in jobs if is_about_video(job)]
    if not about or not has_video():
        return None
    from varsr.jobs.clip_estimate import estimate_clips

    estimate = estimate_clips(about, settings)
    return estimate if estimate.clips else None


def _say(estimate: ClipEstimate, seconds: float | None, reuse: bool) -> None:
    words = [f"{estimate.clips} videos"] if estimate.clips > 1 else []
    words.append(counted(estimate.frames, "frame"))
    if seconds is not None:
        most = "at most " if reuse else ""
        words.append(f"{most}{seconds / estimate.frames:.2g} s each: {most}about {in_time(seconds)}")
    messages.say(f"{', '.join(words)}, and about {decimal(estimate.bytes)} on disk, twice that at the end.")


def _confirm(time: str) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RequestError(
            f"This may take {time}.", "Add --yes to go on, or choose a part with --start and --duration."
        )
    if not typer.confirm("Go on?", err=True):
        raise typer.Exit(0)


def _check_space(job: Job, needed: int) -> None:
    if isinstance(job.target, Remote):
        return
    folder = next((parent for parent in (job.target, *job.target.parents) if parent.is_dir()), Path())
    free = shutil.disk_usage(folder).free
    if free < 2 * needed:
        messages.complain(f"{folder} has {decimal(free)} free, which may not suffice.")
