"""The upscaler: a loaded model, and images upscaled with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast, overload

import torch

from varsr.choices import DtypeName
from varsr.images.photo import Photo
from varsr.images.size import Size, TargetSize
from varsr.model.varsr import VARSR
from varsr.runtime.device import Precision, pick_device, pick_precision
from varsr.runtime.engine import Engine
from varsr.upscaling.layout import Layout, layout_of
from varsr.upscaling.options import DEFAULTS, Options
from varsr.upscaling.preset import Presets, Settings, presets_of, resolve
from varsr.upscaling.progress import OnProgress
from varsr.upscaling.request import ImageLike, ImageT, Request
from varsr.upscaling.stream import UpscaleStream
from varsr.weights.checkpoint import read_config
from varsr.weights.engine import open_engine
from varsr.weights.presets import PresetTables, preset_tables
from varsr.weights.registry import default_model, model_label, require_task, wrong_task
from varsr.weights.store import resolve_model

T = TypeVar("T")


class Upscaler:
    """A loaded model that upscales images."""

    def __init__(self, engine: Engine, presets: Presets, label: str = "") -> None:
        self.engine = engine
        self.presets = presets
        self.label = label
        """Short name of the model, for the metadata of results."""

    @classmethod
    def from_pretrained(
        cls, model: str | None = None, *, device: str = "auto", dtype: DtypeName = "auto", compiled: bool = True
    ) -> Upscaler:
        """Load a model, downloading it where needed.

        Args:
            model: a name that `varsr models` lists, the path of a safetensors file or of a folder that holds one, or
                `hf:owner/name[@revision]`. None is the default: VARSR_MODEL, else the built-in model.
            device: auto, cpu, cuda, cuda:N or mps.
            dtype: auto, fp32, bf16, fp16, or int8 on a CPU.
            compiled: with CUDA, capture CUDA graphs as the model is used, about a second for each size of batch;
                without them it is slower.

        Raises:
            WeightsError: the model cannot be had.
            DeviceError: the device is not there.
            RequestError: the model makes images of classes.

        """
        name = model or default_model()
        require_task(name, "upscale")
        path = resolve_model(name, dtype)
        return cls._load(path, preset_tables(path, name), model_label(name), device, dtype, compiled)

    @classmethod
    def from_checkpoint(
        cls, path: Path, *, device: str = "auto", dtype: DtypeName = "auto", compiled: bool = True
    ) -> Upscaler:
        """Load a model from its safetensors file. Arguments and errors are those of `from_pretrained`."""
        return cls._load(path, preset_tables(path), path.stem, device, dtype, compiled)

    @classmethod
    def _load(
        cls, path: Path, tables: PresetTables, label: str, device: str, dtype: DtypeName, compiled: bool
    ) -> Upscaler:
        config = read_config(path)
        if config.classes is not None:
            raise wrong_task(path.name, "generate")
        return cls(open_engine(path, device, dtype, compiled), presets_of(tables, config, str(path)), label)

    def upscale(
        self, image: ImageT, scale: float = 4.0, options: Options = DEFAULTS, on_progress: OnProgress | None = None
    ) -> ImageT:
        """Upscale an image.

        EXIF orientation, colour profile, transparency and 16 bits are honoured as the command line does; the image
        comes out upright, and its `save` writes the profile and the metadata. To keep everything that a file holds,
        frames and pages too, use `varsr.upscale_file`.

        Args:
            image: a Pillow image; or an array (H, W), (H, W, 3) or (H, W, 4) of uint8, uint16 or of floats in [0, 1].
            scale: from 1 to 8, fractions too.
            options: see `Options`.
            on_progress: called with a `Progress` whenever more of the image is done.

        Returns:
            An image for an image, an array of the same type for an array, `scale` times as wide and high.

        Raises:
            RequestError: `image` is not an image, or a value does not suit it or the model.
            InputError: the image cannot be decoded.
            TooLittleMemoryError: the device has too little memory.
            ResultError: the model computed values that are not an image.

        """
        (result,) = self.upscale_many([Request(image, TargetSize(scale=scale), options, on_progress)])
        return cast("ImageT", result.image())

    @overload
    def upscale_many(self, requests: Iterable[Request | ImageLike]) -> UpscaleStream[NoReturn]: ...

    @overload
    def upscale_many(self, requests: Iterable[T]) -> UpscaleStream[T]: ...

    def upscale_many(self, requests: Iterable[Any]) -> UpscaleStream[Any]:
        """Upscale images one after the other; small ones share batches of tiles.

        On a CPU an image comes out the same to the bit whatever it shares batches with.

        Args:
            requests: `Request`s, or images as `upscale` takes them. One is pulled when its turn comes, and further ones
                while a batch has room. Anything else comes back in its place.

        Returns:
            An iterator of a `Result` for each image, in order. Take what you need of one before you ask for the next.

        """
        return UpscaleStream(self.engine, self.presets, requests)

    def upscale_photo(
        self,
        photo: Photo,
        size: Size | TargetSize,
        options: Options = DEFAULTS,
        on_progress: OnProgress | None = None,
    ) -> Photo:
        """Upscale a photo with all its frames, at a size or to one (height, width). Raises as `upscale` does."""
        results = self.upscale_many(Request(frame, size, options, on_progress) for frame in photo.frames)
        first, *others = [result.photo() for result in results]
        return replace(first, more_frames=tuple(others))

    @property
    def model(self) -> VARSR:
        """The model itself."""
        return self.engine.model

    @property
    def dtype(self) -> torch.dtype:
        """The type that is computed in."""
        return self.engine.precision.compute

    def settings(self, options: Options = DEFAULTS) -> Settings:
        """Resolve options with this model's presets. Raises `RequestError` for an impossible overlap."""
        return resolve(self.presets, options, self.model.config)

    def layout(self, size: Size, options: Options = DEFAULTS) -> Layout:
        """The tiles and windows of a result (height, width). Raises `RequestError` for an impossible overlap."""
        return layout_of(size, self.settings(options), self.model.config)


@dataclass(frozen=True)
class ModelChoice:
    """A model that is loaded when it is needed. Fields are the arguments of `Upscaler.from_pretrained`."""

    model: str | None = None
    device: str = "auto"
    dtype: DtypeName = "auto"
    compiled: bool = True

    @property
    def precision(self) -> Precision:
        """The types that it computes in. Raises `RequestError` and `DeviceError` for what this machine lacks."""
        return pick_precision(self.dtype, pick_device(self.device))

    def load(self) -> Upscaler:
        """Load it. Raises as `Upscaler.from_pretrained` does."""
        return Upscaler.from_pretrained(self.model, device=self.device, dtype=self.dtype, compiled=self.compiled)
