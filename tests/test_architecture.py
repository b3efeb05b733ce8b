"""Rules of the house that a reader would otherwise have to keep by hand. `lint-imports` holds the layers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import varsr

ROOT = Path(varsr.__file__).parent
PROJECT = Path(__file__).parents[1]
MODULES = sorted(ROOT.rglob("*.py"))
ALL = sorted(path for room in ("src", "tests", "training", "benchmarks") for path in (PROJECT / room).rglob("*.py"))
COMMANDS = {"upscale", "evaluate", "compare", "generate", "bench", "watch"}  # a Typer command lists its options
RIDDLES = re.compile(r"(What|Whether|Which|How)\b")


def named(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))


def test_only_two_modules_are_loose() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} == {"__init__", "__main__", "choices", "errors"}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_functions_are_short(path: Path) -> None:
    for function in functions(path):
        assert function.end_lineno is not None
        if function.name not in COMMANDS or path.parent.name != "cli":
            assert function.end_lineno - function.lineno < 50, function.name


@pytest.mark.parametrize("path", ALL, ids=named)
def test_docstrings_name_the_thing(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            assert not RIDDLES.match(ast.get_docstring(node) or ""), getattr(node, "name", "the module")


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_errors_say_is_not(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not re.search(r"\bis no\b", node.value), node.value


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent.name != "cli"], ids=named)
def test_messages_below_the_command_line_name_no_flag(path: Path) -> None:
    tree = ast.parse(path.read_text())
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if _has_docstring(node)}  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            assert not re.search(r"(^|\s)(--[a-z]|-[od]\b)", node.value), node.value


def _has_docstring(node: ast.AST) -> bool:
    return isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None
