"""Names and places of results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from varsr.errors import RequestError
from varsr.images.formats import BY_SUFFIX, FORMATS, Format
from varsr.images.size import LABEL, TargetSize
from varsr.storage.address import Place, folder_below
from varsr.video.formats import CONTAINERS, is_video, result_suffix

DEFAULT_TEMPLATE = "{stem}_{size}{ext}"
FIELDS = ("stem", "size", "scale", "ext", "source_ext", "model")
FALLBACK = ".png"


@dataclass(frozen=True)
class Naming:
    """A template over FIELDS for output names, in `folder` or beside the input, in `format` or the input's."""

    template: str = DEFAULT_TEMPLATE
    folder: Place | None = None
    format: Format | None = None
    container: str | None = None
    """Suffix of videos, where it is not the input's."""

    def __post_init__(self) -> None:
        """Raise `RequestError` where the template has fields that there are not, or names a folder."""
        try:
            name = self.template.format(**dict.fromkeys(FIELDS, "x"))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise RequestError(
                f"The name {self.template!r} cannot be filled in ({error}).",
                f"Fields are {', '.join('{' + f + '}' for f in FIELDS)}.",
            ) from error
        if not name or name != Path(name).name:
            raise RequestError(
                f"The name {self.template!r} is not a plain file name.",
                "Choose the folder with `output_dir`.",
            )

    def target(self, source: Place, root: Place, values: Mapping[str, str]) -> Place:
        """The output of `source`, found under `root`, whose place under it is kept in `folder`.

        For a video whose frames become images it is a folder. Raises `ValueError` where the source is not under the
        root, `OutputError` where nothing can be written there.
        """
        suffix = "" if self.is_of_frames(source) else self.suffix(source)
        name = self.template.format(**{**values, "stem": source.stem, "ext": suffix, "source_ext": source.suffix[1:]})
        known = CONTAINERS if is_video(source.name) else BY_SUFFIX
        if suffix and "{ext}" not in self.template and Path(name).suffix.lower() not in known:
            name += suffix
        if self.folder is None:
            return source.with_name(name)
        return folder_below(self.folder, source, root) / name

    def is_result(self, path: Place, values: Mapping[str, str]) -> bool:
        """True for a file that is named as the template names results, of any image at any size."""
        patterns = {
            "stem": ".+", "size": LABEL.pattern, "scale": r"\d+(?:\.\d+)?|[whl]\d+|\d+(?:\.\d+)?mp",
            "ext": r"\.\w+", "source_ext": r"\w*", "model": re.escape(values.get("model", "")),
        }  # fmt: skip
        pattern, distinct = "", False
        for text, name, _, _ in Formatter().parse(self.template):
            pattern += re.escape(text) + (f"(?:{patterns[name]})" if name else "")
            distinct |= bool(text.strip(".")) or name in ("size", "scale", "model")
        if "{ext}" not in self.template:
            pattern += r"(?:\.\w+)?"
        return distinct and re.fullmatch(pattern, path.name) is not None

    def is_of_frames(self, source: Place) -> bool:
        """True for a video whose frames become images, in a folder of their own."""
        return self.format is not None and is_video(source.name)

    def suffix(self, source: Place) -> str:
        """The suffix: the format asked for, else the input's own where it can be written, else .png."""
        own = source.suffix
        if is_video(source.name):
            return self.container or result_suffix(source.name)
        if self.format is not None:
            return own if own.lower() in self.format.suffixes else self.format.suffixes[0]
        return own if own.lower() in BY_SUFFIX else FALLBACK


def naming_values(size: TargetSize, model: str) -> dict[str, str]:
    """The values of a template's fields that all images share."""
    return {"size": size.label, "scale": size.label.removeprefix("x"), "model": Path(model).stem}


def format_named(name: str) -> Format:
    """The format called `name`. Raises `RequestError` where there is none."""
    found = [f for f in FORMATS if name.lower().lstrip(".") in (f.name.lower(), *(s[1:] for s in f.suffixes))]
    if not found:
        raise RequestError(
            f"{name} is not an output format.", f"Use one of {', '.join(f.name.lower() for f in FORMATS)}."
        )
    return found[0]
