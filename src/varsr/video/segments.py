"""The folder of a video that is being made: its finished segments, so that an interrupted run goes on from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from varsr.errors import OutputError, describe
from varsr.storage.local import replacing

SECONDS = 10.0
"""Length of a segment, as it is shown."""
_MANIFEST = "made-of.json"


@dataclass(frozen=True)
class Segment:
    """A finished segment: the times of its frames, how many of them a packet waits, and tiles in all and computed."""

    number: int
    times: tuple[int, ...]
    delay: int
    tiles: int
    computed: int
    cuts: int = 0


@dataclass(frozen=True)
class SegmentStore:
    """The segments of a result, in a hidden folder beside it."""

    folder: Path

    @classmethod
    def of(cls, target: Path, made_of: Mapping[str, Any]) -> SegmentStore:
        """Open the folder of a result, or make it. Segments that are made of something else are deleted.

        Raises `OutputError` where the file system refuses it.
        """
        folder = store_folder(target)
        manifest, wanted = folder / _MANIFEST, json.dumps(made_of, sort_keys=True)
        try:
            if folder.exists() and (not manifest.exists() or manifest.read_text() != wanted):
                shutil.rmtree(folder)
            folder.mkdir(exist_ok=True)
            with replacing(manifest) as temporary:
                temporary.write_text(wanted)
        except OSError as error:
            raise OutputError(
                f"The folder {folder} cannot be used ({describe(error)}).", "Choose another place with `output`."
            ) from error
        return cls(folder)

    def file(self, number: int) -> Path:
        """The file of a segment."""
        return self.folder / f"segment-{number:05}.mkv"

    def finished(self, number: int) -> Segment | None:
        """A segment that is finished; None of one that is not."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            values = json.loads(self._note(number).read_text())
            if self.file(number).exists():
                return Segment(**{**values, "times": tuple(values["times"])})
        return None

    def finish(self, segment: Segment) -> None:
        """Note that a segment is finished: its file is whole."""
        try:
            with replacing(self._note(segment.number)) as temporary:
                temporary.write_text(json.dumps(asdict(segment)))
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written ({describe(error)}).", "Check the disk.") from error

    def remove(self) -> None:
        """Delete the folder."""
        with suppress(OSError):
            shutil.rmtree(self.folder)

    def _note(self, number: int) -> Path:
        return self.file(number).with_suffix(".json")


def store_folder(target: Path) -> Path:
    """The folder in which the segments of a result are kept until it is whole."""
    return target.with_name(f".{target.name}.varsr-parts")
