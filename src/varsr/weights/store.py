"""Where models are: by name, path or Hub repository to the safetensors file to load."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from pathlib import Path

from varsr.choices import DtypeName, StoredDtype
from varsr.errors import OutputError, RequestError, WeightsError, describe
from varsr.runtime.device import DTYPES
from varsr.weights import hub
from varsr.weights.cache import cache_folder
from varsr.weights.convert import convert
from varsr.weights.registry import ModelEntry, RemoteFile, load_registry

_log = logging.getLogger(__name__)
HUB_PREFIX = "hf:"
_REPOSITORY = re.compile(r"[\w-]+/[\w.-]+(?<!\.safetensors)(?<!\.pth)")
FILE, PRESETS = "model.safetensors", "model.toml"
_BUILT_IN = Path(__file__).parent / "built_in"
VARIANTS: tuple[StoredDtype, ...] = ("bf16", "fp32")


def resolve_model(model: str, dtype: DtypeName = "auto") -> Path:
    """The safetensors file of a model, downloaded and converted first where it must be.

    `model` is a name in the registry, `hf:owner/name[@revision]`, or the path of a file or of a folder that
    holds one. Raises `WeightsError` where the model cannot be had.
    """
    registry = load_registry()
    if model in registry.models:
        return download_model(registry[model], variant_for(dtype))
    if model.startswith(HUB_PREFIX):
        repository, _, revision = model.removeprefix(HUB_PREFIX).partition("@")
        path = hub.download(repository, revision or "main", RemoteFile(FILE))
        hub.download_if_there(repository, revision or "main", PRESETS)
        return path
    if "://" in model:
        raise RequestError(f"{model} is an address on the web.", "A model of the Hub is called hf:owner/name.")
    path = Path(model)
    try:
        if path.is_dir():
            return _only_model_in(path)
        exists = path.exists()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({describe(error)}).", "Check its permissions.") from error
    if not exists and _REPOSITORY.fullmatch(model):
        raise WeightsError(f"{model} does not exist.", f"If it is a repository of the Hub, write hf:{model}")
    if exists or path.suffix or len(path.parts) > 1:
        return path  # its reader says what is wrong with it
    return download_model(registry[model], variant_for(dtype))  # raises, naming the models there are


def resolve_cached_model(model: str) -> Path:
    """The same without a download or a conversion. Raises `WeightsError` where the model is not on this machine."""
    registry = load_registry()
    if model not in registry.models:
        return resolve_model(model)
    for variant in VARIANTS:
        if path := cached_path(registry[model], variant):
            return path
    raise WeightsError(f"{model} is not on this machine.", f"Get it with: varsr models pull {model}")


def note_first_use(model: str) -> bool:
    """Return True once per machine for a built-in model, then remember it."""
    known = load_registry().models.get(model)
    if known is None or known.format != "built-in":
        return False
    marker = cache_folder() / f"{model}-used"
    with suppress(OSError):  # a machine without a place for caches is greeted every time
        if marker.exists():
            return False
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    return True


def variant_for(dtype: DtypeName) -> StoredDtype:
    """The stored type that serves a requested one: float32 keeps all, bfloat16 half the size."""
    return "fp32" if dtype == "fp32" else "bf16"


def download_model(model: ModelEntry, variant: StoredDtype) -> Path:
    """A registered model's safetensors file; what is there already is not asked for again."""
    if path := cached_path(model, variant):
        return path
    if model.format == "built-in":
        raise WeightsError(f"{model.name} is missing from this installation.", "Install varsr again.")
    files = {part: hub.download(model.repository, model.revision, file) for part, file in model.files.items()}
    if model.format == "safetensors":
        return files["model"]
    _log.info("Converting %s to safetensors, once.", model.name)
    target = _converted(model, variant)
    try:
        convert(files["vqvae"], files["varsr"], target, DTYPES[variant])
    except OutputError as error:
        raise WeightsError(str(error), "Free some space, or set VARSR_CACHE to a folder on another disk.") from error
    return target


def cached_path(model: ModelEntry, variant: StoredDtype) -> Path | None:
    """The file that `download_model` would return without a download or a conversion, if there is one."""
    if model.format == "safetensors":
        return hub.cached_path(model.repository, model.revision, model.files["model"])
    target = _BUILT_IN / model.files["model"].name if model.format == "built-in" else _converted(model, variant)
    return target if target.exists() else None


def remove(model: ModelEntry) -> int:
    """Delete what was converted and what the Hub's cache holds of a model; return the bytes freed.

    Raises `RequestError` for a built-in one.
    """
    if model.format == "built-in":
        raise RequestError(f"{model.name} is part of varsr and cannot be removed.", "It goes with varsr itself.")
    converted = [path for variant in VARIANTS if (path := _converted(model, variant)).exists()]
    freed = sum(path.stat().st_size for path in converted)
    for path in converted:
        path.unlink()
    return freed + hub.forget(model.repository)


def _converted(model: ModelEntry, variant: StoredDtype) -> Path:
    revision = model.revision.replace("/", "-")
    return cache_folder() / "models" / f"{model.name}-{revision}-{variant}.safetensors"


def _only_model_in(folder: Path) -> Path:
    if (folder / FILE).exists():
        return folder / FILE
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise WeightsError(f"{folder} holds {len(found)} safetensors files.", f"Name one of them, or call it {FILE}.")
    return found[0]
