"""Flicker: how steady a still scene with noise comes out, and how many tiles are computed.

    python -m benchmarks.flicker [CLIP] [--scale 2] [--model mini]

Upscales a clip twice, as usual and with every frame computed by itself, and compares both with the input: the mean
absolute difference of consecutive frames, in steps of 255, over blocks in which the input moves nowhere. Without a clip
some are made of the example photograph, with a sensor's noise, as H.264; in the last a patch moves.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from einops import reduce
from numpy.typing import NDArray
from PIL import Image

from varsr import Upscaler, VideoOptions, upscale_file

BLOCK = 8
STILL = 3.0
"""Steps of 255 by which a block may differ from its first frame to count as still."""
PHOTO = Path(__file__).parents[1] / "examples/photo.jpg"


def main() -> None:
    """Print flicker and tiles of the input and both results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--model")
    options = parser.parse_args()
    upscaler = Upscaler.from_pretrained(options.model)
    with tempfile.TemporaryDirectory() as folder:
        for clip in [options.clip] if options.clip else examples(Path(folder)):
            measure(clip, Path(folder), upscaler, options.scale)


def measure(clip: Path, folder: Path, upscaler: Upscaler, scale: float) -> None:
    """Print the figures of a clip."""
    still = still_blocks(clip)
    print(f"{clip.name}: {still.mean():.0%} of the blocks are still")
    print(f"{'input':16} flicker {flicker(clip, still):.3f}")
    for name, reuse in (("as usual", True), ("frame by frame", False)):
        target = folder / f"{clip.stem}, {name}.mkv"
        made = upscale_file(clip, target, upscaler, scale=scale, video=VideoOptions(codec="ffv1", reuse=reuse))
        print(f"{name:16} flicker {flicker(target, still):.3f}, {made.tiles} tiles, {made.seconds:.0f} s")


def examples(folder: Path) -> list[Path]:
    """Clips with less and more noise, and one in which something moves."""
    return [
        example(folder / "noise 2, crf 23.mp4", 2, 23),
        example(folder / "noise 2, crf 16.mp4", 2, 16),
        example(folder / "noise 4, crf 16.mp4", 4, 16),
        example(folder / "noise 2, crf 16, a patch moves.mp4", 2, 16, moves=True),
    ]


def example(path: Path, noise: float, crf: int, moves: bool = False, count: int = 24) -> Path:
    """A still scene of 320 x 240 px with noise of a standard deviation, as H.264."""
    rng = np.random.default_rng(0)
    with Image.open(PHOTO) as photo:
        scene = np.asarray(photo.convert("RGB").resize((320, 240)), np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf)})
        stream.height, stream.width, stream.pix_fmt = *scene.shape[:2], "yuv420p"
        for number in range(count):
            image = scene + rng.normal(0, noise, scene.shape)
            if moves:
                image[16:40, 16 + 4 * number : 40 + 4 * number] = (200, 60, 40)
            frame = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frames(path: Path) -> Iterator[NDArray[np.float32]]:
    """The luma of each frame, (H, W), in steps of 255."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="gray").astype(np.float32)


def still_blocks(path: Path) -> NDArray[np.bool_]:
    """Blocks (H / 8, W / 8) in which no frame moves away from the first."""
    first, *others = frames(path)
    still = np.ones(tuple(length // BLOCK for length in first.shape), np.bool_)
    for frame in others:
        still &= _blocks(np.abs(frame - first), still.shape) < STILL
    return still


def flicker(path: Path, still: NDArray[np.bool_]) -> float:
    """Mean absolute difference of consecutive frames in still blocks."""
    return float(np.mean([_blocks(np.abs(b - a), still.shape)[still].mean() for a, b in pairwise(frames(path))]))


def _blocks(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The means of as many blocks as `shape` says."""
    high, wide = (length // count for length, count in zip(values.shape, shape, strict=True))
    cut = values[: shape[0] * high, : shape[1] * wide]
    means: NDArray[np.float32] = reduce(cut, "(h a) (w b) -> h w", "mean", a=high, b=wide)
    return means


if __name__ == "__main__":
    main()
