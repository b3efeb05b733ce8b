"""Watching: files that appear in an inbox are upscaled, each once, and those that fail are kept apart."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from varsr.errors import InputError, OutputError, RequestError, VarsrError
from varsr.jobs.inbox import Arrivals, Attempts, Places, free_name, move, write_reason
from varsr.jobs.naming import Naming
from varsr.jobs.outcome import Outcome
from varsr.jobs.plan import Job
from varsr.jobs.prefetch import JobSettings
from varsr.jobs.run import RUN_ERRORS, Run
from varsr.storage.local import forget_all_unfinished
from varsr.upscaling.upscaler import ModelChoice, Upscaler

_log = logging.getLogger(__name__)
MOST_ATTEMPTS = 3
MOST_AT_ONCE = 64
"""Files of a wave, whose attempts are written to the journal one by one."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Seconds until what failed for no fault of a file is tried again, doubled each time."""


class Wakeups(Protocol):
    """Waits until there may be something new in a folder."""

    def wait(self, soon: bool) -> None:
        """Wait; not for long where something is expected `soon`."""


class Polling:
    """Looks again every few seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def wait(self, soon: bool) -> None:
        time.sleep(min(self._seconds, 1.0) if soon else self._seconds)


class Notifications:
    """Hears from the operating system of what changes. Raises `RequestError` where what it needs is not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            import watchfiles
        except ImportError as error:
            raise RequestError(
                "Watching a folder needs the package watchfiles.", 'Run: pip install "varsr[watch]", or use `poll`.'
            ) from error
        self._changes: Iterator[Any] = watchfiles.watch(
            folder, watch_filter=None, debounce=200, step=50, rust_timeout=500, yield_on_timeout=True
        )
        next(self._changes)  # it listens from here on

    def wait(self, soon: bool) -> None:
        while not next(self._changes) and not soon:
            pass


class Watch:
    """Iterate over it for the outcomes of files as they are dealt with; it does not end by itself.

    A file that cannot be read is kept apart at once. One that fails otherwise, or whose process ends, is tried
    `MOST_ATTEMPTS` times in all. Raises what keeps every image from being upscaled, such as a model that cannot be
    loaded, unless the model has worked before: then it is tried again after a pause.
    """

    def __init__(
        self,
        choice: ModelChoice,
        places: Places,
        naming: Naming,
        values: Mapping[str, str],
        settings: JobSettings,
        wakeups: Wakeups,
        settle: float,
    ) -> None:
        self._choice, self._places, self._naming, self._values = choice, places, naming, values
        self._settings, self._wakeups = settings, wakeups
        self._arrivals = Arrivals(places, settle)
        self._attempts = Attempts(places.failed)
        self._upscaler: Upscaler | None = None
        self._pause = FIRST_PAUSE

    def __iter__(self) -> Iterator[Outcome]:
        forget_all_unfinished(self._places.output)
        while True:
            wave = self._next_wave()
            if not wave:
                self._wakeups.wait(soon=self._arrivals.waiting)
                continue
            try:
                yield from self._upscaled(wave)
                self._pause = FIRST_PAUSE
            except RUN_ERRORS as error:
                if self._upscaler is None:
                    raise
                self._rest(error)

    def _next_wave(self) -> list[Job]:
        """The jobs to do next: all files that are settled; one by one those at which an attempt has not ended well."""
        fresh: list[Job] = []
        for path in self._arrivals.settled():
            if len(fresh) == MOST_AT_ONCE:
                break
            attempts = self._attempts.of(self._places.relative(path))
            if attempts >= MOST_ATTEMPTS:
                self._give_up(path, OutputError(f"{attempts} attempts ended with the process.", "Try it alone."))
                continue
            job = Job(path, self._naming.target(path, self._places.inbox, self._values))
            if _is_result_of(job.target_file, path):
                self._finish(path)
            elif attempts:
                return [job]
            else:
                fresh.append(replace(job, target=free_name(job.target_file, [other.target_file for other in fresh])))
        return fresh

    def _upscaled(self, wave: Sequence[Job]) -> Iterator[Outcome]:
        if self._upscaler is None:
            self._upscaler = self._choice.load()
        self._attempts.begin(self._places.relative(job.source_file) for job in wave)
        for outcome in Run(self._upscaler, wave, self._settings):
            path = outcome.job.source_file
            if outcome.status == "done":
                self._finish(path)
                yield outcome
            elif outcome.error is None:  # it is skipped, and stays
                self._leave(path)
                yield outcome
            elif isinstance(outcome.error, (InputError, RequestError)) or self._is_last(path):
                self._give_up(path, outcome.error)
                yield outcome
            else:
                self._rest(outcome.error)

    def _is_last(self, path: Path) -> bool:
        return self._attempts.of(self._places.relative(path)) >= MOST_ATTEMPTS

    def _finish(self, path: Path) -> None:
        """Move the input of a result away, or leave it alone from now on."""
        if self._places.done is not None:
            self._move(path, self._places.done / self._places.relative(path))
        self._leave(path)

    def _leave(self, path: Path) -> None:
        self._arrivals.take(path)
        self._attempts.forget(self._places.relative(path))

    def _give_up(self, path: Path, error: VarsrError) -> None:
        moved = self._move(path, self._places.failed / self._places.relative(path))
        if moved is not None:
            write_reason(moved, error)
        self._attempts.forget(self._places.relative(path))

    def _move(self, path: Path, target: Path) -> Path | None:
        """Move a file away; where that fails, say so once and leave it alone."""
        try:
            return move(path, target)
        except OutputError as error:
            _log.warning("%s", error)
            self._arrivals.take(path)
            return None

    def _rest(self, error: VarsrError) -> None:
        _log.warning("%s It is tried again in %d s.", error, self._pause)
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)


def _is_result_of(target: Path, source: Path) -> bool:
    """True for a result that was written after its input arrived; an older one is that of another input."""
    with suppress(OSError):
        return target.stat().st_mtime >= source.stat().st_ctime
    return False
