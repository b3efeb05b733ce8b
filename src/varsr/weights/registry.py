"""The models that can be asked for by name, as weights.toml lists them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from varsr.errors import RequestError, WeightsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PARTS = {"pickles": {"vqvae", "varsr"}, "safetensors": {"model"}, "built-in": {"model"}}  # files of each format
_PLACES = Path(__file__).parents[1] / "weights.toml", Path(__file__).parents[3] / "weights.toml"  # wheel, source tree


Task = Literal["upscale", "generate"]
"""The command that a model is for."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a Hub repository or of this package, with what is known of its content."""

    name: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A model in the registry.

    `files` are called vqvae and varsr for pickles, model for safetensors in a repository or built in.
    """

    name: str
    description: str
    licence: str
    format: str
    files: Mapping[str, RemoteFile]
    repository: str = ""
    revision: str = "main"
    task: Task = "upscale"
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Registry:
    """All models by name, and the default's name."""

    default: str
    models: Mapping[str, ModelEntry]

    def __getitem__(self, name: str) -> ModelEntry:
        if name not in self.models:
            raise WeightsError(f"No model is called {name!r}.", f"Known: {', '.join(self.models)}. See: varsr models")
        return self.models[name]


def load_registry() -> Registry:
    """Read weights.toml, or the file that VARSR_WEIGHTS names in its place. Raises `WeightsError` if it is faulty."""
    own = os.environ.get("VARSR_WEIGHTS")
    path = Path(own) if own else next(place for place in _PLACES if place.exists())
    try:
        data = read_toml(path)
        models = {name: _model(name, entry) for name, entry in data["models"].items()}
        return Registry(data["default"], models)
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise WeightsError(
            f"{path} is not a list of models ({error!r}).", "Correct it, or unset VARSR_WEIGHTS."
        ) from error


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises `OSError` or `ValueError` where it has none."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def default_model() -> str:
    """The model to use where none is asked for: VARSR_MODEL, else the registry's default."""
    return os.environ.get("VARSR_MODEL") or load_registry().default


def model_label(model: str) -> str:
    """A short name of a model that tells its versions apart and holds no folders: mini-10, varsr, hf:owner/name."""
    entry = load_registry().models.get(model)
    if entry is not None:
        return Path(entry.files["model"].name).stem if entry.format == "built-in" else entry.name
    return model if model.startswith("hf:") else Path(model).stem


def require_task(model: str, task: Task) -> None:
    """Raise `RequestError` for a registered model of the other task, before it is downloaded."""
    entry = load_registry().models.get(model)
    if entry is not None and entry.task != task:
        raise wrong_task(model, entry.task)


def wrong_task(model: str, task: Task) -> RequestError:
    """The error for a model whose own `task` is not what was asked of it."""
    does = "makes images of classes and upscales none" if task == "generate" else "upscales images and knows no classes"
    return RequestError(f"{model} {does}.", f"Use: varsr {task}")


def _model(name: str, entry: Mapping[str, Any]) -> ModelEntry:
    files = {part: RemoteFile(**file) for part, file in entry["files"].items()}
    model = ModelEntry(name=name, **{**entry, "files": files})
    if _PARTS.get(model.format) != set(files) or bool(model.repository) == (model.format == "built-in"):
        raise ValueError(f"{name}: format {model.format!r} with files {sorted(files)}")
    if model.task not in get_args(Task):
        raise ValueError(f"{name}: task {model.task!r}")
    return model
