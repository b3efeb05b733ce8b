"""varsr config: where the values of options come from."""

from __future__ import annotations

import json as json_module
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from varsr.cli.options import Debug
from varsr.cli.settings import find_settings, options_of, outranked, read_settings, user_settings
from varsr.errors import RequestError

config = typer.Typer(help="Show default values of options and where they come from.", no_args_is_help=True)

ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings file.")]
Group = Annotated[str | None, typer.Option("--settings", metavar="NAME", help="Group of the settings file.")]


@config.command()
def show(
    context: typer.Context,
    command: Annotated[str, typer.Argument(help="The command whose options are shown.")] = "upscale",
    file: ConfigFile = None,
    group: Group = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Debug = False,
) -> None:
    """Show each option of a command: its value, and where that comes from."""
    root = context.find_root().command
    assert isinstance(root, TyperGroup)
    chosen = root.commands.get(command)
    if not isinstance(chosen, TyperCommand):
        raise RequestError(f"{command} is not a command that has settings.", "Try upscale, generate or evaluate.")
    path = find_settings(file)
    found = read_settings(path, root.commands.keys()).of(chosen, group) if path is not None else {}
    rows: list[tuple[str, Any, str]] = []
    for name, option in options_of(chosen).items():
        if variable := outranked(name):
            rows.append((name, os.environ[variable], variable))
        elif name in found:
            rows.append((name, found[name].value, f"{found[name].table} of {path}"))
        else:
            rows.append((name, option.default, "default"))
    if json:
        values = {_typed(name): {"value": value, "from": source} for name, value, source in rows}
        print(json_module.dumps({"file": str(path) if path else None, "options": values}, default=str))
        return
    print(f"Settings file: {path or f'none; the usual place is {user_settings()}'}\n")
    width = max(len(name) for name, _, _ in rows)
    for name, value, source in rows:
        print(f"{_typed(name):{width}}  {_shown(value):24}  {source}")


def _typed(name: str) -> str:
    return name.replace("_", "-")


def _shown(value: Any) -> str:
    if value is None or value == "" or not isinstance(value, (str, int, float, bool, list, Path)):
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
