"""The generator: a loaded class-to-image model, and images made with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from varsr.choices import DtypeName
from varsr.errors import RequestError, ResultError, WeightsError
from varsr.generation.options import GenerationOptions, Wish
from varsr.images.exif import with_description
from varsr.images.metadata import Metadata
from varsr.images.photo import Photo
from varsr.images.pillow import image_of
from varsr.model.config import ModelConfig
from varsr.model.inference import DecodeConfig, InferenceConfig
from varsr.model.sampling import Sampling
from varsr.runtime.batch import ClassBatch
from varsr.runtime.engine import Engine
from varsr.runtime.memory import memory_errors
from varsr.tiling.array import FloatImage
from varsr.weights.checkpoint import read_config
from varsr.weights.engine import open_engine
from varsr.weights.presets import PresetTables, preset_tables
from varsr.weights.registry import require_task, wrong_task
from varsr.weights.store import resolve_model

DEFAULT_MODEL = "varsr-c2i"
DEFAULTS = GenerationOptions()


@dataclass(frozen=True)
class Generated:
    """An image that was made, (S, S, 3) in [0, 1]. `made_from` is all that is needed to make it again."""

    wish: Wish
    color: FloatImage
    made_from: Mapping[str, Any]

    def image(self) -> Image.Image:
        """The image with 8 bits a channel."""
        return image_of([self.color])

    def photo(self) -> Photo:
        """The image with its description in its EXIF."""
        return Photo(self.color, metadata=Metadata(exif=with_description(None, json.dumps(self.made_from))))


class Generator:
    """A loaded model that makes images of classes."""

    def __init__(self, engine: Engine, inference: InferenceConfig, name: str) -> None:
        self.engine = engine
        self.inference = inference
        self.name = name
        self.activity = ""
        """The step that was last done of the batch at work."""

    @classmethod
    def from_pretrained(
        cls,
        model: str = DEFAULT_MODEL,
        *,
        device: str = "auto",
        dtype: DtypeName = "auto",
        compiled: bool = True,
    ) -> Generator:
        """Load a model, downloading it where needed. Arguments are those of `Upscaler.from_pretrained`.

        Raises:
            WeightsError: the model cannot be had.
            DeviceError: the device is not there.
            RequestError: the model upscales images.

        """
        require_task(model, "generate")
        path = resolve_model(model, dtype)
        config = read_config(path)
        if config.classes is None:
            raise wrong_task(path.name, "upscale")
        inference = inference_of(preset_tables(path, model), config, path)
        return cls(open_engine(path, device, dtype, compiled), inference, model)

    @property
    def config(self) -> ModelConfig:
        """The model's architecture."""
        return self.engine.model.config

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.config.labels - 1

    def check(self, labels: Iterable[int]) -> None:
        """Raise `RequestError` for a class that the model has not."""
        for label in labels:
            if not 0 <= label < self.classes:
                raise RequestError(f"{self.name} has no class {label}.", f"Use 0 to {self.classes - 1}.")

    def generate(self, wishes: Iterable[Wish], options: GenerationOptions = DEFAULTS) -> Iterator[Generated]:
        """Make images in order, in batches.

        On a CPU an image comes out the same to the bit whatever it shares a batch with.

        Raises:
            RequestError: the model has no such class.
            TooLittleMemoryError: the device has too little memory.
            ResultError: the model computed values that are not an image.

        """
        waiting = iter(wishes)
        size = options.batch_size or self.engine.batch_size
        while batch := list(islice(waiting, size)):
            self.check(wish.label for wish in batch)
            with memory_errors(self.engine.device):
                colors = self._computed(batch, size, options)
            for wish, color in zip(batch, colors, strict=True):
                yield Generated(wish, color, self._made_from(wish, options))

    def _computed(self, batch: Sequence[Wish], size: int, options: GenerationOptions) -> Iterator[FloatImage]:
        """The colours of a batch, decoded one by one."""
        inference = self._settings(options)
        pending = self.engine.submit(ClassBatch([w.label for w in batch], [w.seed for w in batch], inference), size)
        for step in pending.steps():
            self.activity = step.activity
        side = self.config.tile_side
        nothing = np.full((1, side, side, 3), 0.5, np.float32)
        for latents in pending.latents():
            (color,) = self.engine.decode(latents[None], nothing, DecodeConfig())
            if not np.isfinite(color).all():
                raise ResultError("The model computed values that are not an image.", "Try `dtype` fp32.")
            yield color.clip(0, 1)

    def _settings(self, options: GenerationOptions) -> InferenceConfig:
        return replace(
            self.inference,
            guidance_scale=self.inference.guidance_scale if options.cfg is None else options.cfg,
            sampling=Sampling(options.top_k, options.top_p, options.temperature),
            corrector_steps=self.inference.corrector_steps if options.corrector else 0,
        )

    def _made_from(self, wish: Wish, options: GenerationOptions) -> dict[str, Any]:
        return {"model": self.name, "class": wish.label, "seed": wish.seed, **options.described()}


class GeneratorChoice:
    """A model that is loaded when it is needed. Arguments are those of `Generator.from_pretrained`."""

    def __init__(self, model: str, *, device: str, dtype: DtypeName, compiled: bool) -> None:
        self._arguments = {"device": device, "dtype": dtype, "compiled": compiled}
        self._model = model
        self._loaded: Generator | None = None

    def load(self) -> Generator:
        """Load it. Raises as `Generator.from_pretrained` does."""
        self._loaded = Generator.from_pretrained(self._model, **self._arguments)  # type: ignore[arg-type]
        return self._loaded

    @property
    def activity(self) -> str:
        """The step that was last done; nothing before the model is loaded."""
        return self._loaded.activity if self._loaded else ""


def inference_of(tables: PresetTables, config: ModelConfig, path: Path) -> InferenceConfig:
    """The inference defaults of a model: every scale is guided unless its preset says otherwise."""
    try:
        defaults: dict[str, Any] = {"guidance_scale": 4.0, "guided_scales": len(config.scales)}
        return InferenceConfig(**{**defaults, **tables.get("default", {})})
    except (TypeError, ValueError) as error:
        raise WeightsError(f"The presets of {path} cannot be used: {error}.", "Correct them there.") from error


def generate(
    label: int, count: int = 1, *, seed: int = 0, model: str = DEFAULT_MODEL, options: GenerationOptions = DEFAULTS
) -> list[Image.Image]:
    """Make images of a class, as `varsr generate` does.

    In a loop, load the model once: `generator = Generator.from_pretrained()`, then `generator.generate(wishes)`.

    Args:
        label: number of the class, from 0.
        count: number of images; the seed of each is one more than that of the one before.
        seed: seed of the first.
        model: name, path or `hf:owner/name` of a class-to-image model.
        options: see `GenerationOptions`.

    Raises:
        VarsrError: RequestError for wrong values and models, WeightsError, TooLittleMemoryError, ResultError.

    """
    if count < 1:
        raise RequestError(f"`count` cannot be {count}.", "Use 1 or more.")
    wishes = [Wish(label, seed + number) for number in range(count)]
    return [made.image() for made in Generator.from_pretrained(model).generate(wishes, options)]
