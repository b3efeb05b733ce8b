"""Super-resolution of photographs by visual autoregressive modelling (VARSR, ICML 2025).

from varsr import upscale_file
upscale_file("photo.jpg", "photo_x4.jpg")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "GenerationOptions",
    "Generator",
    "Options",
    "Request",
    "Upscaler",
    "VarsrError",
    "VideoOptions",
    "Wish",
    "__version__",
    "generate",
    "upscale_file",
]

if TYPE_CHECKING:
    from varsr.errors import VarsrError
    from varsr.generation.generator import Generator, generate
    from varsr.generation.options import GenerationOptions, Wish
    from varsr.jobs.files import upscale_file
    from varsr.upscaling.options import Options
    from varsr.upscaling.request import Request
    from varsr.upscaling.upscaler import Upscaler
    from varsr.video.formats import VideoOptions

_HOMES = {
    "GenerationOptions": "varsr.generation.options",
    "Generator": "varsr.generation.generator",
    "Wish": "varsr.generation.options",
    "generate": "varsr.generation.generator",
    "Options": "varsr.upscaling.options",
    "Request": "varsr.upscaling.request",
    "Upscaler": "varsr.upscaling.upscaler",
    "VarsrError": "varsr.errors",
    "VideoOptions": "varsr.video.formats",
    "upscale_file": "varsr.jobs.files",
}


def __getattr__(name: str) -> Any:
    """Import the heavy names when they are first asked for: `varsr --help` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'varsr' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
