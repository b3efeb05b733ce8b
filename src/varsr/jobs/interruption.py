"""Interruptions that Python drops are raised again.

A signal's exception is raised wherever the main thread is. In a callback of a weak reference or in a destructor, which
libraries run at any moment, Python can pass it to nobody: it prints it, drops it, and the program goes on.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

SECONDS_UNTIL_AGAIN = 0.01


def raise_dropped_interruptions() -> None:
    """Send the signal again, in silence, whose exception was dropped: `KeyboardInterrupt`, or else `SystemExit`.

    Windows, where no signal can be sent to a thread, keeps Python's way.
    """
    if not hasattr(signal, "pthread_kill"):
        return
    sys.unraisablehook = _resending(sys.unraisablehook)


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
