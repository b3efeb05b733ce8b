"""Reading image files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from varsr.choices import RawColors
from varsr.errors import InputError, describe
from varsr.images import signature
from varsr.images.codecs import jpegxl, png, raw, tiff
from varsr.images.describe import exif_of, iptc_of_tiff, left_out, metadata_of, with_coding
from varsr.images.exif import ORIENTATION
from varsr.images.formats import RAW_SUFFIXES, READ, has_extra, how_to_get
from varsr.images.orientation import upright_pixels
from varsr.images.photo import Photo, from_channels
from varsr.images.pillow import from_loaded, load
from varsr.images.sixteen_bit import is_sixteen_bit, read_pixels
from varsr.tiling.array import FloatImage

_MPO = "MPO"
"""What Pillow calls the JPEG of many phones and cameras: behind the photograph stands a preview, a gain map for bright
screens, depth or a second view."""
_ONE_IS_SHOWN = ("JPEG", _MPO, "HEIF")
"""Formats with further images that programs do not show; they are left out."""


def read_photo(path: Path, max_pixels: int | None = None, raw_colors: RawColors = "srgb") -> Photo:
    """Read an image upright, with its metadata; develop a raw photograph, in the colours asked for.

    Raises `InputError` where the file holds none that is whole, or one of more than `max_pixels`.
    """
    if path.suffix.lower() in RAW_SUFFIXES:
        return _develop(path, max_pixels, raw_colors)
    return _read(path, str(path), max_pixels)


def _develop(path: Path, max_pixels: int | None, colors: RawColors) -> Photo:
    if not has_extra("raw"):
        raise InputError(f"{path} is a raw photograph.", how_to_get("raw"))
    try:
        height, width = raw.size_of(path)
        _check_size(width, height, str(path), max_pixels)
        pixels, metadata = raw.develop(path, colors)
    except OSError as error:
        if not path.exists():
            raise InputError(f"{path} does not exist.", "Check the path.") from error
        raise InputError(
            f"{path} could not be developed ({describe(error)}).",
            "The file may be damaged, or its camera newer than LibRaw; develop it elsewhere to a TIFF of 16 bits.",
        ) from error
    return from_channels(pixels, "RAW", metadata, sixteen_bit=True)


def read_color(path: Path) -> FloatImage:
    """The colours of an image alone, (H, W, 3) in [0, 1]. Raises as `read_photo` does."""
    return read_photo(path).color


def read_stream(stream: BinaryIO, max_pixels: int | None = None) -> Photo:
    """Read an image from a stream, which need not seek."""
    return _read(io.BytesIO(stream.read()), "standard input", max_pixels)


def _read(file: Path | BinaryIO, path: str, max_pixels: int | None) -> Photo:
    try:
        with warnings.catch_warnings(), without_pillows_limits(), _opened(file) as opened:
            warnings.simplefilter("ignore")  # what Pillow merely warns of is either fine or fails below
            photo = _read_opened(opened, path, max_pixels)
            if any(0 in frame.size for frame in photo.frames):
                raise InputError(f"{path} holds no pixels.", "The file may be damaged.")
            return photo
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Check the path.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder.", "Name an image in it.") from error
    except PermissionError as error:
        raise InputError(f"{path} cannot be read ({describe(error)}).", "Check its permissions.") from error
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise InputError(
            f"{path} could not be read ({describe(error)}).", "The file may be damaged or incomplete."
        ) from error


def _read_opened(file: BinaryIO, path: str, max_pixels: int | None) -> Photo:
    if signature.readable_format(_head(file)) == "JPEG XL":
        return _jpegxl(file, path, max_pixels)
    try:
        with Image.open(file, formats=readable()) as image:
            if image.format == "TIFF" and tiff.needs_tifffile(image):
                return _tiff_without_pillow(file, path, max_pixels)
            return _photo(image, file, path, max_pixels)
    except (UnidentifiedImageError, SyntaxError) as error:
        head = _head(file)
        found = signature.readable_format(head)
        if found == "PNG":
            file.seek(0)
            data = file.read()
            whole = png.repaired(data)
            if whole != data:  # once more, without what is damaged and not needed
                return _read_opened(io.BytesIO(whole), path, max_pixels)
        if found == "TIFF":
            return _tiff_without_pillow(file, path, max_pixels)
        if depth := _jpeg_depth(file) if found == "JPEG" else None:
            raise InputError(f"{path} is a JPEG with {depth} bits a channel.", "Save it with 8 bits.") from error
        if found == "HEIF" and not has_extra("heif"):
            raise InputError(f"{path} is a HEIF image.", how_to_get("heif")) from error
        advice = f"Formats that are read: {', '.join(readable())}."
        if head.strip(b"\0") and found is not None:
            advice = "Copy or download it again."
        raise InputError(f"{path} {signature.contents(head)}.", advice) from error


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    return head


def _jpegxl(file: BinaryIO, path: str, max_pixels: int | None) -> Photo:
    if not has_extra("jxl"):
        raise InputError(f"{path} is a JPEG XL image.", how_to_get("jxl"))
    data = file.read()
    height, width = jpegxl.probe(data).size
    _check_size(width, height, path, max_pixels)
    pixels, facts = jpegxl.read(data)
    return from_channels(pixels, "JXL", facts.metadata, sixteen_bit=facts.depth > 8)


def _photo(image: Image.Image, file: BinaryIO, path: str, max_pixels: int | None) -> Photo:
    if image.format != "TIFF":  # whose first page may be a thumbnail
        _check_size(image.width, image.height, path, max_pixels)  # before its frames are counted
    numbers = shown_images(image)
    if image.tell() != numbers[0]:
        image.seek(numbers[0])
    _check_size(image.width, image.height, path, max_pixels)
    frames = []
    for number in numbers:
        if number != image.tell():
            image.seek(number)
            _check_size(image.width, image.height, path, max_pixels)
        frame = _frame(image, file, number, alone=len(numbers) == 1)
        duration = image.info.get("duration")  # some formats know it only once the frame is loaded
        frames.append(replace(frame, duration=None if duration is None else round(duration)))
    notes = frames[0].notes + (left_out(image) if image.format in _ONE_IS_SHOWN else ())
    return replace(frames[0], more_frames=tuple(frames[1:]), notes=notes)


def _check_size(width: int, height: int, path: str, max_pixels: int | None) -> None:
    if max_pixels is not None and width * height > max_pixels:
        raise InputError(
            f"{path} has {width} x {height} pixels, more than {max_pixels}.", "Raise `max_pixels` if you trust it."
        )


@contextmanager
def without_pillows_limits() -> Iterator[None]:
    """Lift Pillow's limits: the caller has its own for pixels, and an editor's history in XMP may exceed 1 MB."""
    pixels, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    text, PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = pixels, text


@contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[BinaryIO]:
    """The file, closed in the end whatever happens, which Pillow does not always see to; a pipe's content in memory."""
    if not isinstance(file, Path):
        yield file
        return
    with file.open("rb") as opened:
        yield opened if opened.seekable() else io.BytesIO(opened.read())


