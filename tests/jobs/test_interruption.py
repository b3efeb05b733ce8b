"""Interruptions: also those that arrive where Python drops their exceptions end the program, and silently."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time, weakref
from varsr.jobs.interruption import raise_dropped_interruptions

class Object: pass

def interrupt(_):
    os.kill(os.getpid(), {number})
    for _ in range(10_000): pass

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
raise_dropped_interruptions()
held = Object()
reference = weakref.ref(held, interrupt)
try:
    del held
    time.sleep(30)
    print("went on")
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to threads")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_within_a_callback_ends_the_program(number: signal.Signals, code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(number=int(number))], capture_output=True, text=True, timeout=20
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


def test_other_exceptions_of_a_callback_are_still_reported() -> None:
    program = PROGRAM.replace("    os.kill(os.getpid(), {number})", "    1 / 0").replace("sleep(30)", "sleep(0)")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert ended.stdout == "went on\n"
    assert "ZeroDivisionError" in ended.stderr
