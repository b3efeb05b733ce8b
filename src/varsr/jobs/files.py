"""One file upscaled to another: the Python door that is equal to `varsr upscale FILE -o FILE`."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from varsr.images.formats import DEFAULT_QUALITY
from varsr.images.size import target_size
from varsr.images.write import Encoding
from varsr.jobs.naming import format_named
from varsr.jobs.outcome import Outcome, Policy
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.jobs.run import Run
from varsr.upscaling.options import DEFAULTS, Options
from varsr.upscaling.upscaler import ModelChoice, Upscaler


def upscale_file(
    source: str | PathLike[str],
    target: str | PathLike[str],
    upscaler: Upscaler | None = None,
    *,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    longest: int | None = None,
    megapixels: float | None = None,
    options: Options = DEFAULTS,
    format: str | None = None,
    quality: int = DEFAULT_QUALITY,
    lossless: bool = False,
    background: tuple[int, int, int] | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Upscale an image file to another, as `varsr upscale SOURCE -o TARGET` does.

    Everything that belongs to the image is kept where the target's format can hold it: EXIF (with the orientation
    applied), XMP, IPTC, colour profile, pixel density, transparency, 16 bits a channel, and all frames or pages. The
    target appears whole or not at all.

        from varsr import Upscaler, upscale_file

        upscaler = Upscaler.from_pretrained()
        for name in ("a.jpg", "b.jpg"):
            upscale_file(name, f"large/{name}", upscaler)

    Args:
        source: the file to read: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, or HEIC where pillow-heif is installed.
        target: the file to write. Its suffix chooses the format. Its folder must exist.
        upscaler: a loaded model. None loads the default one, which takes a second or more: load it yourself, once,
            before a loop.
        scale: times as wide and high, from 1 to 8. Without any of these five it is 4.
        width: width of the result in pixels.
        height: height of the result in pixels.
        longest: longer side of the result in pixels.
        megapixels: area of the result in millions of pixels.
        options: guidance scale, seed, preset and the like; see `Options`.
        format: jpeg, png, webp, tiff, bmp, gif or avif, where the target has no suffix.
        quality: of JPEG, WebP and AVIF, from 1 to 100.
        lossless: write WebP without loss, and AVIF with as little as it can.
        background: red, green and blue, 0 to 255, to put behind transparency, which is lost.
        overwrite: replace a target that exists.

    Returns:
        An `Outcome`: `size` and `target_size` (height, width), the number of `tiles`, `seconds`, and `notes` on what
        the format could not hold.

    Raises:
        RequestError: a value is out of range, or the format cannot hold the image as asked.
        InputError: the source cannot be read.
        OutputError: the target exists or cannot be written.
        WeightsError: the default model cannot be had.
        TooLittleMemoryError: the device has too little memory.
        ResultError: the model computed values that are not an image.

    """
    size = target_size(scale=scale, width=width, height=height, longest=longest, megapixels=megapixels)
    encoding = Encoding(quality, lossless, format_named(format) if format else None, background)
    encoding.of(Path(target))
    settings = JobSettings(size, options, encoding, Policy(overwrite=overwrite))
    (outcome,) = Run(upscaler or ModelChoice(), [Job(Path(source), Path(target))], settings)
    if outcome.error is not None:
        raise outcome.error
    return outcome
