"""Presets: the inference defaults of a model, and how they and a user's options become settings.

A preset is text: a table of `weights.toml`, of a TOML file beside a checkpoint, or of an older checkpoint's metadata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from varsr.choices import ColorFix
from varsr.errors import RequestError, WeightsError
from varsr.model.config import ModelConfig
from varsr.model.inference import DecodeConfig, InferenceConfig
from varsr.model.sampling import Sampling
from varsr.upscaling.options import Options

PUBLISHED = InferenceConfig()


@dataclass(frozen=True)
class Preset:
    """Inference defaults of a model. The field's defaults are those of the published VARSR.

    Raises `ValueError` for values that no model can use.
    """

    realism: float = 1.0
    """Realism of a decoder with a dial, from 0 to 1; for others a factor of the guidance scale."""
    faithful_views: int = 1
    """Mirrored views of which a decoder with a dial takes the mean at realism 0: 1, 2 or 4."""
    guidance_scale: float = PUBLISHED.guidance_scale
    """Guidance scale for an image of a single tile."""
    guidance_scale_tiled: float = 7.0
    """Guidance scale for an image of several tiles."""
    guided_scales: int = PUBLISHED.guided_scales
    """Number of the last scales that are guided; more than a model has means all."""
    guided_tokens: float = PUBLISHED.guided_tokens
    """Share of the computed tokens of the last scale that also get the negative pass, in (0, 1]."""
    tokens: bool = PUBLISHED.tokens
    """False leaves out the prediction of tokens, which a decoder with a dial does without."""
    keep_ratio: float = PUBLISHED.keep_ratio
    """Share of the tokens of the last 2 scales that are computed, in (0, 1]."""
    fidelity: float = PUBLISHED.fidelity
    """From 0, the code of each token, to 1, the mean of all codes by their probability."""
    corrector_steps: int = PUBLISHED.corrector_steps
    corrector_gain: float = PUBLISHED.corrector_gain
    tile_overlap: float = 0.25
    """Share of a tile's side that neighbours have in common when they are predicted, in [0, 1)."""
    decode_overlap: float = 0.25
    """Share of a tile's side that neighbours have in common when they are decoded, in [0, 1)."""
    decode_window: int = 1
    """Tiles along the side of a square that is decoded at a time."""
    color_fix: ColorFix = "adain"

    def __post_init__(self) -> None:
        self.inference()  # raises what the network cannot use, as does the next
        DecodeConfig(self.realism, self.faithful_views)
        for name in ("tile_overlap", "decode_overlap"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        if self.decode_window < 1:
            raise ValueError(f"decode_window must be at least 1, not {self.decode_window}")
        if self.color_fix not in get_args(ColorFix):
            raise ValueError(f"color_fix must be one of {', '.join(get_args(ColorFix))}, not {self.color_fix!r}")

    def inference(self, tiles: int = 1) -> InferenceConfig:
        """The network's settings for an image of `tiles` tiles."""
        return InferenceConfig(
            guidance_scale=self.guidance_scale if tiles == 1 else self.guidance_scale_tiled,
            guided_scales=self.guided_scales,
            guided_tokens=self.guided_tokens,
            tokens=self.tokens,
            keep_ratio=self.keep_ratio,
            fidelity=self.fidelity,
            corrector_steps=self.corrector_steps,
            corrector_gain=self.corrector_gain,
        )

    def decoding(self) -> DecodeConfig:
        """The decoder's settings. With realism the mean over views would blur the texture that each of them invents."""
        return DecodeConfig(self.realism, views=1 if self.realism else self.faithful_views)

    def updated(self, table: Mapping[str, Any]) -> Preset:
        """The preset with the values of a table. Raises `ValueError` naming what is unknown or of the wrong type."""
        types: dict[str, type] = {name: type(value) for name, value in asdict(self).items()}
        for name, value in table.items():
            if name not in types:
                raise ValueError(f"{name} is unknown; known are {', '.join(types)}")
            wanted = (int, float) if types[name] is float else types[name]
            if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
                raise ValueError(f"{name} must be of type {types[name].__name__}, not {value!r}")
        return replace(self, **{name: types[name](value) for name, value in table.items()})

    def faster(self) -> Preset:
        """The fast preset of a model that has none of its own; it never computes more than this one."""
        return replace(
            self,
            guided_scales=min(3, self.guided_scales),
            guided_tokens=min(0.5, self.guided_tokens),
            keep_ratio=min(0.3, self.keep_ratio),
            faithful_views=1,
            corrector_steps=min(5, self.corrector_steps),
            tile_overlap=max(0.0, self.tile_overlap - 0.125),
            decode_overlap=min(0.125, self.decode_overlap),
        )


@dataclass(frozen=True)
class Presets:
    """The 2 presets of a model."""

    default: Preset
    fast: Preset


def presets_of(tables: Mapping[str, Mapping[str, Any]], config: ModelConfig, source: str) -> Presets:
    """Build the presets of a model from its tables, "default" and "fast", where it has them.

    What a default table leaves out is as in the published model, but a model that adds to its input needs no colour
    fix; what a fast table leaves out is as in the default preset. Raises `WeightsError` naming `source`.
    """
    published = Preset(color_fix="none") if config.tokenizer.residual else Preset()
    try:
        default = published.updated(tables.get("default", {}))
        fast = default.updated(tables["fast"]) if "fast" in tables else default.faster()
    except (ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"The presets of {source} cannot be used: {error}.", "Correct them there.") from error
    return Presets(default, fast)


@dataclass(frozen=True)
class Settings:
    """Everything that decides what an image is computed to, resolved."""

    inference: InferenceConfig
    """That of an image of a single tile."""
    guidance_scale_tiled: float
    seed: int
    tile_overlap: int
    """Latent positions that neighbouring tiles share when they are predicted."""
    decode_overlap: int
    """Latent positions that neighbouring windows share when they are decoded, at least as many as tiles share."""
    decoding: DecodeConfig
    window_sides: range
    """Latent positions along the side of what may be decoded at a time, where the image is so large."""
    color_fix: ColorFix

    def for_tiles(self, count: int) -> InferenceConfig:
        """The network's settings for an image of `count` tiles."""
        if count == 1:
            return self.inference
        return replace(self.inference, guidance_scale=self.guidance_scale_tiled)


def resolve(presets: Presets, options: Options, config: ModelConfig) -> Settings:
    """Resolve a user's options; the preset has the rest.

    Raises `RequestError` for tiles that cannot overlap as asked, and for a model that cannot do without tokens.
    """
    preset = presets.fast if options.speed == "fast" else presets.default
    weight = 1.0 if config.dial or options.realism is None else options.realism
    asked = {
        "realism": options.realism,
        "guidance_scale": weight * preset.guidance_scale if options.cfg is None else options.cfg,
        "guidance_scale_tiled": weight * preset.guidance_scale_tiled if options.cfg is None else options.cfg,
        "guided_scales": options.guided_scales,
        "guided_tokens": options.guided_tokens,
        "tokens": options.tokens,
        "keep_ratio": options.keep_ratio,
        "fidelity": options.fidelity,
        "corrector_steps": options.corrector_steps,
        "color_fix": options.color_fix,
    }
    chosen = preset.updated({name: value for name, value in asked.items() if value is not None})
    if not chosen.tokens and config.dial is None:
        raise RequestError(
            "This model makes images of tokens alone.", "Leave `tokens` out, or use a model with a dial."
        )
    side = config.latent_side
    overlap = int(chosen.tile_overlap * side) if options.tile_overlap is None else options.tile_overlap
    if not 0 <= overlap < side:
        raise RequestError(
            f"Tiles of {side} latent positions cannot overlap by {overlap}.",
            f"Use 0 to {side - 1}.",
        )
    window = chosen.decode_window * side
    inference = chosen.inference()
    return Settings(
        inference=replace(
            inference,
            sampling=Sampling(options.top_k, options.top_p, options.temperature),
            corrector_steps=chosen.corrector_steps if options.corrector else 0,
        ),
        guidance_scale_tiled=chosen.guidance_scale_tiled,
        seed=options.seed,
        tile_overlap=overlap,
        decode_overlap=max(overlap, math.ceil(chosen.decode_overlap * side)),
        # Windows of several tiles may be an eighth larger, if fewer are needed then; a single tile is decoded as it is.
        window_sides=range(window, window + (window // 8 if chosen.decode_window > 1 else 0) + 1),
        color_fix=chosen.color_fix,
        decoding=chosen.decoding(),
    )
