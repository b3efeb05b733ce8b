"""The report of a run: a JSON object a line for each image, so that a crash leaves whole lines only."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from varsr.errors import OutputError, describe
from varsr.images.size import width_and_height
from varsr.jobs.outcome import Outcome
from varsr.storage import objects
from varsr.storage.address import Place, Remote
from varsr.storage.staging import delivered

SCHEMA = 1
"""Version of the fields (`docs/schemas`); it rises when one changes its meaning or goes."""
LINES_A_PART = 1000
SECONDS_A_PART = 60.0


def record(outcome: Outcome, model: str, seed: int) -> dict[str, Any]:
    """All that is known of an outcome, as JSON data. Sizes are [width, height]."""
    return {
        "input": str(outcome.job.source),
        "output": str(outcome.job.target) if outcome.job.problem is None else None,
        "status": outcome.status,
        "input_size": width_and_height(outcome.size),
        "output_size": width_and_height(outcome.target_size),
        "tiles": outcome.tiles,
        "seconds": round(outcome.seconds, 3),
        "model": model,
        "seed": seed,
        "error": " ".join(str(outcome.error).split()) if outcome.error else None,
        "notes": list(outcome.notes),
    }


class Report(Protocol):
    """A report to which a line is added for each outcome."""

    def add(self, values: dict[str, Any]) -> None:
        """Add a line. Raises `OutputError` where it cannot be written."""


class ReportFile:
    """A file to which each line is appended in one write."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path, self._handle = path, handle

    def add(self, values: dict[str, Any]) -> None:
        """Append a line. Raises `OutputError` where the file system refuses it."""
        try:
            os.write(self._handle, _line(values))
        except OSError as error:
            raise _unwritable(self._path, error) from error


class ReportParts:
    """Numbered objects beside the name of the report, for objects cannot be appended to."""

    def __init__(self, place: Remote) -> None:
        self._place = place
        self._lines: list[bytes] = []
        self._begun = 0.0
        pattern = re.compile(re.escape(place.stem) + r"-(\d+)" + re.escape(place.suffix))
        numbers = [int(match[1]) for name in objects.listed(place.parent)[0] if (match := pattern.fullmatch(name))]
        self._number = max(numbers, default=0)

    def add(self, values: dict[str, Any]) -> None:
        """Add a line; a part is written when it is long or old. Raises `OutputError` where the storage refuses it."""
        if not self._lines:
            self._begun = time.monotonic()
        self._lines.append(_line(values))
        if len(self._lines) >= LINES_A_PART or time.monotonic() - self._begun > SECONDS_A_PART:
            self.flush()

    def flush(self) -> None:
        """Write what has come since the last part."""
        if not self._lines:
            return
        self._number += 1
        with delivered(self._place.with_name(f"{self._place.stem}-{self._number:05}{self._place.suffix}")) as path:
            path.write_bytes(b"".join(self._lines))
        self._lines.clear()


@contextmanager
def opened_report(place: Place) -> Iterator[Report]:
    """Open a report, behind the lines that it has. Raises `OutputError` where it cannot be opened."""
    if isinstance(place, Remote):
        parts = ReportParts(place)
        try:
            yield parts
        finally:
            parts.flush()
        return
    try:
        handle = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        raise _unwritable(place, error) from error
    try:
        yield ReportFile(place, handle)
    finally:
        os.close(handle)


def _line(values: dict[str, Any]) -> bytes:
    line = {"schema": SCHEMA, "time": datetime.now(timezone.utc).isoformat(timespec="seconds"), **values}
    return json.dumps(line).encode() + b"\n"


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"The report {path} could not be written ({describe(error)}).", "Choose another place.")
