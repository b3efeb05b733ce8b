"""Messages on standard error, and names on standard output."""

from __future__ import annotations

import codecs
import logging
import os
import re
import sys
import traceback
from io import TextIOWrapper

from varsr.errors import OutputError, RequestError, VarsrError, as_varsr_error

_OPTION = re.compile(r"`([a-z][a-z_]*)`")


class Messages:
    """Standard error, as verbose as was asked for."""

    def __init__(self) -> None:
        self.quiet = False
        self.verbose = False
        self.debug = False

    def say(self, text: str) -> None:
        """A note, unless quiet."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def log_to_standard_error(self) -> None:
        """Say what the rooms below the command line log: downloads and the like."""
        logger = logging.getLogger("varsr")
        logger.setLevel(logging.INFO)
        logger.addHandler(_Handler(self))

    def complain(self, text: str) -> None:
        """A failure that does not end the program."""
        print(f"varsr: {text}", file=sys.stderr, flush=True)

    def fail(self, error: Exception) -> int:
        """Report an error in one line, under --debug with its traceback; return the exit code."""
        self.trace(error)
        if isinstance(error, BrokenPipeError):
            self.complain("Standard output was closed by the program that read it.")
            return OutputError.exit_code
        known = as_varsr_error(error)
        self.complain(in_words(known))
        return known.exit_code

    def trace(self, error: BaseException | None) -> None:
        """The traceback of an error that costs one file alone, under --debug."""
        if self.debug and error is not None:
            traceback.print_exception(error)


def print_any_name() -> None:
    """Let standard output take every file name: what its encoding cannot hold comes as the file system has it."""
    codecs.register_error("file-name", _as_on_disk)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="file-name")


def _as_on_disk(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return os.fsencode(error.object[error.start : error.end]), error.end


def one_line(error: VarsrError) -> str:
    """An error's sentence without line breaks, its options as they are typed.

    Only requests name options there. The other sentences may hold the name of a file with backticks in it.
    """
    sentence = " ".join(str(error).split())
    return as_typed(sentence) if isinstance(error, RequestError) else sentence


def in_words(error: VarsrError) -> str:
    """An error's sentence and advice in one line."""
    return f"{one_line(error)} {as_typed(error.advice)}"


def as_typed(text: str) -> str:
    """A text in which `names` of options stand as they are typed on the command line."""
    return _OPTION.sub(lambda match: "--" + match[1].replace("_", "-"), text)


class _Handler(logging.Handler):
    def __init__(self, messages: Messages) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.say(record.getMessage())


messages = Messages()
