"""Errors that varsr raises on purpose: each has a sentence, advice and an exit code (`docs/exit-codes.md`).

A message names an option in backticks, in Python's spelling; the command line shows it as it is typed.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar


class VarsrError(Exception):
    """Base class. `str(error)` is the sentence; `advice` says what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, sentence: str, advice: str) -> None:
        super().__init__(sentence)
        self.advice = advice

    def about(self, named: str, meant: str) -> VarsrError:
        """The same error with another name for what it is about."""
        return _restored(type(self), str(self).replace(named, meant), self.advice.replace(named, meant))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes, whatever arguments the class takes."""
        return _restored, (type(self), str(self), self.advice)


class RequestError(VarsrError):
    """The request cannot be carried out."""

    exit_code = 2


class WeightsError(VarsrError):
    """A model could not be found, downloaded, verified, converted or loaded."""

    exit_code = 3


class InputError(VarsrError):
    """An image could not be read."""

    exit_code = 4


class OutputError(VarsrError):
    """A result could not be written."""

    exit_code = 5


class DeviceError(VarsrError):
    """The device asked for is not there."""

    exit_code = 6


class TooLittleMemoryError(VarsrError):
    """The machine or the accelerator has too little memory."""

    exit_code = 7


class ResultError(VarsrError):
    """The model computed values that are no image."""

    exit_code = 8


class UnforeseenError(VarsrError):
    """A defect met while one image was at work; the cause is chained."""

    exit_code = 1

    def __init__(self, error: Exception) -> None:
        words = " ".join(str(error).split())
        super().__init__(
            f"Unexpected error ({type(error).__name__}: {words}).",
            "This is a bug: please report it with the output of `debug`.",
        )
        self.__cause__ = error


def _restored(kind: type[VarsrError], sentence: str, advice: str) -> VarsrError:
    error = kind.__new__(kind)
    VarsrError.__init__(error, sentence, advice)
    return error


def as_varsr_error(error: Exception) -> VarsrError:
    """One of varsr's errors as it is; too little memory and everything unforeseen as the error that stands for it."""
    if isinstance(error, VarsrError):
        return error
    if isinstance(error, MemoryError):
        return TooLittleMemoryError("There is too little memory for this image.", "Close other programs.")
    return UnforeseenError(error)


def describe(error: BaseException) -> str:
    """An error in the system's words, without the path, which the caller names."""
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return (error.strerror or str(error)).lower()
    text = " ".join(str(error).split()) or type(error).__name__
    return "no space left on device" if "No space left" in text else text.rstrip(".")
