"""The containers and codecs of video files: which are read, which are written, and what goes into what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from varsr.choices import VideoCodecName
from varsr.errors import RequestError

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffixes of files that are written, and the names by which FFmpeg knows their containers."""
READ_SUFFIXES = (*CONTAINERS, ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts")
FALLBACK = ".mkv"
"""Suffix of the result of a video whose own container is not written."""
_ALL, _QUICKTIME, _MATROSKA = ("mp4", "mov", "matroska"), ("mov", "matroska"), ("matroska",)
_X26X = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")


@dataclass(frozen=True)
class Codec:
    """A codec that can be written. `crf` is its constant rate factor: lowest, default and highest; None without one."""

    name: VideoCodecName
    encoder: str
    containers: tuple[str, ...]
    crf: tuple[int, int, int] | None = None
    presets: tuple[str, ...] = ()
    preset: str = ""
    tag: str = ""
    """The tag by which MP4 and MOV announce it, where FFmpeg's own choice is not played everywhere."""


CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("h264", "libx264", _ALL, (0, 18, 51), _X26X, "medium"),
        Codec("h265", "libx265", _ALL, (0, 20, 51), _X26X, "medium", tag="hvc1"),
        Codec("av1", "libsvtav1", (*_ALL, "webm"), (0, 28, 63), tuple(map(str, range(14))), "8"),
        Codec("ffv1", "ffv1", _MATROSKA),
        Codec("prores", "prores_ks", _QUICKTIME),
    )
}


@dataclass(frozen=True)
class VideoOptions:
    """Options of video results. None leaves a choice to varsr. Raises `RequestError` for values that cannot be.

    Times are in seconds; `reuse` takes what has not changed since the frame before from its result.
    """

    codec: VideoCodecName | None = None
    crf: int | None = None
    preset: str | None = None
    start: float = 0.0
    duration: float | None = None
    fps: float | None = None
    reuse: bool = True

    def __post_init__(self) -> None:
        if self.start < 0 or (self.duration is not None and self.duration <= 0):
            raise RequestError("A video cannot begin before 0 or last no time.", "Choose `start` and `duration` anew.")
        if self.fps is not None and not 0 < self.fps <= 500:
            raise RequestError(f"`fps` cannot be {self.fps:g}.", "Use a number of frames a second up to 500.")


DEFAULT_VIDEO = VideoOptions()


def is_video(name: str) -> bool:
    """True for a name with the suffix of a video."""
    return Path(name).suffix.lower() in READ_SUFFIXES


@cache
def has_video() -> bool:
    """True where the package that reads videos is installed."""
    return find_spec("av") is not None


def result_suffix(source: str) -> str:
    """The suffix of the result of a video: its own where it can be written."""
    own = Path(source).suffix
    return own if own.lower() in CONTAINERS else FALLBACK


def codec_for(name: str, options: VideoOptions, deep: bool) -> Codec:
    """The codec of a result called `name`: the one asked for, else H.264, H.265 for more than 8 bits, AV1 in WebM.

    Raises `RequestError` where the container cannot hold it, or it has not the options.
    """
    suffix = Path(name).suffix.lower()
    container = CONTAINERS.get(suffix)
    if container is None:
        raise RequestError(
            f"{name} has no suffix of a video that can be written.", f"Use one of {', '.join(CONTAINERS)}."
        )
    usual = "av1" if container == "webm" else "h265" if deep else "h264"
    codec = CODECS[options.codec or usual]
    if container not in codec.containers:
        fitting = ", ".join(end for end, held in CONTAINERS.items() if held in codec.containers)
        raise RequestError(f"{name}: {suffix[1:].upper()} does not hold {codec.name}.", f"Name a file of {fitting}.")
    _check(codec, options)
    return codec


def _check(codec: Codec, options: VideoOptions) -> None:
    if options.crf is not None and codec.crf is None:
        raise RequestError(f"{codec.name} has no constant rate factor.", "Leave `video_crf` out.")
    if options.crf is not None and codec.crf is not None and not codec.crf[0] <= options.crf <= codec.crf[2]:
        raise RequestError(
            f"`video_crf` of {codec.name} cannot be {options.crf}.", f"Use {codec.crf[0]} to {codec.crf[2]}."
        )
    if options.preset is not None and options.preset not in codec.presets:
        known = ", ".join(codec.presets) or "none: leave it out"
        raise RequestError(f"`video_preset` of {codec.name} cannot be {options.preset}.", f"It has {known}.")