def shown_images(image: Image.Image) -> list[int]:
    """The numbers of an opened file's images, without those that are smaller versions of another or belong to it."""
    count = getattr(image, "n_frames", 1)
    if count == 1 or image.format in _ONE_IS_SHOWN:
        return [image.tell()]
    if getattr(image, "default_image", False):
        return list(range(1, count))  # of an APNG: it is for programs that show no animations
    if image.format != "TIFF":
        return list(range(count))
    return tiff.page_numbers(image, count)


def _frame(image: Image.Image, file: BinaryIO, number: int, alone: bool) -> Photo:
    """An image of an opened file, upright; `number` is its place in the file."""
    format = "JPEG" if image.format == _MPO else image.format or "PNG"
    sixteen, pixels = is_sixteen_bit(image, file), None
    notes: tuple[str, ...] = ()
    try:
        orientation = load(image)
    except OSError:
        if format != "TIFF":
            raise
        orientation = image.getexif().get(ORIENTATION, 1)
        pixels = read_pixels(file, format, number)  # tifffile knows more compressions
    if sixteen and pixels is None:
        if alone or format == "TIFF":
            pixels = read_pixels(file, format, number)
        else:
            sixteen, notes = False, ("the frames of the animation were read with 8 bits a channel",)
    metadata, coding = with_coding(metadata_of(image, exif_of(image, file, number)), format, file)
    if format == "TIFF":
        metadata = replace(metadata, iptc=iptc_of_tiff(file, number))
    if pixels is not None:
        photo = from_channels(upright_pixels(pixels, orientation), format, metadata, sixteen, coding)
    else:
        photo = from_loaded(image, format, metadata, orientation, coding)
    return replace(photo, notes=notes)


def _tiff_without_pillow(file: BinaryIO, path: str, max_pixels: int | None) -> Photo:
    """A TIFF of a kind that Pillow does not know. Raises `InputError` with the reason where it is not read at all."""
    pages = tiff.stored_pages(file)
    if not pages:
        raise InputError(f"{path} is a TIFF without pages.", "The file may be damaged.")
    height, width = pages[0].size
    _check_size(width, height, path, max_pixels)
    frames = []
    for page in pages:
        try:
            pixels = tiff.read(file, page.number)
        except ValueError as error:
            raise InputError(f"{path} is a TIFF that is not read: {error}.", "Save it as RGB with 16 bits.") from error
        pixels = upright_pixels(pixels, page.orientation)
        frames.append(from_channels(pixels, "TIFF", page.metadata, sixteen_bit=page.depth > 8))
    return replace(frames[0], more_frames=tuple(frames[1:]))


def _jpeg_depth(file: BinaryIO) -> int | None:
    """Bits a channel of a JPEG that has other than eight; None where it has or where it is damaged."""
    file.seek(2)
    while (marker := file.read(4))[:1] == b"\xff" and len(marker) == 4:
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            depth = file.read(1)
            return depth[0] if depth and depth[0] != 8 else None
        file.seek(int.from_bytes(marker[2:], "big") - 2, 1)
    return None


@cache
def readable() -> tuple[str, ...]:
    """The formats that Pillow reads here: HEIF among them where its plug-in is installed."""
    if not has_extra("heif"):
        return READ
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return (*READ, "HEIF")
