from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.golden import DATA
from varsr.images.resize import resize

lengths = st.integers(1, 60)


@given(lengths, lengths, lengths, lengths, st.floats(0, 1, width=32))
@settings(max_examples=50)
def test_a_flat_image_stays_flat(height: int, width: int, taller: int, wider: int, value: float) -> None:
    resized = resize(np.full((height, width, 3), value, np.float32), (taller, wider))
    assert resized.shape == (taller, wider, 3)
    np.testing.assert_allclose(resized, value, atol=1e-5)


def test_it_is_pillows_bicubic_without_its_rounding() -> None:
    with Image.open(DATA / "dandelion.jpg") as image:
        pillow = np.asarray(image.resize((611, 345), Image.Resampling.BICUBIC), dtype=np.float32)
        ours = resize(np.asarray(image, dtype=np.float32) / np.float32(255), (345, 611)).clip(0, 1) * 255
    # In bytes Pillow also clips what overshoots after the first of its two passes.
    assert np.quantile(np.abs(ours - pillow), 0.999) <= 1


def test_the_same_size_is_the_same_image() -> None:
    image = np.random.default_rng(0).random((7, 5, 3), np.float32)
    assert resize(image, (7, 5)) is image
