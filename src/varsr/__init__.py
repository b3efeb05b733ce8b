"""Super-resolution of photographs by visual autoregressive modelling (VARSR, ICML 2025)."""

__version__ = "0.1.0"
