"""A minute of what `python -m tests.fuzz` does for as long as is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz import check_commands, check_files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs an alarm against hanging")


@pytest.fixture(autouse=True)
def own_caches(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Caches of the test's own, and no Hub."""
    for name in ("VARSR_CACHE", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, environment[name])


@pytest.mark.filterwarnings("ignore")  # libraries warn of what is damaged
def test_mutated_files(nano: Path, tmp_path: Path) -> None:
    totals = check_files(tmp_path, nano, 2000, seed=0)
    assert totals["done"] > 50
    assert totals["failed"] > 50


@pytest.mark.filterwarnings("ignore")
def test_random_options(nano: Path, tmp_path: Path) -> None:
    codes = check_commands(tmp_path, nano, 300, seed=0)
    assert {0, 2} <= set(codes)
