"""One file upscaled to another: the Python door that is equal to `varsr upscale FILE -o FILE`."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

from varsr.images.encoding import Encoding
from varsr.images.formats import DEFAULT_QUALITY
from varsr.images.size import target_size
from varsr.jobs.naming import format_named
from varsr.jobs.outcome import Outcome, Policy
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.jobs.preflight import is_about_video
from varsr.jobs.provenance import marking
from varsr.jobs.run import Run
from varsr.storage.address import place_of
from varsr.upscaling.options import DEFAULTS, Options
from varsr.upscaling.upscaler import ModelChoice, Upscaler
from varsr.video.formats import DEFAULT_VIDEO, VideoOptions
from varsr.weights.registry import default_model, model_label


def upscale_file(  # noqa: D417, some arguments are documented together
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
    video: VideoOptions = DEFAULT_VIDEO,
) -> Outcome:
    """Upscale an image or video file to another, as `varsr upscale SOURCE -o TARGET` does.

    Everything that belongs to it is kept where the target's format can hold it. The target appears whole or not at all.
    In a loop, load the model once: `upscaler = Upscaler.from_pretrained()`.

    Args:
        source: an image; with `pip install "varsr[video]"` a video, or for one a folder of images at `video.fps`. An
            address of a storage or the web as `varsr upscale` takes it.
        target: file to write, or an address. Its suffix or `format` chooses the format.
        upscaler: a loaded model. None loads the default one, which takes a second or more each time.
        scale: factor from 1 to 8. Instead of it, `width`, `height` or `longest` (the longer side) gives the size in
            pixels, or `megapixels` the area. Without any the scale is 4.
        options: `varsr.Options(seed=7)`: names and meanings are those of `varsr upscale --help`.
        quality: of JPEG, WebP and AVIF, 1 to 100; `lossless` writes WebP and AVIF without.
        background: red, green and blue, 0 to 255, onto which transparency is flattened.
        overwrite: replace a target that exists.
        video: `varsr.VideoOptions(codec="h265", crf=20)`, for videos.

    Returns:
        An `Outcome` with `size` and `target_size` (height, width), `frames`, `tiles`, `seconds`, `notes` on losses.

    Raises RequestError, InputError, OutputError or another VarsrError (`docs/exit-codes.md`), whose `advice` helps.

    """
    size = target_size(scale=scale, width=width, height=height, longest=longest, megapixels=megapixels)
    encoding = Encoding(quality, lossless, format_named(format) if format else None, background)
    job = Job(place_of(fspath(source)), place_of(fspath(target)))
    if not is_about_video(job):
        encoding.of(Path(job.target.name))
    label = upscaler.label if upscaler else model_label(default_model())
    settings = JobSettings(size, options, marking(encoding, label, size, options), Policy(overwrite=overwrite), video)
    return _done(upscaler or ModelChoice(), job, settings)


def _done(model: ModelChoice | Upscaler, job: Job, settings: JobSettings) -> Outcome:
    (outcome,) = Run(model, [job], settings)
    if outcome.error is not None:
        raise outcome.error
    return outcome
