"""Standard input and standard output as places of bytes."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import BinaryIO

from varsr.errors import OutputError, describe

STREAM = Path("-")
"""Stands for standard input or standard output among the paths of files."""


def standard_input() -> BinaryIO:
    """Standard input without Python's buffer, whose lock a reader that is left behind would hold until the end."""
    try:
        return io.FileIO(sys.stdin.fileno(), closefd=False)
    except (OSError, ValueError):  # not a file of the system
        return sys.stdin.buffer


def write_to_standard_output(data: bytes) -> None:
    """Write bytes to standard output. Raises `OutputError` where nobody reads them."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(
            f"Standard output could not be written ({describe(error)}).", "Does the next program still read it?"
        ) from error
