"""The report of a run: a JSON object a line for each image, appended so that a crash leaves whole lines only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from varsr.errors import OutputError, describe
from varsr.images.size import width_and_height
from varsr.jobs.outcome import Outcome

SCHEMA = 1
"""Version of the fields (`docs/schemas`); it rises when one changes its meaning or goes."""


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


class ReportFile:
    """A file to which a line is appended for each outcome, in one write."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path, self._handle = path, handle

    def add(self, values: dict[str, Any]) -> None:
        """Append a line. Raises `OutputError` where the file system refuses it."""
        line = {"schema": SCHEMA, "time": datetime.now(timezone.utc).isoformat(timespec="seconds"), **values}
        try:
            os.write(self._handle, json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise _unwritable(self._path, error) from error


@contextmanager
def report_file(path: Path) -> Iterator[ReportFile]:
    """Open a report, behind the lines that it has. Raises `OutputError` where it cannot be opened."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield ReportFile(path, handle)
    finally:
        os.close(handle)


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"The report {path} could not be written ({describe(error)}).", "Choose another place.")
