"""Images to upscale, as callers have them, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from varsr.errors import RequestError
from varsr.images.arrays import from_array, to_array
from varsr.images.photo import Photo
from varsr.images.pillow import from_pillow, to_pillow
from varsr.images.size import Size, TargetSize, target_size
from varsr.tiling.array import FloatImage
from varsr.upscaling.options import DEFAULTS, Options
from varsr.upscaling.progress import OnProgress
from varsr.upscaling.still import Change

ImageLike: TypeAlias = "Image.Image | NDArray[Any] | Photo"
ImageT = TypeVar("ImageT", Image.Image, NDArray[Any], Photo)
FOUR_TIMES = target_size()


@dataclass(frozen=True)
class Request:
    """An image to upscale.

    `image` is a Pillow image; an array (H, W), (H, W, 3) or (H, W, 4) of uint8, uint16 or of floats from 0 to 1; or a
    `Photo`, of which only the first frame is upscaled.
    """

    image: ImageLike
    size: TargetSize | Size = FOUR_TIMES
    """Relative to the image, or (height, width) in pixels."""
    options: Options = DEFAULTS
    on_progress: OnProgress | None = None
    change: Change | None = None
    """The part that is new since the image before, of a video; None where everything is computed."""

    def target(self, photo: Photo) -> Size:
        """The size (height, width) of the result. Raises `RequestError` for less than 1 or more than 8 times."""
        return self.size.of(photo.size) if isinstance(self.size, TargetSize) else self.size

    def photo(self) -> Photo:
        """The image with everything that belongs to it. Raises `RequestError` for what is not an image."""
        if isinstance(self.image, Photo):
            return self.image
        if isinstance(self.image, Image.Image):
            return from_pillow(self.image)
        if isinstance(self.image, np.ndarray):
            return from_array(self.image)
        raise RequestError(
            f"upscale takes a Pillow image or an array, not {type(self.image).__name__}.",
            "Open a file with PIL.Image.open, or upscale it with varsr.upscale_file.",
        )

    def answer(self, photo: Photo) -> ImageLike:
        """A result in the kind of the request: an image for an image, an array for an array."""
        if isinstance(self.image, Image.Image):
            return to_pillow(photo, self.image)
        if isinstance(self.image, np.ndarray):
            return to_array(photo, self.image)
        return photo


@dataclass(frozen=True)
class Result:
    """An image that is upscaled as it is asked for: by `bands`, or whole by `photo` or `image`; once.

    `size` is (height, width) in pixels. Asking raises `RequestError` where the request does not suit the model,
    `TooLittleMemoryError`, `ResultError` for values that are not an image, and `OutputError` where a large image has to
    wait on a disk that is full.
    """

    request: Request
    source: Photo | None
    size: Size
    tiles: int
    _steps: Iterator[FloatImage | None]

    def steps(self) -> Iterator[FloatImage | None]:
        """`bands`, and None wherever more is computed without a further row being final.

        Between two steps the same model may upscale other images, or the result may be given up.
        """
        return self._steps

    def bands(self) -> Iterator[FloatImage]:
        """The colour in bands of rows from top to bottom, each (rows, W, 3) in [0, 1]."""
        return (band for band in self._steps if band is not None)

    def photo(self) -> Photo:
        """The whole result with everything that belongs to it."""
        color = np.concatenate(list(self.bands()))  # raises where the request was refused
        assert self.source is not None
        return replace(self.source.with_color(color), more_frames=())

    def image(self) -> ImageLike:
        """The whole result in the kind of the request."""
        return self.request.answer(self.photo())
