"""A folder of numbered images: the frames of a video, one file each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from varsr.images.coding import coding_of_cicp
from varsr.images.encoding import Encoding, check_fits
from varsr.images.formats import BY_SUFFIX
from varsr.images.metadata import Metadata
from varsr.images.photo import Photo, from_channels
from varsr.images.size import Size
from varsr.images.write import write_photo
from varsr.jobs.naming import FALLBACK
from varsr.jobs.outcome import Policy
from varsr.jobs.preflight import create_folder, exists_already
from varsr.tiling.array import FloatImage
from varsr.video.clip import Clip
from varsr.video.color import EIGHT

_LIKE_SRGB = (1, 5, 6)
"""Primaries (ITU-T H.273) that are close to those of sRGB, which images without a profile are taken to have."""


class ImageFolder:
    """Writes frames of `clip` as STEM_000001.png and so on, in the format that is asked for."""

    def __init__(self, folder: Path, clip: Clip, size: Size, encoding: Encoding, policy: Policy) -> None:
        """Make the folder. Raises `OutputError` where that fails, `RequestError` for a format that does not suit."""
        self._folder, self._clip, self._encoding, self._policy = folder, clip, encoding, policy
        format = encoding.format or BY_SUFFIX[FALLBACK]
        self._suffix = format.suffixes[0]
        check_fits(self.file(1), size, self._photo(np.zeros((1, 1, 3), np.float32)), encoding)
        create_folder(folder)

    def file(self, number: int) -> Path:
        """The file of a frame; the first is 1."""
        return self._folder / f"{self._clip.path.stem}_{number:06}{self._suffix}"

    def wants(self, number: int) -> bool:
        """True for a frame that is to be written. Raises `OutputError` for a file that must not be replaced."""
        if self._policy.overwrite or not self.file(number).exists():
            return True
        if self._policy.skip_existing:
            return False
        raise exists_already(self.file(number))

    def write(self, number: int, image: FloatImage) -> None:
        """Write a frame (H, W, 3) in [0, 1], upright. Raises `OutputError`."""
        upright = np.ascontiguousarray(np.rot90(image, self._clip.signal.turns))
        write_photo(self._photo(upright), self.file(number), self._encoding)

    def _photo(self, image: FloatImage) -> Photo:
        """A frame with what says how its colours are meant: HDR by its code points, wide colours by a profile."""
        signal = self._clip.signal
        colors, deep = signal.colors, signal.depth > EIGHT
        points = (colors.primaries, colors.transfer, 0, 1)
        if colors.is_hdr:
            return Photo(image, sixteen_bit=deep, metadata=Metadata(cicp=points))
        coding = None if colors.primaries in _LIKE_SRGB else coding_of_cicp(points)
        return from_channels(image, sixteen_bit=deep, coding=coding)
