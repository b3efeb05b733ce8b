"""Sizes of every part of a model, as frozen dataclasses that travel as JSON in the checkpoint's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

OFFICIAL_SCALES = (1, 2, 3, 4, 6, 9, 13, 18, 24, 32)
CLASS_SCALES = (1, 2, 3, 4, 6, 9, 12, 16, 20, 24, 28, 32)
"""Of the published class-to-image model."""
TRAINING_STEPS = 1000
"""Of the corrector's diffusion, of which a sampler takes some."""
NORM_GROUPS = 32
"""Of channels, each normalized by itself in the tokenizer."""

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that is incomplete, has unknown fields, or describes no possible model."""


@dataclass(frozen=True)
class TokenizerConfig:
    """The autoencoder and its multi-scale residual quantizer (VQVAE, 16x).

    `multipliers` times `width` are the widths of the levels, highest resolution first; each level but
    the last halves the sides. `refinements` is the number of convolutions (phi) shared by the scales.

    Five sizes serve small models and leave the published design as it is by default. `stem` folds squares
    of pixels into channels at both ends, so that no level works at full resolution. `attention` may be
    left out. With `residual` the latent holds what the upsampled input lacks, so that an empty latent
    decodes to the input. With `input_path` the decoder sees the upsampled input beside the latent, through a trunk of
    `input_blocks` convolution blocks.
    """

    width: int
    codes: int
    channels: int = 32
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    refinements: int = 4
    stem: int = 1
    attention: bool = True
    residual: bool = False
    input_path: bool = False
    input_blocks: int = 1

    @property
    def stride(self) -> int:
        """Pixels along one side of a latent position."""
        return self.stem * int(2 ** (len(self.multipliers) - 1))


@dataclass(frozen=True)
class PrefixConfig:
    """Widths of the convolution stack; each step from one width to the next halves the sides.

    `stem` folds squares of pixels into channels before the first.
    """

    widths: tuple[int, ...]
    stem: int = 1

    @property
    def stride(self) -> int:
        """Pixels along one side of a prefix token."""
        return self.stem * int(2 ** (len(self.widths) - 1))


@dataclass(frozen=True)
class TransformerConfig:
    """The autoregressive transformer: `depth` blocks of `width` channels with `heads` heads."""

    depth: int
    width: int
    heads: int

    @property
    def head_width(self) -> int:
        """Channels of one attention head; rotary positions need a multiple of four."""
        return self.width // self.heads


@dataclass(frozen=True)
class CorrectorConfig:
    """The diffusion network that predicts the quantization error; `frequencies` sinusoids embed the timestep."""

    width: int
    blocks: int
    frequencies: int = 256


@dataclass(frozen=True)
class DialConfig:
    """A decoder with a realism dial, in place of the tokenizer's.

    It has `width` channels in `blocks` blocks at a quarter of the side. `half` and `full` are the channels at half
    and at all of the side; the latent joins before block `join`. It adapts to an image's degradation, of which it
    estimates as many values as `estimates` says; changes of its convolutions of rank `rank` restore what is degraded
    faithfully.
    """

    width: int = 96
    blocks: int = 16
    half: int = 48
    full: int = 24
    join: int = 8
    estimates: int = 3
    rank: int = 48


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of a whole model: everything that shapes a tensor, nothing that can be chosen at inference.

    `scales` are the sides of its token maps, coarse to fine. With `dial` the decoder is one with a realism dial.

    A super-resolution model has a `prefix` and 2 labels, of high and of low quality. A class-to-image model has none,
    and a label for each of its `classes` and one for no class. Guidance rises linearly over the scales, from 0 at the
    first or, with `guides_first_scale`, from one step.
    """

    tokenizer: TokenizerConfig
    prefix: PrefixConfig | None
    transformer: TransformerConfig
    corrector: CorrectorConfig
    scales: tuple[int, ...] = OFFICIAL_SCALES
    dial: DialConfig | None = None
    classes: int | None = None
    guides_first_scale: bool = False

    def __post_init__(self) -> None:
        """Raise `ConfigError` where the sizes contradict each other."""
        if complaint := next(self._contradictions(), None):
            raise ConfigError(complaint)

    def _contradictions(self) -> Iterator[str]:
        if len(self.scales) < 2 or list(self.scales) != sorted(set(self.scales)) or self.scales[0] != 1:
            yield f"scales must be two or more rising sides that begin with 1, not {self.scales}"
        if self.transformer.width % self.transformer.heads or self.transformer.head_width % 4:
            yield f"width {self.transformer.width} over {self.transformer.heads} heads is not a multiple of 4"
        if self.tokenizer.width % NORM_GROUPS:
            yield f"the tokenizer's width {self.tokenizer.width} is not a multiple of {NORM_GROUPS}"
        if (self.prefix is None) != (self.classes is not None):
            yield "a model has either a prefix or classes"
        if self.prefix is not None and self.tile_side % self.prefix.stride:
            yield f"a tile of {self.tile_side} px has no whole number of prefix tokens"
        stride = self.tokenizer.stride
        if self.dial is not None and (stride < 4 or stride & (stride - 1) or not self.dial.join < self.dial.blocks):
            yield f"a decoder with a dial needs a stride of 4, 8, 16 ..., not {stride}, and a join within its blocks"
        if self.corrector.frequencies % 2:
            yield "the corrector's frequencies must be even in number"

    @property
    def latent_side(self) -> int:
        """Latent positions along one side of a tile."""
        return self.scales[-1]

    @property
    def tile_side(self) -> int:
        """Pixels along one side of a tile."""
        return self.latent_side * self.tokenizer.stride

    @property
    def prefix_side(self) -> int:
        """Prefix tokens along one side of a tile; 0 without a prefix."""
        return self.tile_side // self.prefix.stride if self.prefix else 0

    @property
    def labels(self) -> int:
        """Rows of the class embedding; the last is the negative label of guidance."""
        return 2 if self.classes is None else self.classes + 1

    @property
    def prefix_length(self) -> int:
        """Tokens of the first stage: the prefix and the class token."""
        return self.prefix_side**2 + 1

    @property
    def stage_lengths(self) -> tuple[int, ...]:
        """Tokens that enter the transformer at each scale, the prefix counted with the first."""
        return (self.prefix_length, *(side**2 for side in self.scales[1:]))

    def to_json(self) -> str:
        """The configuration as JSON, as stored in a checkpoint."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Read what `to_json` wrote; raise `ConfigError` on anything unknown, missing or of the wrong kind."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"the configuration is not JSON: {error}") from error
        return cls.from_data(data)

    @classmethod
    def from_data(cls, data: Any) -> ModelConfig:
        """Build a configuration from decoded JSON; raise `ConfigError` as `from_json` does."""
        return _build(cls, data, "configuration")


def _build(kind: type[T], data: Any, where: str) -> T:
    """Build dataclass `kind` from plain JSON `data`, strictly."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where} is not an object")
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - set(known)):
        raise ConfigError(f"{where} has unknown fields: {', '.join(unknown)}")
    missing = [n for n, f in known.items() if n not in data and f.default is MISSING]
    if missing:
        raise ConfigError(f"{where} lacks fields: {', '.join(missing)}")
    return kind(**{name: _value(hints[name], value, f"{where}.{name}") for name, value in data.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return _build(hint, value, where)  # type: ignore[arg-type]
    if value is None and type(None) in get_args(hint):
        return None
    if kinds := [kind for kind in get_args(hint) if isinstance(kind, type) and is_dataclass(kind)]:
        return _build(kinds[0], value, where)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is bool and isinstance(value, bool):
        return value
    if hint in (int, int | None) and isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, list) and value and all(isinstance(v, int) and v > 0 for v in value):
        return tuple(value)
    raise ConfigError(f"{where} is {value!r}, which is not a valid {getattr(hint, '__name__', hint)}")
