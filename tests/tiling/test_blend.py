from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.tiling.test_grid import plans
from varsr.images.enlarge import Enlarged
from varsr.images.resize import enlarged_rows, resize
from varsr.tiling.blend import BandBlend
from varsr.tiling.grid import plan_tiles

lengths = st.integers(1, 24)


@given(plans(), st.integers(0, 2**32 - 1))
def test_blending_pieces_of_a_map_gives_the_map(plan: tuple[int, int, int, int], seed: int) -> None:
    height, width, side, overlap = plan
    whole = np.random.default_rng(seed).random((height, width, 2), np.float32)
    blend = BandBlend(width, 2)
    tiles = plan_tiles(height, width, side, overlap)
    taken, finished = [], 0
    for tile, following in zip(tiles, [*tiles[1:], None], strict=True):
        blend.add(tile, whole[tile.area])
        final = following.top if following else height
        if final > finished:
            taken.append(blend.rows(finished, final))
            blend.drop(final)
            finished = final
    np.testing.assert_allclose(np.concatenate(taken), whole, atol=1e-5)


@given(lengths, lengths, st.floats(1, 8), st.data())
def test_rows_of_an_enlarged_image_are_those_of_the_whole(
    height: int, width: int, scale: float, data: st.DataObject
) -> None:
    image = np.random.default_rng(height * 25 + width).random((height, width, 3), np.float32)
    size = round(height * scale), round(width * scale)
    top = data.draw(st.integers(0, size[0] - 1))
    bottom = data.draw(st.integers(top + 1, size[0]))
    np.testing.assert_allclose(enlarged_rows(image, size, top, bottom), resize(image, size)[top:bottom], atol=1e-5)


@given(lengths, lengths, st.integers(0, 70), st.integers(0, 70), st.data())
def test_what_is_missing_of_a_tile_is_a_reflection(
    height: int, width: int, below: int, right: int, data: st.DataObject
) -> None:
    image = np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width, 1)
    padded = np.pad(image, ((0, below), (0, right), (0, 0)), mode="reflect")
    top = data.draw(st.integers(0, height + below - 1))
    bottom = data.draw(st.integers(top + 1, height + below))
    source = Enlarged(image, (height, width), (height + below, width + right))
    np.testing.assert_array_equal(source.band(top, bottom), padded[top:bottom])
