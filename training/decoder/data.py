"""Photographs in memory, pairs of small and large crops, and a fixed validation set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from training.decoder.network import SCALE
from varsr.evaluation.degradation import (
    Draws,
    add_noise_of,
    degrade,
    eight_bits,
    jpeg,
    reduce,
)
from varsr.evaluation.metrics.fidelity import ssim_of_means
from varsr.evaluation.metrics.filters import gaussian_line

MARGIN = 4  # pixels around a small crop that degradation and enlargement see, as in a whole image
LARGEST_BLOCK = 16  # pixels along the side of a square that JPEG compresses together, with halved chroma
TEXTURE_SHARE = 0.3  # of the weight of a photograph, for surfaces photographed for games
USUAL_SHARE = 0.75
"""Of compressed crops, those with the noise and the quality that are most often met."""
GREY_SHARE = SHOT_SHARE = 0.1
"""Of compressed crops, those whose noise is grey, as of film, or grows with the root of the light.

The noise of a camera is coloured, and nearly even once the image has its gamma curve: with the root of the light the
deviation of photons grows and the slope of the curve falls.
"""
_LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)  # BT.601, 16 to 235


@dataclass(frozen=True)
class Mixture:
    """Shares of crops by how they are degraded; all others are degraded in many steps."""

    clean: float = 0.25
    """Only reduced."""
    compressed: float = 0.6
    """Reduced, grained and compressed, as the small copy of a good photograph on a web site is."""


class Photographs:
    """Images of some folders as uint8 on a device, each also at half its size, drawn by the root of their areas."""

    def __init__(
        self,
        folders: Sequence[Path],
        smallest: int,
        device: torch.device,
        seed: int,
        mixture: Mixture = Mixture(),
    ) -> None:
        files = sorted(file for folder in folders for file in folder.iterdir() if file.suffix in (".png", ".avif"))
        self.draws = Draws.seeded(seed, device)
        self.mixture = mixture
        self.images: list[Tensor] = []
        self.weights: list[float] = []
        with ProcessPoolExecutor() as pool:
            for file, sizes in zip(files, pool.map(_read, files, chunksize=4), strict=True):
                share = TEXTURE_SHARE if "supertux" in file.name else 1.0
                for pixels in sizes:
                    if min(pixels.shape[:2]) >= smallest:
                        self.images.append(torch.from_numpy(pixels).permute(2, 0, 1).contiguous().to(device))
                        self.weights.append(share * float(np.sqrt(pixels.shape[0] * pixels.shape[1])))
        if not self.images:
            raise FileNotFoundError(f"no photographs in {folders}: run python -m training.photographs")

    def crops(self, count: int, side: int) -> Tensor:
        """(count, 3, side, side) float32 in [0, 1], turned and mirrored at random."""
        crops, rng = [], self.draws.batch
        for image in rng.choices(self.images, self.weights, k=count):
            top, left = (rng.randrange(length - side + 1) for length in image.shape[1:])
            crop = torch.rot90(image[:, top : top + side, left : left + side], rng.randrange(4), (1, 2))
            crops.append(crop.flip(2) if rng.random() < 0.5 else crop)
        return torch.stack(crops).float() / 255

    def pairs(self, count: int, side: int) -> tuple[Tensor, Tensor]:
        """Small (count, 3, side, side) and large crops (count, 3, 4 side, 4 side), degraded from mild to strong."""
        small, large, _ = self.described_pairs(count, side)
        return small, large

    def described_pairs(self, count: int, side: int) -> tuple[Tensor, Tensor, Described]:
        """Small and large crops as `pairs`, and how the small ones were compressed."""
        return self._pairs(count, side, *(self.draws.uniform(count) for _ in range(3)))

    def alike_pairs(self, count: int, side: int) -> tuple[Tensor, Tensor]:
        """Small and large crops as `pairs`, but degraded so much alike that the same weights suit all of them."""
        small, large, _ = self._pairs(count, side, *(self.draws.uniform(1).expand(count) for _ in range(3)))
        return small, large

    def _pairs(
        self, count: int, side: int, amount: Tensor, kind: Tensor, usual: Tensor
    ) -> tuple[Tensor, Tensor, Described]:
        """By numbers in [0, 1] (count) of how much, of what kind and how usual the degradation is."""
        large, strength = self.crops(count, SCALE * (side + 2 * MARGIN)), amount**0.65
        is_degraded = kind >= self.mixture.clean + self.mixture.compressed
        is_compressed = (kind >= self.mixture.clean) & ~is_degraded
        small, large = cropped_pair(large, strength, ~is_degraded, self.draws)
        compression = Compression.drawn(strength, usual < USUAL_SHARE, self.draws)
        if is_compressed.any():
            small[is_compressed] = compression.some(is_compressed).of(small[is_compressed], self.draws)
        return small, large, Described(compression.described() * is_compressed[:, None], ~is_degraded)


class Validation:
    """Clean, degraded and compressed pairs of photographs kept out of training, the same every time."""

    def __init__(self, folders: Sequence[Path], device: torch.device, count: int = 32, side: int = 48) -> None:
        cpu, whole = torch.device("cpu"), SCALE * (side + 2 * MARGIN)
        photographs = Photographs(folders, whole, cpu, seed=7)
        large, strength = photographs.crops(count, whole), torch.full((count,), 0.6)
        clean = cropped_pair(large, strength, torch.full((count,), True), photographs.draws)
        degraded = cropped_pair(large, strength, torch.full((count,), False), photographs.draws)
        compressed = Compression.by_strength(strength, photographs.draws).of(clean[0], photographs.draws), clean[1]
        self.pairs = {
            name: tuple(values.to(device) for values in pair)
            for name, pair in (("clean", clean), ("degraded", degraded), ("compressed", compressed))
        }

    @torch.inference_mode()
    def gain(self, restore: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """By how many dB of PSNR-Y what `restore` makes of enlarged inputs is above them, in the mean."""
        gains = {}
        for name, (small, large) in self.pairs.items():
            enlarged = enlarge(small)
            restored = torch.cat([restore(chunk) for chunk in enlarged.split(8)]).float().clamp(0, 1)
            gains[name] = float((psnr_y(restored, large) - psnr_y(enlarged, large)).mean())
        return gains


def enlarge(small: Tensor) -> Tensor:
    """(B, 3, h, w) -> (B, 3, 4h, 4w) by bicubic interpolation as Pillow's (a = -0.5)."""
    return F.interpolate(small, scale_factor=SCALE, mode="bicubic", antialias=True).clamp(0, 1)


