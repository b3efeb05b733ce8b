"""Settings: values of options in a TOML file, under the name of a command or in groups that a user asks for by name.

    [upscale]               # always, for varsr upscale
    output-dir = "large"

    [settings.print]        # with --settings print
    scale = 3
    format = "tiff"

The command line outranks a group, a group the command's table, and that the defaults.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from varsr.errors import RequestError

FILE, VARIABLE, GROUPS = "varsr.toml", "VARSR_CONFIG", "settings"
_NEVER = ("help", "config", "settings", "json_schema")
_OF_VARIABLES = {"model": "VARSR_MODEL"}
"""Options that an environment variable sets, which outranks the file."""


@dataclass(frozen=True)
class Setting:
    """A value, and the table that it stands in."""

    value: Any
    table: str


@dataclass(frozen=True)
class SettingsFile:
    """A file, and its tables: by command, and by the name of a group."""

    path: Path
    commands: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, Mapping[str, Any]]

    def of(self, command: TyperCommand, group: str | None) -> dict[str, Setting]:
        """The settings of a command by the names of its parameters.

        Raises `RequestError` for a group that there is not, and for a name or value that the command does not take.
        """
        name = command.name or ""
        found = self._checked(command, self.commands.get(name, {}), f"[{name}]")
        if group is not None:
            if group not in self.groups:
                raise RequestError(
                    f"{self.path} has no group [{GROUPS}.{group}].", _nearest(group, self.groups) or "See: varsr config"
                )
            found |= self._checked(command, self.groups[group], f"[{GROUPS}.{group}]")
        return found

    def _checked(self, command: TyperCommand, table: Mapping[str, Any], title: str) -> dict[str, Setting]:
        known = options_of(command)
        found = {}
        for key, value in table.items():
            name = key.replace("-", "_")
            if name not in known:
                raise RequestError(
                    f"{self.path}, {title}: varsr {command.name} has no option {key}.",
                    _nearest(key, [other.replace("_", "-") for other in known]) or "Correct or delete the line.",
                )
            self._check_value(command, known[name], key, value, title)
            found[name] = Setting(value, title)
        return found

    def _check_value(self, command: TyperCommand, option: TyperOption, key: str, value: Any, title: str) -> None:
        if option.callback is not None:  # a switch, which does something when its value is looked at
            return
        try:
            option.process_value(typer.Context(command), value)
        except (typer.BadParameter, TypeError) as error:
            advice = str(getattr(error, "message", "It is of the wrong kind")).rstrip(".") + "."
            raise RequestError(f"{self.path}, {title}: {key} cannot be {value!r}.", advice) from error


def options_of(command: TyperCommand) -> dict[str, TyperOption]:
    """The options of a command that a file may set, by the names of their parameters."""
    return {
        parameter.name: parameter
        for parameter in command.params
        if isinstance(parameter, TyperOption) and parameter.name and parameter.name not in _NEVER
    }


def find_settings(given: Path | None) -> Path | None:
    """The file to read: the one given, else that of VARSR_CONFIG, else the user's own where there is one.

    Raises `RequestError` where one that was named does not exist.
    """
    named = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise RequestError(f"The settings file {named} does not exist.", "Check --config and VARSR_CONFIG.")
        return named
    own = user_settings()
    return own if own is not None and own.is_file() else None


def user_settings() -> Path | None:
    """The place of the user's own file; None for a user without a home."""
    from platformdirs import user_config_path

    try:
        return user_config_path("varsr") / FILE
    except RuntimeError:
        return None


def read_settings(path: Path, commands: Collection[str]) -> SettingsFile:
    """Read a file. Raises `RequestError` where it is not TOML, or has a table that is not of a command or group."""
    from varsr.weights.registry import read_toml

    try:
        tables = read_toml(path)
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read ({error}).", "Correct it: it is a TOML file.") from error
    groups = tables.pop(GROUPS, {})
    for name, table in tables.items():
        if name not in commands or not isinstance(table, dict):
            place = "a command" if isinstance(table, dict) else "a table; write options below [upscale]"
            raise RequestError(
                f"{path}: {name} is not {place}.", _nearest(name, [*commands, GROUPS]) or "Correct or delete it."
            )
    if not isinstance(groups, dict) or not all(isinstance(table, dict) for table in groups.values()):
        raise RequestError(f"{path}: {GROUPS} holds groups only.", f"Write options below [{GROUPS}.NAME].")
    return SettingsFile(path, tables, groups)


def outranked(name: str) -> str | None:
    """The environment variable that sets an option in place of the file, where it is set."""
    variable = _OF_VARIABLES.get(name)
    return variable if variable and os.environ.get(variable) else None


def load_settings(context: typer.Context) -> None:
    """Make the settings the defaults of the command that is being called."""
    command, root = context.command, context.find_root().command
    path = find_settings(context.meta.get(FILE))
    group: str | None = context.meta.get(GROUPS)
    if path is None:
        if group is not None:
            raise RequestError(f"No settings file holds a group {group}.", "Name one with --config.")
        return
    if isinstance(command, TyperCommand) and isinstance(root, TyperGroup):
        found = read_settings(path, root.commands.keys()).of(command, group)
        context.default_map = {name: setting.value for name, setting in found.items() if not outranked(name)}


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"Do you mean {close[0]}?" if close else ""
