from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varsr.tiling.blend import gaussian_weights
from varsr.tiling.grid import Tile, least_side, padded_length, plan_tiles

sides = st.integers(1, 40)


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, int, int, int]:
    side = draw(sides)
    lengths = st.integers(side, side * 6)
    return draw(lengths), draw(lengths), side, draw(st.integers(0, side - 1))


@given(plans())
def test_tiles_cover_the_map_and_stay_inside(plan: tuple[int, int, int, int]) -> None:
    height, width, side, overlap = plan
    covered = np.zeros((height, width), int)
    for index, tile in enumerate(plan_tiles(height, width, side, overlap)):
        assert tile.index == index
        assert tile.side == side
        assert covered[tile.area].shape == (side, side)
        covered[tile.area] += 1
    assert covered.min() >= 1


@given(plans())
def test_neighbours_share_the_overlap_and_none_is_wasted(plan: tuple[int, int, int, int]) -> None:
    height, width, side, overlap = plan
    tops = sorted({tile.top for tile in plan_tiles(height, width, side, overlap)})
    assert all(0 < lower - upper <= side - overlap for upper, lower in pairwise(tops))
    fewest = 1 + -(-(height - side) // (side - overlap))
    assert len(tops) == fewest


@given(plans(), st.sets(sides, min_size=1))
def test_the_least_side_costs_no_more_than_any_other(plan: tuple[int, int, int, int], others: set[int]) -> None:
    height, width, side, overlap = plan
    possible = {side} | {other for other in others if overlap < other <= min(height, width)}

    def cells(side: int) -> int:
        return sum(tile.side**2 for tile in plan_tiles(height, width, side, overlap))

    assert cells(least_side(height, width, sorted(possible), overlap)) == min(map(cells, possible))


@pytest.mark.parametrize("wrong", [(3, 8, 4, 1), (8, 8, 4, 4), (8, 8, 4, -1)])
def test_impossible_plans_are_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no tiles"):
        plan_tiles(*wrong)


def test_weights_are_those_of_the_specification() -> None:
    weights = gaussian_weights(32)[..., 0]
    assert weights[15, 15] == weights.max()
    np.testing.assert_allclose(weights, weights[::-1, ::-1])
    distance = (0 - 15.5) ** 2 / (2 * 0.01 * 32**2)  # of the first row from the centre
    np.testing.assert_allclose(
        weights[0, 15] / weights[15, 15], np.exp(-distance + 0.5**2 / (2 * 0.01 * 32**2)), rtol=1e-5
    )


@given(st.integers(1, 5000), st.sampled_from([8, 16]), st.sampled_from([128, 512]))
def test_padded_lengths(length: int, stride: int, least: int) -> None:
    padded = padded_length(length, stride, least)
    assert padded >= max(length, least)
    assert padded % stride == 0
    assert padded == least or padded - length < stride


def test_a_tile_over_a_finer_map() -> None:
    assert Tile(5, 2, 3, 4).times(16) == Tile(5, 32, 48, 64)
