"""Interruptions that come at a bad moment: while a process starts, or where Python drops their exceptions.

A signal's exception is raised wherever the main thread is. In a callback of a weak reference or in a destructor, which
libraries run at any moment, Python can pass it to nobody: it prints it, drops it, and the program goes on.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

SECONDS_UNTIL_AGAIN = 0.01
_HAS_MASKS = hasattr(signal, "pthread_sigmask")  # not on Windows


def raise_dropped_interruptions() -> None:
    """Send the signal again, in silence, whose exception was dropped: `KeyboardInterrupt`, or else `SystemExit`.

    Windows, where no signal can be sent to a thread, keeps Python's way.
    """
    if _HAS_MASKS:
        sys.unraisablehook = _resending(sys.unraisablehook)


@contextmanager
def interruptions_postponed() -> Iterator[None]:
    """Hold SIGINT back: in this process within the context, in one that is started there until it accepts it.

    Ctrl+C reaches every process of a terminal. One that is still importing its modules would print where it was.
    """
    if not _HAS_MASKS:
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # else it is started with the first process, and lets SIGINT through after that
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def accept_interruptions() -> None:
    """Let SIGINT through, also one that was held back since the process started: `KeyboardInterrupt`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if _HAS_MASKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _resending(report: Callable[[UnraisableHookArgs], object]) -> Callable[[UnraisableHookArgs], None]:
    def hook(dropped: UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            _send_soon(signal.SIGINT)
        elif issubclass(dropped.exc_type, SystemExit):
            _send_soon(signal.SIGTERM)
        else:
            report(dropped)

    return hook


def _send_soon(number: signal.Signals) -> None:
    """From another thread, as the main one must be out of the callback by then."""
    main = threading.main_thread().ident
    assert main is not None
    again = threading.Timer(SECONDS_UNTIL_AGAIN, signal.pthread_kill, (main, number))
    again.daemon = True
    again.start()
