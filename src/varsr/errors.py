"""Every error that varsr raises on purpose: a sentence for the user, what to do next, an exit code.

| exit code | meaning |
|-----------|---------|
| 0 | done |
| 1 | some of several pictures failed, or an error that varsr did not foresee: a defect, please report it |
| 2 | the command line is wrong, or asks for what cannot be done |
| 3 | the model could not be had: unknown, not downloaded, damaged, refused |
| 4 | an input picture could not be read |
| 5 | an output could not be written |
| 6 | the device is not there |
| 7 | too little memory |
| 8 | the model computed no valid image |
| 130 | interrupted |
| 143 | terminated |
"""

from __future__ import annotations

import errno
from typing import ClassVar


class VarsrError(Exception):
    """The family. `str(error)` is the sentence; `advice` says what to do next.

    `option` is the name of the option that the error is about, in Python's spelling, where it is about one.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, sentence: str, advice: str, option: str | None = None) -> None:
        super().__init__(sentence)
        self.advice = advice
        self.option = option


class RequestError(VarsrError):
    """What was asked for cannot be done."""

    exit_code = 2


class WeightsError(VarsrError):
    """A model could not be found, downloaded, verified, converted or loaded."""

    exit_code = 3


class InputError(VarsrError):
    """A picture could not be read."""

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
            f"This should not have happened ({type(error).__name__}: {words}).",
            "Please report it with what --debug shows.",
        )
        self.__cause__ = error


def describe(error: BaseException) -> str:
    """The system's words for an error, without the path that the caller names anyway."""
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return (error.strerror or str(error)).lower()
    text = " ".join(str(error).split()) or type(error).__name__
    return "no space left on device" if "No space left" in text else text.rstrip(".")
