"""Super-resolution of photographs by visual autoregressive modelling (VARSR, ICML 2025).

from varsr import Upscaler
Upscaler.from_pretrained().upscale(image, scale=4)
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Options", "Upscaler", "__version__"]

if TYPE_CHECKING:
    from varsr.upscaling.options import Options
    from varsr.upscaling.upscaler import Upscaler

_HOMES = {"Options": "varsr.upscaling.options", "Upscaler": "varsr.upscaling.upscaler"}


def __getattr__(name: str) -> Any:
    """Import the heavy names when they are first asked for: `varsr --help` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'varsr' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
