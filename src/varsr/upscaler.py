"""One picture, larger and sharper: resize, tiles, model, blend, decode, colour."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from varsr.choices import ColorFix, DtypeName
from varsr.device import Precision, is_about_memory, memory_errors, pick_device, pick_precision
from varsr.errors import RequestError
from varsr.imaging.bands import BandBlend, Enlarged
from varsr.imaging.color import fixed_bands
from varsr.imaging.photo import Photo, from_image, to_image
from varsr.imaging.resize import Picture
from varsr.imaging.size import Size, TargetSize
from varsr.imaging.tiles import Tile, padded_length, plan_tiles
from varsr.model.sampling import ARGMAX, Sampling, TileNoise
from varsr.model.varsr import VARSR
from varsr.weights.checkpoint import load_model
from varsr.weights.store import locate


@dataclass(frozen=True)
class Options:
    """How a picture is upscaled. Defaults are the model's own where a value is None; `fidelity` overrules `sampling`'s.

    `cfg` is the strength of guidance, 0 for none. `overlap` is in latent cells. The result depends on `seed`
    where something is drawn: by the corrector, and by `sampling` unless its `top_k` is 1.
    """

    cfg: float | None = None
    seed: int = 0
    sampling: Sampling = ARGMAX
    fidelity: float | None = None
    corrector: bool = True
    color_fix: ColorFix | None = None
    overlap: int | None = None
    batch_size: int | None = None


DEFAULTS = Options()


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
        options: Options = DEFAULTS,
        on_progress: OnProgress = lambda _: None,
    ) -> Image.Image:
        """A picture `scale` times as large, 1 to 8. Transparency and greyness stay."""
        photo = from_image(image)
        return to_image(self.upscale_photo(photo, TargetSize(scale=scale).of(photo.size), options, on_progress))

    def upscale_photo(
        self, photo: Photo, size: Size, options: Options = DEFAULTS, on_progress: OnProgress = lambda _: None
    ) -> Photo:
        """A photo restored at `size` (height, width).

        Raises `RequestError` where an option does not suit the model, `TooLittleMemoryError`.
        """
        with memory_errors(self.device):
            return photo.restored(np.concatenate(list(self.bands(photo, size, options, on_progress))))

    def bands(
        self, photo: Photo, size: Size, options: Options = DEFAULTS, on_progress: OnProgress = lambda _: None
    ) -> Iterator[Picture]:
        """The colour of the restored photo in bands of rows from top to bottom, each (rows, W, 3) in [0, 1].

        Only a few rows of tiles are in memory at a time. Raises as `upscale_photo` does.
        """
        config = self.model.config
        height, width = (padded_length(n, config.tokenizer.stride, config.tile_side) for n in size)
        source = Enlarged(photo.color, size, (height, width))
        tiles = self._plan(height, width, options)
        report = _Reporter(on_progress, len(tiles), len(config.scales) + 2)
        with memory_errors(self.device):
            restored = self._restored(source, tiles, width, options, report)
            fixed = fixed_bands(restored, source.inside, options.color_fix or self.default_color_fix)
            yield from (band.clip(0, 1) for band in fixed)

    @property
    def default_color_fix(self) -> ColorFix:
        """None for a model that adds to its input; one that paints anew may shift its colours."""
        return "none" if self.model.config.tokenizer.residual else "adain"

    def _restored(
        self, source: Enlarged, tiles: Sequence[Tile], width: int, options: Options, report: _Reporter
    ) -> Iterator[Picture]:
        """Restore, blend and decode row of tiles by row of tiles, and yield pixels as they are finished."""
        config = self.model.config
        stride, (height, inner_width) = config.tokenizer.stride, source.size
        fidelity = config.fidelity if options.fidelity is None else options.fidelity
        options = replace(options, sampling=replace(options.sampling, fidelity=fidelity))
        strength = options.cfg if options.cfg is not None else config.guidance.strength(len(tiles))
        latent = BandBlend(width // stride, config.tokenizer.channels)
        pixels = BandBlend(width, 3)
        bottom = tiles[-1].top + tiles[-1].side
        undecoded = deque(list(row) for _, row in groupby(tiles, key=lambda tile: tile.top))
        done = finished = 0
        for batch in _batches(tiles, options.batch_size or self.default_batch_size):
            for tile, values in zip(batch, self._latents(source, batch, strength, options, report), strict=True):
                latent.add(tile, values)
            done += len(batch)
            final = tiles[done].top if done < len(tiles) else bottom  # no further tile touches rows above it
            while undecoded and undecoded[0][0].top + config.latent_side <= final:
                self._decode(latent, source, undecoded.popleft(), pixels, report)
                final_pixels = min((undecoded[0][0].top if undecoded else bottom) * stride, height)
                yield pixels.rows(finished, final_pixels)[:, :inner_width]
                finished = final_pixels
                if undecoded:
                    latent.drop(undecoded[0][0].top)
                    pixels.drop(finished)

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

    @torch.inference_mode()
    def _latents(
        self, source: Enlarged, tiles: Sequence[Tile], strength: float, options: Options, report: _Reporter
    ) -> Picture:
        """Latents (T, P, P, Z) of some tiles; where memory does not suffice for all at a time, of half and half."""
        before = report.state
        try:
            return self._latents_at_once(source, tiles, strength, options, report)
        except (RuntimeError, MemoryError) as error:
            if len(tiles) == 1 or not is_about_memory(error):
                raise
        report.state = before
        middle = len(tiles) // 2
        halves = [self._latents(source, part, strength, options, report) for part in (tiles[:middle], tiles[middle:])]
        return np.concatenate(halves)

    def _latents_at_once(
        self, source: Enlarged, tiles: Sequence[Tile], strength: float, options: Options, report: _Reporter
    ) -> Picture:
        noise = TileNoise(options.seed, [tile.index for tile in tiles])
        latents = self.model.restore(
            self._cut(source, tiles),
            strength,
            options.sampling,
            noise,
            options.corrector,
            on_scale=lambda scale: report.step(len(tiles), f"scale {scale + 1} of {len(self.model.config.scales)}"),
        )
        report.step(len(tiles), "corrector")
        return _to_maps(latents)

    @torch.inference_mode()
    def _decode(
        self, latent: BandBlend, source: Enlarged, row: Sequence[Tile], pixels: BandBlend, report: _Reporter
    ) -> None:
        """Decode a row of tiles from the blended latent and blend their pixels [0, 1]."""
        band = latent.rows(row[0].top, row[0].top + row[0].side)
        for batch in _batches(row, self.default_batch_size):
            windows = np.stack([band[:, tile.area[1]] for tile in batch]).transpose(0, 3, 1, 2)
            cells = torch.from_numpy(np.ascontiguousarray(windows)).to(self.device, self.precision.compute)
            decoded = _to_maps(self.model.decoder(cells, self._cut(source, batch)))
            for tile, values in zip(batch, decoded, strict=True):
                pixels.add(tile.times(self.model.config.tokenizer.stride), (values + 1) / 2)
            report.step(len(batch), "decoding")

    def _cut(self, source: Enlarged, tiles: Sequence[Tile]) -> Tensor:
        """Pixels of tiles (T, 3, S, S) in [-1, 1] on the device."""
        places = [tile.times(self.model.config.tokenizer.stride) for tile in tiles]
        bands = {place.top: source.band(place.top, place.top + place.side) for place in places}
        pixels = np.stack([bands[place.top][:, place.area[1]] for place in places]).transpose(0, 3, 1, 2)
        return torch.from_numpy(pixels * 2 - 1).to(self.device, self.precision.compute)


class _Reporter:
    """Counts steps for whoever watches."""

    def __init__(self, on_progress: OnProgress, tiles: int, steps_per_tile: int) -> None:
        self._on_progress = on_progress
        self.state = Progress(0, tiles * steps_per_tile, tiles, "prefix")
        on_progress(self.state)

    def step(self, count: int, activity: str) -> None:
        self.state = replace(self.state, done=self.state.done + count, activity=activity)
        self._on_progress(self.state)


def _batches(tiles: Sequence[Tile], size: int) -> Iterator[list[Tile]]:
    rest = iter(tiles)
    while batch := list(islice(rest, size)):
        yield batch


def _to_maps(tensor: Tensor) -> Picture:
    """(T, C, H, W) -> (T, H, W, C) in float32 on the CPU."""
    maps: Picture = tensor.float().permute(0, 2, 3, 1).cpu().numpy()
    return maps
