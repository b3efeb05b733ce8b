"""Wishes: the parameters of a request, checked, and the names of results."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from varsr.errors import RequestError
from varsr.images.encoding import Encoding
from varsr.images.formats import BY_SUFFIX, DEFAULT_QUALITY, FORMATS, RAW_SUFFIXES, Format, has_extra
from varsr.images.size import target_size
from varsr.jobs.naming import format_named
from varsr.jobs.provenance import marking
from varsr.upscaling.options import Options
from varsr.web.docs import PARAMETERS
from varsr.web.queue import Wish
from varsr.weights.registry import model_label

MEDIA_TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff", "BMP": "image/bmp",
    "GIF": "image/gif", "AVIF": "image/avif", "HEIF": "image/heic", "JXL": "image/jxl",
}  # fmt: skip
_NUMBERS = {"scale": float, "width": int, "height": int, "longest": int, "megapixels": float, "realism": float,
            "quality": int, "seed": int}  # fmt: skip
KNOWN = (*PARAMETERS, "token")
_LONGEST_NAME = 100


def wish_of(given: Mapping[str, str], accept: str, name: str, models: list[str], default: str) -> Wish:
    """All that a client asks for, by the parameters of its request.

    `models` are those that it may name. Raises `RequestError` for what is unknown or impossible.
    """
    for key in given:
        if key not in KNOWN:
            raise RequestError(f"There are no parameters {key[:40]!r}.", f"Known are {', '.join(KNOWN[:-1])}.")
    numbers = {key: _number(key, given[key]) for key in _NUMBERS if given.get(key)}
    model = given.get("model") or default
    if model not in models:
        raise RequestError(f"{model[:60]!r} is not a model of this server.", f"It has {', '.join(models)}.")
    lengths = {key: int(numbers[key]) for key in ("width", "height", "longest") if key in numbers}
    size = target_size(scale=numbers.get("scale"), megapixels=numbers.get("megapixels"), **lengths)
    options = Options(realism=numbers.get("realism"), seed=int(numbers.get("seed", 0)))
    format = _format(given.get("format", ""), accept, name)
    encoding = Encoding(
        quality=int(numbers.get("quality", DEFAULT_QUALITY)),
        lossless=given.get("lossless", "") in ("1", "true", "on"),
        format=format,
    )
    encoding = marking(encoding, model_label(model), size, options)
    return Wish(clean_name(name), model, size, options, encoding)


def clean_name(name: str) -> str:
    """The last part of a client's name of a file, without anything that a path, header or page could stumble over."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    kept = "".join(c for c in last if c.isprintable() and c not in '"<>|:*?').strip(". ")
    return kept[:_LONGEST_NAME] or "image"


def with_raw_suffix(path: Path, name: str) -> Path:
    """A file in the spool, renamed where a client's name says that it is a raw photograph: that is known by suffix."""
    suffix = Path(name).suffix.lower()
    return path.rename(path.with_suffix(suffix)) if suffix in RAW_SUFFIXES else path


def result_name(wish: Wish) -> str:
    """The name of a result for whoever downloads it."""
    stem = wish.name.rpartition(".")[0] or wish.name
    return f"{stem}_{wish.size.label}{wish.format.suffixes[0]}"


def _number(key: str, text: str) -> float:
    try:
        value = _NUMBERS[key](text)
    except ValueError as error:
        raise RequestError(f"`{key}` cannot be {text[:40]!r}.", "It is a number.") from error
    if value != value or value in (float("inf"), float("-inf")):
        raise RequestError(f"`{key}` cannot be {text[:40]!r}.", "It is a number.")
    return value


def _format(asked: str, accept: str, name: str) -> Format:
    """The format asked for by name, else by the Accept header, else the input's own, else PNG."""
    if asked:
        return _installed(format_named(asked))
    for part in accept.split(","):
        media = part.split(";")[0].strip().lower()
        for format in FORMATS:
            if MEDIA_TYPES[format.name] == media and has_extra(format.extra):
                return format
    own = BY_SUFFIX.get("." + name.rpartition(".")[2].lower())
    return own if own is not None and has_extra(own.extra) else BY_SUFFIX[".png"]


def _installed(format: Format) -> Format:
    if not has_extra(format.extra):
        raise RequestError(f"{format.name} is not installed on this server.", "Choose another format.")
    return format
