"""One picture, larger and sharper: resize, tiles, model, blend, decode, colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from varsr.choices import ColorFix, DtypeName
from varsr.device import Precision, memory_errors, pick_device, pick_precision
from varsr.errors import RequestError
from varsr.imaging.color import fix_colors
from varsr.imaging.photo import Photo, from_image, to_image
from varsr.imaging.resize import Picture, resize
from varsr.imaging.size import TargetSize
from varsr.imaging.tiles import Blend, Tile, pad, padded_length, plan_tiles
from varsr.model.sampling import ARGMAX, Sampling, TileNoise
from varsr.model.varsr import VARSR
from varsr.weights.checkpoint import load_model
from varsr.weights.store import locate


@dataclass(frozen=True)
class Options:
    """How a picture is upscaled. Defaults are the model's own where a value is None.

    `cfg` is the strength of guidance, 0 for none. `overlap` is in latent cells. The result depends on `seed`
    where something is drawn: by the corrector, and by `sampling` unless its `top_k` is 1.
    """

    cfg: float | None = None
    seed: int = 0
    sampling: Sampling = ARGMAX
    corrector: bool = True
    color_fix: ColorFix | None = None
    overlap: int | None = None
    batch_size: int | None = None


@dataclass(frozen=True)
class Progress:
    """Steps done of a picture. A tile takes one for each scale, one for the corrector and one to be decoded."""

    done: int
    total: int
    tiles: int
    activity: str


OnProgress = Callable[[Progress], None]


class Upscaler:
    """A loaded model and what it does to a picture."""

    def __init__(self, model: VARSR, device: torch.device, precision: Precision) -> None:
        self.model = model
        self.device = device
        self.precision = precision

    @classmethod
    def from_pretrained(cls, model: str = "varsr", *, device: str = "auto", dtype: DtypeName = "auto") -> Upscaler:
        """Load a model by name, path or `hf:owner/name[@revision]`, downloading it where needed.

        `device` is auto, cpu, cuda, cuda:N or mps; `dtype` auto, fp32, bf16 or fp16. Raises `WeightsError` where
        the model cannot be had, `DeviceError` where the device is not there.
        """
        return cls.from_checkpoint(locate(model, dtype), device=device, dtype=dtype)

    @classmethod
    def from_checkpoint(cls, path: Path, *, device: str = "auto", dtype: DtypeName = "auto") -> Upscaler:
        """Load a model from its safetensors file."""
        place = pick_device(device)
        precision = pick_precision(dtype, place)
        with memory_errors(place):
            return cls(load_model(path, place, precision), place, precision)

    def upscale(
        self,
        image: Image.Image,
        scale: float = 4,
        options: Options = Options(),
        on_progress: OnProgress = lambda _: None,
    ) -> Image.Image:
        """A picture `scale` times as large, 1 to 8. Transparency and greyness stay."""
        photo = from_image(image)
        return to_image(self.upscale_photo(photo, TargetSize(scale=scale).of(photo.size), options, on_progress))

    def upscale_photo(
        self,
        photo: Photo,
        size: tuple[int, int],
        options: Options = Options(),
        on_progress: OnProgress = lambda _: None,
    ) -> Photo:
        """A photo restored at `size` (height, width).

        Raises `RequestError` where an option does not suit the model, `TooLittleMemoryError`.
        """
        fix = options.color_fix or self.default_color_fix
        with torch.inference_mode(), memory_errors(self.device):
            upsampled = resize(photo.color, size).clip(0, 1)
            restored = self._restore(upsampled, options, on_progress)
            return photo.with_color(fix_colors(restored, upsampled, fix).clip(0, 1))

    @property
    def default_color_fix(self) -> ColorFix:
        """None for a model that adds to its input; one that paints anew may shift its colours."""
        return "none" if self.model.config.tokenizer.residual else "adain"

    def _restore(self, upsampled: Picture, options: Options, on_progress: OnProgress) -> Picture:
        """The upsampled picture (H, W, 3) sharpened, same size."""
        config = self.model.config
        height, width = (padded_length(n, config.tokenizer.stride, config.tile_side) for n in upsampled.shape[:2])
        padded = pad(upsampled, height, width)
        tiles = self._plan(height, width, options)
        report = _Reporter(on_progress, len(tiles), len(config.scales) + 2)
        strength = options.cfg if options.cfg is not None else config.guidance.strength(len(tiles))

        latent = Blend(height // config.tokenizer.stride, width // config.tokenizer.stride, config.tokenizer.channels)
        for batch in _batches(tiles, options.batch_size or self.default_batch_size):
            for tile, values in zip(batch, self._restore_tiles(padded, batch, strength, options, report), strict=True):
                latent.add(tile, values)
        pixels = Blend(height, width, 3)
        for tile, values in self._decode_tiles(latent.result(), padded, tiles, report):
            pixels.add(tile, values)
        return pixels.result()[: upsampled.shape[0], : upsampled.shape[1]]

    def _plan(self, height: int, width: int, options: Options) -> list[Tile]:
        config = self.model.config
        overlap = config.default_overlap if options.overlap is None else options.overlap
        if not 0 <= overlap < config.latent_side:
            raise RequestError(
                f"Tiles of {config.latent_side} cells cannot overlap by {overlap}.",
                f"Use --tile-overlap 0 to {config.latent_side - 1}.",
            )
        stride = config.tokenizer.stride
        return plan_tiles(height // stride, width // stride, config.latent_side, overlap)

    @property
    def default_batch_size(self) -> int:
        """Tiles at a time: a CPU is busy with one, unless the model is small."""
        small = self.model.config.transformer.width <= 512
        return 8 if small or self.device.type == "cuda" else 1

    def _restore_tiles(
        self, padded: Picture, tiles: Sequence[Tile], strength: float, options: Options, report: _Reporter
    ) -> Picture:
        """Latents (T, P, P, Z) of some tiles."""
        noise = TileNoise(options.seed, [tile.index for tile in tiles])
        latents = self.model.restore(
            self._cut(padded, tiles),
            strength,
            options.sampling,
            noise,
            options.corrector,
            on_scale=lambda scale: report.step(len(tiles), f"scale {scale + 1} of {len(self.model.config.scales)}"),
        )
        report.step(len(tiles), "corrector")
        return _to_maps(latents)

    def _decode_tiles(
        self, latent: Picture, padded: Picture, tiles: Sequence[Tile], report: _Reporter
    ) -> Iterator[tuple[Tile, Picture]]:
        """The pixels [0, 1] of the blended latent, decoded tile by tile."""
        for tile in tiles:
            cells = torch.from_numpy(np.ascontiguousarray(latent[tile.area].transpose(2, 0, 1)))[None]
            decoded = self.model.decoder(cells.to(self.device, self.precision.compute), self._cut(padded, [tile]))
            report.step(1, "decoding")
            yield tile.times(self.model.config.tokenizer.stride), _to_maps((decoded.float() + 1) / 2)[0]

    def _cut(self, padded: Picture, tiles: Sequence[Tile]) -> Tensor:
        """Pixels of tiles (T, 3, S, S) in [-1, 1] on the device."""
        stride = self.model.config.tokenizer.stride
        pixels = np.stack([padded[tile.times(stride).area] for tile in tiles]).transpose(0, 3, 1, 2)
        return torch.from_numpy(pixels * 2 - 1).to(self.device, self.precision.compute)


class _Reporter:
    """Counts steps for whoever watches."""

    def __init__(self, on_progress: OnProgress, tiles: int, steps_per_tile: int) -> None:
        self._on_progress = on_progress
        self._state = Progress(0, tiles * steps_per_tile, tiles, "prefix")
        on_progress(self._state)

    def step(self, count: int, activity: str) -> None:
        self._state = replace(self._state, done=self._state.done + count, activity=activity)
        self._on_progress(self._state)


def _batches(tiles: Sequence[Tile], size: int) -> Iterator[list[Tile]]:
    rest = iter(tiles)
    while batch := list(islice(rest, size)):
        yield batch


def _to_maps(tensor: Tensor) -> Picture:
    """(T, C, H, W) -> (T, H, W, C) in float32 on the CPU."""
    maps: Picture = tensor.float().permute(0, 2, 3, 1).cpu().numpy()
    return maps
