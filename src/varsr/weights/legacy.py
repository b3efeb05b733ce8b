"""Metadata of checkpoints from before presets were text: inference defaults stood among the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FIELDS = {
    "fidelity": "fidelity",
    "overlap": "tile_overlap",
    "blend": "decode_overlap",
    "window": "decode_window",
    "kept": "keep_ratio",
}
_GUIDANCE = {"single": "guidance_scale", "tiled": "guidance_scale_tiled", "scales": "guided_scales"}
_CORRECTOR = {"steps": "corrector_steps", "gain": "corrector_gain"}


def split(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide a configuration into the architecture and the table of its default preset, empty for a newer one."""
    architecture = dict(data)
    preset = {new: architecture.pop(old) for old, new in _FIELDS.items() if old in architecture}
    preset |= _moved(architecture.pop("guidance", None), _GUIDANCE)
    if isinstance(corrector := architecture.get("corrector"), Mapping):
        architecture["corrector"] = {name: value for name, value in corrector.items() if name not in _CORRECTOR}
        preset |= _moved(corrector, _CORRECTOR)
    return architecture, preset


def _moved(values: object, names: Mapping[str, str]) -> dict[str, Any]:
    """The values that are known and set, under their new names; None meant all."""
    if not isinstance(values, Mapping):
        return {}
    return {new: values[old] for old, new in names.items() if values.get(old) is not None}
