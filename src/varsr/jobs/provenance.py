"""Provenance: the model and options of a result in one line, as its mark holds them."""

from __future__ import annotations

from dataclasses import fields, replace

from varsr.images.encoding import DEFAULT, Encoding
from varsr.images.size import TargetSize
from varsr.upscaling.options import DEFAULTS, Options

_OF_THE_MACHINE = "batch_size"
_ENCODING = ("quality", "lossless", "background")


def marking(encoding: Encoding, model: str, size: TargetSize, options: Options) -> Encoding:
    """An encoding that marks results with what they are made with."""
    return replace(encoding, made_with=_made_with(encoding, model, size, options))


def _made_with(encoding: Encoding, model: str, size: TargetSize, options: Options) -> str:
    """The model by its label, the size, and each option that is not its default: "mini-10, x4, realism 0.5"."""
    chosen = [
        (field.name, getattr(options, field.name))
        for field in fields(options)
        if field.name != _OF_THE_MACHINE and getattr(options, field.name) != getattr(DEFAULTS, field.name)
    ]
    chosen += [
        (name, getattr(encoding, name)) for name in _ENCODING if getattr(encoding, name) != getattr(DEFAULT, name)
    ]
    return ", ".join([model, size.label, *(f"{name} {value}" for name, value in chosen)])