def psnr_y(x: Tensor, reference: Tensor) -> Tensor:
    """Per image (B), in dB, on the Y of BT.601."""
    luma = torch.tensor(_LUMA, device=x.device).view(1, 3, 1, 1)
    return -10 * torch.log10((((x - reference) * luma).sum(1) ** 2).mean((1, 2)))


def pixel_loss(x: Tensor, target: Tensor) -> Tensor:
    """Per image (B): L1 of the pixels and a tenth of the L1 of the spectrum."""
    spectra = [torch.view_as_real(torch.fft.rfft2(values, norm="ortho")) for values in (x, target)]
    return (x - target).abs().mean((1, 2, 3)) + 0.1 * (spectra[0] - spectra[1]).abs().mean((1, 2, 3, 4))


def structure_loss(x: Tensor, target: Tensor) -> Tensor:
    """Per image (B): 1 - SSIM of the Y of BT.601 (Wang et al. 2004), for square images."""
    luma = torch.tensor(_LUMA, device=x.device).view(1, 3, 1, 1)
    a, b = ((image * luma).sum(1) + 16 / 255 for image in (x, target))
    window = _window_matrix(x.shape[-1]).to(x)
    means = window @ torch.stack((a, b, a * a, b * b, a * b)) @ window.T
    return 1 - ssim_of_means(*means, peak=1).mean((1, 2))


