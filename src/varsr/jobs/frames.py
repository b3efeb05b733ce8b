"""Where the frames of a video come from: a video file, or a folder of numbered images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from varsr.errors import InputError, RequestError
from varsr.images.formats import READ_SUFFIXES
from varsr.images.read import read_photo
from varsr.images.rounding import rounded
from varsr.video.clip import Clip, Signal, read_clip
from varsr.video.color import EIGHT, Colors
from varsr.video.formats import VideoOptions
from varsr.video.read import Frame, FrameReader

_BT709 = Colors(1, 1, 1, full_range=False)
_DEEP = 10  # bits of a video made of images of 16
_FEWER = 0.95  # of the frames that a file says it has, below which it is taken to end early


class FrameSource(Protocol):
    """Frames in order, and what is worth saying of them once they have been read."""

    clip: Clip

    def __iter__(self) -> Iterator[Frame]: ...

    def notes(self) -> tuple[str, ...]:
        """Phrases about what was met."""


def frame_source(path: Path, options: VideoOptions) -> FrameSource:
    """The frames of a video file or a folder of images. Raises `InputError` where there are none."""
    if path.is_dir():
        return NumberedImages(path, options)
    return FileFrames(path, options)


class FileFrames:
    """The frames of a video file."""

    def __init__(self, path: Path, options: VideoOptions) -> None:
        self.clip = read_clip(path)
        self._options = options
        self._reader = FrameReader(self.clip, options)
        self._count = 0

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._reader:
            self._count += 1
            yield frame

    def notes(self) -> tuple[str, ...]:
        """Damage, interlacing, and what of the signal is not kept."""
        notes = list(self.clip.notes)
        if self.clip.interlaced:
            notes.append("its interlaced frames were deinterlaced (bwdif)")
        concealed = self._reader.concealed
        if concealed:
            times = ", ".join(_clock(seconds) for seconds in concealed[:10]) + (", ..." if len(concealed) > 10 else "")
            noun = "frame was" if len(concealed) == 1 else "frames were"
            notes.append(f"{len(concealed)} damaged {noun} concealed, at {times}")
        whole = not self._options.start and self._options.duration is None
        if self._reader.ends_early or (whole and self._count < _FEWER * self.clip.frames - 1):
            notes.append(f"the file ends early: {self._count} of about {self.clip.frames} frames could be read")
        return tuple(notes)


class NumberedImages:
    """The images of a folder, in the order of the numbers in their names, as frames at so many a second."""

    def __init__(self, folder: Path, options: VideoOptions) -> None:
        """Look into a folder. Raises `InputError` where it holds no image."""
        if options.fps is None:
            raise RequestError(f"{folder}: images have no times of their own.", "Give frames a second with `fps`.")
        self._files = sorted(
            (file for file in folder.iterdir() if file.suffix.lower() in READ_SUFFIXES and file.name[0] != "."),
            key=_by_number,
        )
        rate = Fraction(options.fps).limit_denominator(1001)
        begin = round(options.start * rate)
        end = None if options.duration is None else begin + max(1, round(options.duration * rate))
        self._files = self._files[begin:end]
        if not self._files:
            raise InputError(f"{folder} holds no images.", "Name another folder.")
        first = read_photo(self._files[0])
        depth = _DEEP if first.sixteen_bit else EIGHT
        self.clip = Clip(folder, first.size, Signal(_BT709, depth), 1 / rate, rate, len(self._files), interlaced=False)

    def __iter__(self) -> Iterator[Frame]:
        for number, file in enumerate(self._files):
            photo = read_photo(file)
            if photo.size != self.clip.size:
                height, width = self.clip.size
                raise InputError(f"{file} is not of {width} x {height} pixels, as the first image is.", "Leave it out.")
            kind = np.uint8 if self.clip.signal.depth == EIGHT else np.uint16
            yield Frame(rounded(photo.color, np.dtype(kind)), number)

    def notes(self) -> tuple[str, ...]:
        """Nothing is left out."""
        return ()


def _by_number(file: Path) -> tuple[tuple[int, int | str], ...]:
    """A name's parts with its numbers as such: 9 comes before 10."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", file.stem) if part)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:05.2f}"
