"""The decoder: images of strangers are read in a process of their own, with bounded memory and time."""

from __future__ import annotations

import multiprocessing
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from varsr.errors import InputError, VarsrError, as_varsr_error
from varsr.images.header import Header
from varsr.images.photo import Photo
from varsr.jobs.interruption import interruptions_postponed
from varsr.web.limits import Limits


class Decoder:
    """Asks one child process at a time; a child that dies or takes too long costs the image that it held."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._child: tuple[BaseProcess, Connection] | None = None

    def header(self, path: Path) -> Header:
        """The header of an image within the limits. Raises `InputError`."""
        found: Header = self._ask("header", path)
        return found

    def photo(self, path: Path) -> Photo:
        """The image. Raises `InputError`."""
        found: Photo = self._ask("photo", path)
        return found

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _ask(self, what: str, path: Path) -> Any:
        with self._lock:
            _, pipe = self._child or self._start()
            try:
                pipe.send((what, path))
                if not pipe.poll(self._limits.decode_seconds):
                    raise EOFError
                answer = pipe.recv()
            except (EOFError, OSError) as error:
                self._end()
                raise InputError("The image could not be read.", "It may be damaged, or too large.") from error
        if isinstance(answer, VarsrError):
            raise answer
        return answer

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._limits), name="varsr-decoder", daemon=True)
        with interruptions_postponed():
            process.start()
        theirs.close()
        self._child = process, mine
        return self._child

    def _end(self) -> None:
        if self._child is None:
            return
        process, pipe = self._child
        self._child = None
        pipe.close()
        process.kill()
        process.join()


def _serve(pipe: Connection, limits: Limits) -> None:
    """The child: answer until the parent is gone."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limits.decode_bytes, limits.decode_bytes))
    while True:
        try:
            what, path = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer: Any = _answer(what, path, limits)
        except MemoryError:
            answer = InputError("The image is too large to be read.", "Send a smaller one.")
        except Exception as error:
            answer = _anonymous(as_varsr_error(error), path)
        pipe.send(answer)


def _answer(what: str, path: Path, limits: Limits) -> Header | Photo:
    from varsr.images.header import read_header
    from varsr.images.read import read_photo

    header = read_header(path)
    height, width = header.size
    if header.images * height * width > limits.pixels:
        raise InputError(
            f"The image has {header.images * height * width / 1e6:,.0f} megapixels in all.",
            f"At most {limits.pixels / 1e6:,.0f} are taken.",
        )
    return header if what == "header" else read_photo(path, limits.pixels)


def _anonymous(error: VarsrError, path: Path) -> VarsrError:
    """The same error without the server's own name for the file."""
    sentence = str(error).replace(str(path), "The image").replace(path.name, "The image")
    return InputError(sentence, error.advice)