@lru_cache
def _window_matrix(side: int) -> Tensor:
    """SSIM's window at each place of a line (side - 10, side): as a product faster than a convolution on a CPU."""
    line = gaussian_line(11, 1.5).float()
    return torch.stack([F.pad(line, (start, side - 11 - start)) for start in range(side - 10)])


@dataclass(frozen=True)
class Compression:
    """Noise and JPEG of small images (B) alone, as on a web site."""

    deviation: Tensor
    """Standard deviation of the noise (B), in [0, 1]."""
    quality: Tensor
    """Of JPEG (B), in [1, 100]."""

    @classmethod
    def by_strength(cls, strength: Tensor, draws: Draws) -> Compression:
        """With `strength` (B) in [0, 1] the noise grows and the quality falls."""
        count = len(strength)
        lowest, highest = 95 - 65 * strength, 97 - 30 * strength
        deviation = strength * draws.uniform(count, 0.2, 1) * 15 / 255
        return cls(deviation, lowest + (highest - lowest) * draws.uniform(count))

    @classmethod
    def drawn(cls, strength: Tensor, is_usual: Tensor, draws: Draws) -> Compression:
        """With the noise and the quality that are most often met where that `is_usual` (B), else by the strength."""
        count, by_strength = len(strength), cls.by_strength(strength, draws)
        return cls(
            torch.where(is_usual, _middling(draws, count, 4, 12) / 255, by_strength.deviation),
            torch.where(is_usual, _middling(draws, count, 35, 65), by_strength.quality),
        )

    def some(self, chosen: Tensor) -> Compression:
        """That of the chosen images (B)."""
        return Compression(self.deviation[chosen], self.quality[chosen])

    def described(self) -> Tensor:
        """As the values (B, 3) of `Described`."""
        noise, loss = self.deviation * 255 / 8, (100 - self.quality) / 50
        return torch.stack([torch.ones_like(noise), noise, loss], dim=1)

    def of(self, small: Tensor, draws: Draws) -> Tensor:
        """Small images (B, 3, h, w) with this noise and JPEG, whose blocks begin anywhere, as in a cropped image."""
        top, left = draws.batch.randrange(LARGEST_BLOCK), draws.batch.randrange(LARGEST_BLOCK)
        noisy = add_noise_of(small, self.deviation, draws, GREY_SHARE, SHOT_SHARE)
        grained = F.pad(noisy, (left, 0, top, 0), mode="replicate")
        return eight_bits(jpeg(eight_bits(grained), self.quality, draws)[:, :, top:, left:])


@dataclass(frozen=True)
class Described:
    """The targets of an estimator for small images (B)."""

    values: Tensor
    """Of about 0 to 1 (B, 3): compressed or not, the noise, the compression; 0 for images that are only reduced."""
    is_known: Tensor
    """False (B) for images that were degraded in many steps: no 3 values describe these."""

    def error(self, estimates: Tensor) -> Tensor:
        """The mean square of what estimates (B, 3) of the known images err by."""
        squares = (estimates - self.values).square().mean(1)
        return (squares * self.is_known).sum() / self.is_known.sum().clamp(min=1)


def _middling(draws: Draws, count: int, low: float, high: float) -> Tensor:
    """Numbers (count) from `low` to `high`, more of them the nearer to the middle."""
    return (draws.uniform(count, low, high) + draws.uniform(count, low, high)) / 2


def _read(file: Path) -> list[NDArray[np.uint8]]:
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    return [np.array(image), np.array(half)]


def cropped_pair(large: Tensor, strength: Tensor, clean: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Small and large images without the margin that degradation sees. Where `clean` (B), images are reduced alone."""
    size = (large.shape[-1] // SCALE,) * 2
    small, is_degraded = reduce(large, size), ~clean
    if is_degraded.any():
        small[is_degraded] = degrade(large[is_degraded], size, strength[is_degraded], draws)
    inner, large_inner = slice(MARGIN, -MARGIN), slice(SCALE * MARGIN, -SCALE * MARGIN)
    return small[:, :, inner, inner].contiguous(), large[:, :, large_inner, large_inner].contiguous()
