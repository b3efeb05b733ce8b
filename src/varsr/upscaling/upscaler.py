"""One picture, larger and sharper: resize, tiles, model, blend, decode, colour."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from varsr.choices import DtypeName
from varsr.errors import RequestError
from varsr.images.enlarge import Enlarged
from varsr.images.photo import Photo, to_image, with_metadata
from varsr.images.read import photo_of
from varsr.images.size import Size, TargetSize
from varsr.model.varsr import VARSR
from varsr.runtime.device import Precision, pick_device, pick_precision
from varsr.runtime.engine import Engine, Recipe
from varsr.runtime.memory import memory_errors
from varsr.tiling.array import FloatImage
from varsr.tiling.grid import Tile, least_side, padded_length, plan_tiles
from varsr.upscaling.color_fix import fixed_bands
from varsr.upscaling.options import DEFAULTS, Options
from varsr.upscaling.preset import Presets, Settings, presets_of, resolve
from varsr.upscaling.progress import OnProgress, Reporter
from varsr.upscaling.restoration import Restoration
from varsr.weights.checkpoint import load_model, read_config
from varsr.weights.presets import PresetTables, preset_tables
from varsr.weights.registry import default_model
from varsr.weights.store import locate


class Upscaler:
    """A loaded model and what it does to a picture."""

    def __init__(
        self, model: VARSR, presets: Presets, device: torch.device, precision: Precision, compiled: bool = True
    ) -> None:
        self.engine = Engine(model, device, precision, compiled)
        self.presets = presets

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
        name = model or default_model()
        path = locate(name, dtype)
        return cls._load(path, preset_tables(path, name), device, dtype, compiled)

    @classmethod
    def from_checkpoint(
        cls, path: Path, *, device: str = "auto", dtype: DtypeName = "auto", compiled: bool = True
    ) -> Upscaler:
        """Load a model from its safetensors file."""
        return cls._load(path, preset_tables(path), device, dtype, compiled)

    @classmethod
    def _load(cls, path: Path, tables: PresetTables, device: str, dtype: DtypeName, compiled: bool) -> Upscaler:
        place = pick_device(device)
        precision = pick_precision(dtype, place)
        presets = presets_of(tables, read_config(path), str(path))
        with memory_errors(place):
            return cls(load_model(path, place, precision), presets, place, precision, compiled)

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
    ) -> Iterator[FloatImage]:
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
        config, settings = self.model.config, self.settings(options)
        tiles, windows = self.tiles(size, options), self.windows(size, options)
        return Restoration(
            self.engine,
            Enlarged(photo.color, size, self._padded(size)),
            tiles,
            windows,
            Recipe(settings.for_tiles(len(tiles)), settings.seed),
            min(options.batch_size or self.engine.batch_size, self.engine.largest_batch),
            Reporter(on_progress, len(tiles), len(tiles) * (len(config.scales) + 1) + len(windows)),
            partial(fixed_bands, fix=settings.color_fix),
        )

    @property
    def model(self) -> VARSR:
        """The model itself."""
        return self.engine.model

    @property
    def dtype(self) -> torch.dtype:
        """The type that is computed in."""
        return self.engine.precision.compute

    def settings(self, options: Options = DEFAULTS) -> Settings:
        """What options come to with this model. Raises `RequestError` for an impossible overlap."""
        return resolve(self.presets, options, self.model.config)

    def tiles(self, size: Size, options: Options = DEFAULTS) -> list[Tile]:
        """The tiles in which a result (height, width) is restored. Raises `RequestError` for an impossible overlap."""
        settings = self.settings(options)
        return plan_tiles(*self._cells(size), self.model.config.latent_side, settings.tile_overlap)

    def windows(self, size: Size, options: Options = DEFAULTS) -> list[Tile]:
        """The squares in which a result's latent is decoded, never with less to blend over than tiles have.

        Raises as `tiles` does.
        """
        settings, cells = self.settings(options), self._cells(size)
        sides = {min(side, *cells) for side in settings.window_sides}
        overlap = settings.decode_overlap
        return plan_tiles(*cells, least_side(*cells, sorted(sides), overlap), overlap)

    def _cells(self, size: Size) -> Size:
        height, width = (side // self.model.config.tokenizer.stride for side in self._padded(size))
        return height, width

    def _padded(self, size: Size) -> Size:
        """The size in whole latent cells, at least a tile."""
        config = self.model.config
        height, width = (padded_length(n, config.tokenizer.stride, config.tile_side) for n in size)
        return height, width
