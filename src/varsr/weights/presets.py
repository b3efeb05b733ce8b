"""The text of a model's presets: in the registry, in a TOML file beside its checkpoint, or in older metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from varsr.errors import WeightsError
from varsr.weights.checkpoint import read_legacy_preset
from varsr.weights.registry import load_registry, read_toml

PresetTables = Mapping[str, Mapping[str, Any]]
"""Values by the names of a preset's fields, under "default" and "fast"."""


def preset_tables(path: Path, name: str | None = None) -> PresetTables:
    """The tables of the model at `path`, which may be one of the registry; empty where it has none.

    Raises `WeightsError` where they cannot be read.
    """
    registered = load_registry().models.get(name) if name else None
    if registered is not None and registered.presets:
        return registered.presets
    beside = path.with_suffix(".toml")
    if beside.exists():
        return _read(beside)
    legacy = read_legacy_preset(path)
    return {"default": legacy} if legacy else {}


def _read(path: Path) -> PresetTables:
    try:
        tables: PresetTables = read_toml(path)["presets"]
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} holds no presets ({error!r}).", "Write them under [presets.default].") from error
    return tables
