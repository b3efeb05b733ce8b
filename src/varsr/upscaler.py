"""One picture, larger and sharper: resize, tiles, model, blend, decode, colour."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image

from varsr.choices import ColorFix, DtypeName, Speed
from varsr.device import Precision, memory_errors, pick_device, pick_precision
from varsr.engine import Engine, Recipe
from varsr.errors import RequestError
from varsr.imaging.bands import Enlarged
from varsr.imaging.color import fixed_bands
from varsr.imaging.photo import Photo, to_image, with_metadata
from varsr.imaging.read import photo_of
from varsr.imaging.resize import Picture
from varsr.imaging.size import Size, TargetSize
from varsr.imaging.tiles import Tile, least_side, padded_length, plan_tiles
from varsr.model.config import ModelConfig
from varsr.model.sampling import ARGMAX, Sampling
from varsr.model.shortcuts import EXACT, Shortcuts, fast
from varsr.model.varsr import VARSR
from varsr.progress import OnProgress, Reporter
from varsr.restoration import Restoration
from varsr.weights.checkpoint import load_model
from varsr.weights.registry import default_model
from varsr.weights.store import locate


@dataclass(frozen=True)
class Options:
    """How a picture is upscaled. Defaults are the model's own where a value is None; `fidelity` overrules `sampling`'s.

    `cfg` is the strength of guidance, 0 for none. `overlap` is in latent cells. The result depends on `seed`
    where something is drawn: by the corrector, and by `sampling` unless its `top_k` is 1. `speed` "fast" takes an
    eighth of a tile's side off the overlap, decodes with no more than an eighth, and takes the shortcuts of
    `model.shortcuts`; `kept_tokens`, `guided_tokens`, `guided_scales` and `corrector_steps` set each of them by itself.
    """

    cfg: float | None = None
    seed: int = 0
    sampling: Sampling = ARGMAX
    fidelity: float | None = None
    corrector: bool = True
    color_fix: ColorFix | None = None
    overlap: int | None = None
    batch_size: int | None = None
    speed: Speed = "exact"
    kept_tokens: float | None = None
    guided_tokens: float | None = None
    guided_scales: int | None = None
    corrector_steps: int | None = None

    def __post_init__(self) -> None:
        """Raise `RequestError` for values that no picture can be upscaled with."""
        for name, value, low, high in (
            ("cfg", self.cfg, 0, MAX_GUIDANCE),
            ("fidelity", self.fidelity, 0, 1),
            ("kept_tokens", self.kept_tokens, 0, 1),
            ("guided_tokens", self.guided_tokens, 0, 1),
            ("guided_scales", self.guided_scales, 1, 1000),
            ("corrector_steps", self.corrector_steps, 2, 1000),
            ("batch_size", self.batch_size, 1, math.inf),
            ("seed", self.seed, 0, 2**63 - 1),
            ("temperature", self.sampling.temperature, 1e-3, 1000),
            ("top_p", self.sampling.top_p, 0, 1),
            ("top_k", self.sampling.top_k, 0, math.inf),
        ):
            if value is not None and not (isinstance(value, (int, float)) and low <= value <= high):
                raise RequestError(f"{name} cannot be {value!r}.", f"Use {low:g} to {high:g}.")
        for name, chosen, choices in (
            ("speed", self.speed, get_args(Speed)),
            ("color_fix", self.color_fix, (None, *get_args(ColorFix))),
        ):
            if chosen not in choices:
                raise RequestError(f"{name} cannot be {chosen!r}.", f"Use one of {', '.join(map(str, choices))}.")

    def shortcuts(self, config: ModelConfig) -> Shortcuts:
        """What is left out of a model, by `speed` and by what was set itself."""
        chosen = fast(config) if self.speed == "fast" else EXACT
        return Shortcuts(
            chosen.kept if self.kept_tokens is None else self.kept_tokens,
            chosen.guided if self.guided_tokens is None else self.guided_tokens,
            chosen.guided_scales if self.guided_scales is None else self.guided_scales,
            chosen.corrector_steps if self.corrector_steps is None else self.corrector_steps,
        )


MAX_GUIDANCE = 1000.0
DEFAULTS = Options()


class Upscaler:
    """A loaded model and what it does to a picture."""

    def __init__(self, model: VARSR, device: torch.device, precision: Precision, compiled: bool = True) -> None:
        self.engine = Engine(model, device, precision, compiled)

    @classmethod
    def from_pretrained(
        cls, model: str | None = None, *, device: str = "auto", dtype: DtypeName = "auto", compiled: bool = True
    ) -> Upscaler:
        """Load a model by name, path or `hf:owner/name[@revision]`, downloading it where needed.

        Without one it is the command line's: VARSR_MODEL, else the built-in model. `device` is auto, cpu, cuda, cuda:N
        or mps; `dtype` auto, fp32, bf16, fp16, or int8 on a CPU. With CUDA the model is `compiled` into graphs as it is
        used, which takes about a second for each size of batch; without them it is slower. Raises `WeightsError` where
        the model cannot be had, `DeviceError` where the device is not there.
        """
        path = locate(model or default_model(), dtype)
        return cls.from_checkpoint(path, device=device, dtype=dtype, compiled=compiled)

    @classmethod
    def from_checkpoint(
        cls, path: Path, *, device: str = "auto", dtype: DtypeName = "auto", compiled: bool = True
    ) -> Upscaler:
        """Load a model from its safetensors file."""
        place = pick_device(device)
        precision = pick_precision(dtype, place)
        with memory_errors(place):
            return cls(load_model(path, place, precision), place, precision, compiled)

    def upscale(
        self,
        image: Image.Image,
        scale: float = 4,
        options: Options = DEFAULTS,
        on_progress: OnProgress = lambda _: None,
    ) -> Image.Image:
        """A picture `scale` times as large, 1 to 8, upright. Transparency, greyness and the colour profile stay.

        Profile, EXIF, density and XMP are kept with the result, and its `save` writes them. Raises `RequestError` for
        what is not a Pillow image and for values that do not suit, `InputError` for an image that cannot be decoded.
        """
        if not isinstance(image, Image.Image):
            raise RequestError(
                f"upscale takes a Pillow image, not {type(image).__name__}.",
                "Open a file with PIL.Image.open, and turn an array into an image with PIL.Image.fromarray.",
            )
        photo = photo_of(image)
        result = self.upscale_photo(photo, TargetSize(scale=scale).of(photo.size), options, on_progress)
        return with_metadata(to_image(result), result.metadata)

    def upscale_photo(
        self, photo: Photo, size: Size, options: Options = DEFAULTS, on_progress: OnProgress = lambda _: None
    ) -> Photo:
        """A photo restored at `size` (height, width).

        Raises `RequestError` where an option does not suit the model, `TooLittleMemoryError`, and `OutputError`
        where a large picture waits on a disk that is full.
        """
        with memory_errors(self.engine.device):
            return photo.restored(np.concatenate(list(self.bands(photo, size, options, on_progress))))

    def bands(
        self, photo: Photo, size: Size, options: Options = DEFAULTS, on_progress: OnProgress = lambda _: None
    ) -> Iterator[Picture]:
        """The colour of the restored photo in bands of rows from top to bottom, each (rows, W, 3) in [0, 1].

        Only a few rows of tiles are in memory at a time. Raises as `upscale_photo` does.
        """
        return self.begin(photo, size, options, on_progress).bands()

    def begin(
        self, photo: Photo, size: Size, options: Options = DEFAULTS, on_progress: OnProgress = lambda _: None
    ) -> Restoration:
        """A photo ready to be restored at `size`; of several begun, small ones share batches of tiles.

        Raises `RequestError` where an option does not suit the model.
        """
        config = self.model.config
        tiles, windows = self.tiles(size, options), self.windows(size, options)
        return Restoration(
            self.engine,
            Enlarged(photo.color, size, self._padded(size)),
            tiles,
            windows,
            self._recipe(len(tiles), options),
            min(options.batch_size or self.engine.batch_size, self.engine.largest_batch),
            Reporter(on_progress, len(tiles), len(tiles) * (len(config.scales) + 1) + len(windows)),
            partial(fixed_bands, fix=options.color_fix or self.default_color_fix),
        )

    @property
    def model(self) -> VARSR:
        """The model itself."""
        return self.engine.model

    @property
    def dtype(self) -> torch.dtype:
        """The type that is computed in."""
        return self.engine.precision.compute

    @property
    def default_color_fix(self) -> ColorFix:
        """None for a model that adds to its input; one that paints anew may shift its colours."""
        return "none" if self.model.config.tokenizer.residual else "adain"

    def _recipe(self, tiles: int, options: Options) -> Recipe:
        config = self.model.config
        fidelity = config.fidelity if options.fidelity is None else options.fidelity
        return Recipe(
            config.guidance.strength(tiles) if options.cfg is None else options.cfg,
            replace(options.sampling, fidelity=fidelity),
            options.corrector,
            options.seed,
            options.shortcuts(config),
        )

    def tiles(self, size: Size, options: Options = DEFAULTS) -> list[Tile]:
        """The tiles in which a result (height, width) is restored. Raises `RequestError` for an impossible overlap."""
        return plan_tiles(*self._cells(size), self.model.config.latent_side, self._overlap(options))

    def windows(self, size: Size, options: Options = DEFAULTS) -> list[Tile]:
        """The squares in which a result's latent is decoded, never with less to blend over than tiles have.

        Raises as `tiles` does.
        """
        config = self.model.config
        blend = config.decoded_overlap
        if options.speed == "fast":
            blend = min(blend, self._eighth)
        cells, overlap = self._cells(size), max(self._overlap(options), blend)
        sides = {min(side, *cells) for side in config.window_sides}
        return plan_tiles(*cells, least_side(*cells, sorted(sides), overlap), overlap)

    def _overlap(self, options: Options) -> int:
        side, overlap = self.model.config.latent_side, self.model.config.default_overlap
        if options.overlap is None:
            return max(0, overlap - self._eighth) if options.speed == "fast" else overlap
        if not 0 <= options.overlap < side:
            raise RequestError(
                f"Tiles of {side} cells cannot overlap by {options.overlap}.", f"Use --tile-overlap 0 to {side - 1}."
            )
        return options.overlap

    @property
    def _eighth(self) -> int:
        """Latent cells in an eighth of a tile's side, by which fast mode overlaps less."""
        return math.ceil(self.model.config.latent_side / 8)

    def _cells(self, size: Size) -> Size:
        height, width = (side // self.model.config.tokenizer.stride for side in self._padded(size))
        return height, width

    def _padded(self, size: Size) -> Size:
        """The size in whole latent cells, at least a tile."""
        config = self.model.config
        height, width = (padded_length(n, config.tokenizer.stride, config.tile_side) for n in size)
        return height, width
