"""varsr doctor."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from varsr.cli.options import Debug

if TYPE_CHECKING:
    from varsr.cli.diagnosis import Diagnosis, Model


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False, debug: Debug = False
) -> None:
    """Look at this installation and machine: what is wrong first, then versions, devices, models and features.

    The exit code is 1 where something is wrong.
    """
    from varsr.cli.diagnosis import diagnose

    found = diagnose()
    if json:
        print(json_module.dumps(found.to_data()))
    else:
        _show(found)
    raise typer.Exit(1 if found.problems else 0)


def _show(found: Diagnosis) -> None:
    for problem in found.problems:
        print(f"! {problem.sentence} {problem.advice}")
    print("Nothing is wrong.\n" if not found.problems else "")
    _line("varsr", found.varsr)
    _line("Python", found.python)
    _line("system", found.system)
    _line("PyTorch", f"{found.torch}, {found.build} build")
    _line("processor", f"{found.instructions}; {found.cores} cores usable, {found.threads} threads")
    for device in found.devices:
        _line("device", f"{device.name}: {device.description}, {device.memory / 2**30:.1f} GiB, {device.dtype}")
    _line("cache", found.cache)
    _line("Hub cache", found.hub_cache)
    _line("settings", found.settings or "none")
    for model in found.models:
        _line("model", f"{model.name}{' (default)' if model.name == found.default_model else ''}: {_state(model)}")
    for feature in found.features:
        _line("feature", f"{feature.name}: {feature.version or f'not installed; {feature.install}'}")


def _state(model: Model) -> str:
    if model.path is None:
        return f"not on this machine; varsr models pull {model.name}"
    return model.path + ("" if model.intact is None else ", intact" if model.intact else ", DAMAGED")


def _line(name: str, value: str) -> None:
    print(f"{name:10} {value}")
