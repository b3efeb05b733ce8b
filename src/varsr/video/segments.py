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


class Parts:
    """The segments of a result, in a hidden folder beside it."""

    def __init__(self, target: Path, made_of: Mapping[str, Any]) -> None:
        """Open the folder, or make it. Segments that are made of something else are deleted.

        Raises `OutputError` where the file system refuses it.
        """
        self.folder = parts_folder(target)
        manifest = self.folder / _MANIFEST
        wanted = json.dumps(made_of, sort_keys=True)
        try:
            if self.folder.exists() and (not manifest.exists() or manifest.read_text() != wanted):
                shutil.rmtree(self.folder)
            self.folder.mkdir(exist_ok=True)
            with replacing(manifest) as temporary:
                temporary.write_text(wanted)
        except OSError as error:
            raise OutputError(
                f"The folder {self.folder} cannot be used ({describe(error)}).", "Choose another place with `output`."
            ) from error
        self._finished = self._found()

    def file(self, number: int) -> Path:
        """The file of a segment."""
        return self.folder / f"segment-{number:05}.mkv"

    def finished(self, number: int) -> Segment | None:
        """A segment that is finished; None of one that is not."""
        return self._finished.get(number)

    def finish(self, segment: Segment) -> None:
        """Note that a segment is finished: its file is whole."""
        try:
            with replacing(self._note(segment.number)) as temporary:
                temporary.write_text(json.dumps(asdict(segment)))
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written ({describe(error)}).", "Check the disk.") from error
        self._finished[segment.number] = segment

    def remove(self) -> None:
        """Delete the folder."""
        with suppress(OSError):
            shutil.rmtree(self.folder)

    def _note(self, number: int) -> Path:
        return self.file(number).with_suffix(".json")

    def _found(self) -> dict[int, Segment]:
        found = {}
        for note in sorted(self.folder.glob("segment-*.json")):
            with suppress(OSError, ValueError, TypeError, KeyError):
                values = json.loads(note.read_text())
                segment = Segment(**{**values, "times": tuple(values["times"])})
                if self.file(segment.number).exists():
                    found[segment.number] = segment
        return found


def parts_folder(target: Path) -> Path:
    """The folder in which the segments of a result are kept until it is whole."""
    return target.with_name(f".{target.name}.varsr-parts")
