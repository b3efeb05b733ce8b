"""Imports run one way, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import varsr

ROOT = Path(varsr.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
# Each room may use those named here, and itself.
ALLOWED = {
    "__init__": {"options", "upscaler"},
    "__main__": {"cli"},
    "errors": set(),
    "choices": set(),
    "files": set(),
    "options": {"choices", "errors"},
    "preset": {"choices", "errors", "model", "options"},
    "model": set(),
    "device": {"choices", "errors"},
    "imaging": {"choices", "errors", "files"},
    "weights": {"choices", "device", "errors", "files", "model"},
    "batch": {"errors", "files", "imaging"},
    "progress": set(),
    "graphs": {"device", "model"},
    "worker": set(),
    "engine": {"device", "graphs", "imaging", "model", "progress", "worker"},
    "restoration": {"device", "engine", "errors", "imaging", "progress"},
    "upscaler": {
        "choices",
        "device",
        "engine",
        "errors",
        "files",
        "imaging",
        "model",
        "options",
        "preset",
        "progress",
        "restoration",
        "weights",
    },
    "bench": {"device", "engine", "imaging", "model", "upscaler"},
    "cli": {
        "__init__",
        "bench",
        "batch",
        "choices",
        "device",
        "errors",
        "files",
        "imaging",
        "model",
        "options",
        "preset",
        "progress",
        "restoration",
        "upscaler",
        "weights",
    },
}
ONLY_IN = {"typer": {"cli"}, "rich": {"cli"}, "huggingface_hub": {"weights"}, "safetensors": {"weights"}}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "varsr":
            used = parts[1] if len(parts) > 1 else "__init__"
            assert used == room(path) or used in ALLOWED[room(path)], f"{path.name} imports {name}"
        elif parts[0] in ONLY_IN:
            assert room(path) in ONLY_IN[parts[0]], f"{path.name} imports {name}"


def test_every_room_has_its_rule() -> None:
    assert {room(path) for path in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350
