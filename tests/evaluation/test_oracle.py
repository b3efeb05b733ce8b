"""The linear filter of the report learns what is linear, and is not told what it is judged on."""

from __future__ import annotations

import numpy as np

from varsr.evaluation.oracle import linear_filter
from varsr.images.resize import resize
from varsr.tiling.array import FloatImage


def error(picture: FloatImage, truth: FloatImage) -> float:
    return float(np.square(picture - truth).mean())


def test_it_undoes_what_is_linear() -> None:
    coarse = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    sharp = resize(coarse, (256, 256)).clip(0, 1)
    low = ((coarse + np.roll(coarse, 1, 0)) / 2).astype(np.float32)
    assert error(linear_filter(low, sharp), sharp) < 0.5 * error(resize(low, (256, 256)), sharp)


def test_it_does_not_see_what_it_is_judged_on() -> None:
    rng = np.random.default_rng(1)
    low = rng.random((64, 64, 3), dtype=np.float32) * 0.5 + 0.25
    sharp = resize(low, (256, 256)) + rng.normal(0, 0.05, (256, 256, 3)).astype(np.float32)
    assert error(linear_filter(low, sharp), sharp) > 0.99 * error(resize(low, (256, 256)), sharp)
