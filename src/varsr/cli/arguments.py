"""Inputs and outputs of the command line: read, checked, and refused where they contradict each other."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from varsr.choices import CmykName, TiffCompression
from varsr.errors import OutputError, RequestError, describe
from varsr.images.encoding import Encoding
from varsr.images.formats import BY_SUFFIX, DEFAULT_PNG_LEVEL
from varsr.jobs.listing import is_folder
from varsr.jobs.naming import FALLBACK, format_named
from varsr.jobs.plan import Job
from varsr.jobs.preflight import check_folder, check_target
from varsr.storage import objects
from varsr.storage.address import Place, Remote, place_of
from varsr.storage.local import is_special
from varsr.storage.streams import STREAM

PAGES = (".html", ".htm")
_STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def input_places(inputs: Sequence[str]) -> list[Place]:
    """The inputs as paths and addresses. Raises `RequestError` for one that is empty or not allowed."""
    if not all(inputs):
        raise RequestError("An input is empty.", "Name a file or a folder.")
    return [place_of(given) for given in inputs]


def output_folder(given: str | None) -> Place | None:
    """The folder for results. Raises where it has no name, or where nothing can be written into it."""
    folder = _named_folder(given) if given is not None else None
    if not isinstance(folder, Remote):
        return folder
    if folder.is_web:
        raise RequestError("Nothing can be written to the web.", "Name a folder, or one of a storage.")
    objects.check_container(folder)
    return replace(folder, key=folder.key.rstrip("/"))


def local_folder(given: str) -> Path:
    """A folder of this machine for results. Raises where it has no name, or where nothing can be written into it."""
    folder = _named_folder(given)
    if isinstance(folder, Remote):
        raise RequestError(f"{folder} is not a folder of this machine.", "Name one that is.")
    return folder


def _named_folder(given: str) -> Place:
    if not given:
        raise RequestError("The folder for results is empty.", "Name one after -d.")
    folder = place_of(given)
    if not isinstance(folder, Remote):
        check_folder(folder)
    return folder


def encoding_for(
    *,
    format: str | None,
    quality: int,
    lossless: bool,
    background: str | None,
    png_level: int = DEFAULT_PNG_LEVEL,
    tiff_compression: TiffCompression = "deflate",
    cmyk: CmykName = "convert",
) -> Encoding:
    """The encoding that is asked for. Raises `RequestError` for a format or a colour that there is not."""
    return Encoding(
        quality=quality,
        lossless=lossless,
        format=format_named(format) if format else None,
        background=color_named(background) if background else None,
        png_level=png_level,
        tiff_compression=tiff_compression,
        cmyk=cmyk,
    )


def check_combination(
    *, output: str | None, output_dir: str | None, shard: str, overwrite: bool, skip_existing: bool
) -> None:
    """Raise `RequestError` for options that contradict each other."""
    if output is not None and output_dir is not None:
        raise RequestError("-o names a file and -d a folder.", "Use one of them.")
    if output is not None and shard != "1/1":
        raise RequestError("-o names one file, and --shard shares out many.", "Use --output-dir.")
    if overwrite and skip_existing:
        raise RequestError("--overwrite replaces what --skip-existing leaves.", "Use one of them.")


def single_job(inputs: Sequence[Place], output: str, encoding: Encoding) -> Job:
    """The job of one input whose result has a name of its own. Raises where that cannot be."""
    if not output:
        raise RequestError("The output is empty.", "Name a file after -o, or - for standard output.")
    if len(inputs) > 1 or (inputs[0] != STREAM and is_folder(inputs[0])):
        raise RequestError("-o names one file, and there are several inputs.", "Use --output-dir.")
    if output in _STANDARD_OUTPUT:
        return Job(inputs[0], _standard_output(encoding))
    target = place_of(output)
    if output.endswith("/") or is_folder(target):
        raise OutputError(f"{output} is a folder.", "Use --output-dir for a folder, and -o for a file.")
    if isinstance(target, Remote) and not target.is_web:
        objects.check_container(target)
    for_device(encoding, inputs[0], target).of(Path(target.name))
    return Job(inputs[0], target)


def for_device(encoding: Encoding, source: Place, target: Place) -> Encoding:
    """The encoding of a result for a pipe or device, which takes the input's format where no other is given."""
    if encoding.format is not None or target.suffix or isinstance(target, Remote) or not is_special(target):
        return encoding
    return replace(encoding, format=BY_SUFFIX.get(source.suffix.lower(), BY_SUFFIX[FALLBACK]))


def _standard_output(encoding: Encoding) -> Path:
    if encoding.format is None:
        raise RequestError("Standard output needs a format.", "Add --format png, for example.")
    if sys.stdout.isatty():
        raise RequestError("An image is not written to a terminal.", "Send it to a file or a program: > large.png")
    return STREAM


def color_named(name: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour's name or hexadecimal digits. Raises `RequestError` where there is none."""
    from PIL import ImageColor

    try:
        red, green, blue, *_ = ImageColor.getrgb(name)
    except ValueError as error:
        raise RequestError(f"{name!r} is not a colour.", "Write white, #204060 or rgb(32, 64, 96).") from error
    return red, green, blue


def check_page(path: Path, overwrite: bool) -> None:
    """Raise `RequestError` for a page of another suffix, `OutputError` where it cannot be written."""
    if path.suffix.lower() not in PAGES:
        raise RequestError(f"{path} is not the name of a page.", "Let it end in .html.")
    check_target(path, overwrite)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise `OutputError` for what the file system refuses while the block writes `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} could not be written ({describe(error)}).", "Choose another place.") from error
