"""Token pruning: the tokens that are computed are the exact ones, and those left out add nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from varsr.model.inference import InferenceConfig
from varsr.model.pruning import gather, scatter
from varsr.model.sampling import TileNoise
from varsr.model.varsr import VARSR, Prediction

NEARLY_ALL = 0.99999  # of the tokens, rounded up: all of them, though by the other path


@pytest.fixture(scope="module")
def tiles(tiny_model: VARSR) -> Tensor:
    side = tiny_model.config.tile_side
    coarse = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(-1, 1)


def settings(**values: Any) -> InferenceConfig:
    return InferenceConfig(**({"guidance_scale": 3.0} | values))


def predicted(model: VARSR, tiles: Tensor, **values: Any) -> list[Prediction]:
    noise = TileNoise(0, range(len(tiles)))
    with torch.inference_mode():
        return list(model.predict(model.conditions_of_tiles(tiles), settings(**values), noise))


@pytest.fixture(scope="module")
def exact(tiny_model: VARSR, tiles: Tensor) -> list[Prediction]:
    return predicted(tiny_model, tiles)


@pytest.mark.parametrize("name", ["keep_ratio", "guided_tokens"])
def test_all_tokens_by_the_short_way_are_the_exact_ones(
    tiny_model: VARSR, tiles: Tensor, exact: list[Prediction], name: str
) -> None:
    for found, expected in zip(predicted(tiny_model, tiles, **{name: NEARLY_ALL}), exact, strict=True):
        assert torch.equal(found.tokens, expected.tokens)
        torch.testing.assert_close(found.latent, expected.latent)


def test_only_the_last_two_scales_are_thinned(tiny_model: VARSR, tiles: Tensor, exact: list[Prediction]) -> None:
    found = predicted(tiny_model, tiles, keep_ratio=0.4)
    for mine, expected in zip(found[:-2], exact[:-2], strict=True):
        assert mine.selection.positions is None
        assert torch.equal(mine.tokens, expected.tokens)
    for mine, expected in zip(found[-2:], exact[-2:], strict=True):
        assert mine.selection.positions is not None
        assert mine.tokens.shape[1] == mine.selection.positions.shape[1] == -(-expected.tokens.shape[1] * 4 // 10)
        assert (mine.selection.positions.diff(dim=1) > 0).all()


def test_tokens_left_out_leave_the_latent_as_it_is(tiny_model: VARSR, tiles: Tensor) -> None:
    *_, before, last = predicted(tiny_model, tiles, keep_ratio=0.3)
    noise = TileNoise(0, range(len(tiles)))
    with torch.inference_mode():
        corrected = tiny_model.correct(last, settings(keep_ratio=0.3), noise)
    assert last.selection.positions is not None
    computed = scatter(
        torch.ones(*last.selection.positions.shape, 1), last.selection.positions, last.latent[0, 0].numel()
    ).bool()
    changed = (corrected != before.latent).any(1).flatten(1)[..., None]
    assert torch.equal(changed, computed)


def test_guidance_asks_where_the_labels_differ(tiny_model: VARSR, tiles: Tensor, exact: list[Prediction]) -> None:
    """Half of the tokens come as under guidance, the others as without it."""
    *_, last = predicted(tiny_model, tiles, guided_tokens=0.5)
    positive, negative = last.hidden
    agree = (positive == negative).all(-1)
    assert agree.float().mean() == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(positive, exact[-1].hidden[0])


def test_guidance_can_begin_late(tiny_model: VARSR, tiles: Tensor, exact: list[Prediction]) -> None:
    """Until then it is as if there were none; then both labels go on from what the positive one has seen."""
    count = len(tiny_model.config.scales)
    late = predicted(tiny_model, tiles, guided_scales=3)
    never = predicted(tiny_model, tiles, guidance_scale=0.0)
    for mine, expected in zip(late[: count - 3], never, strict=False):
        assert len(mine.hidden) == 1
        assert torch.equal(mine.latent, expected.latent)
    for mine in late[count - 3 :]:
        positive, negative = mine.hidden
        assert not torch.equal(positive, negative)
    torch.testing.assert_close(late[count - 3].hidden[:1], never[count - 3].hidden)
    for mine, expected in zip(predicted(tiny_model, tiles, guided_scales=count), exact, strict=True):
        assert torch.equal(mine.latent, expected.latent)


@pytest.mark.parametrize(
    "impossible",
    [{"keep_ratio": 0}, {"guided_tokens": 1.5}, {"guided_scales": 1}, {"corrector_steps": 1}, {"fidelity": 2}],
)
def test_impossible_values_are_refused(impossible: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(impossible))):
        InferenceConfig(**impossible)  # type: ignore[arg-type]


def test_a_tile_does_not_depend_on_its_neighbours(tiny_model: VARSR, tiles: Tensor) -> None:
    fast = {"keep_ratio": 0.4, "guided_tokens": 0.5, "guided_scales": 2}
    *_, both = predicted(tiny_model, tiles, **fast)
    *_, alone = predicted(tiny_model, tiles[:1], **fast)
    torch.testing.assert_close(both.latent[:1], alone.latent, atol=1e-4, rtol=1e-4)


def test_the_corrector_takes_the_steps_it_is_told(tiny_model: VARSR, exact: list[Prediction]) -> None:
    draws = []
    z = tiny_model.corrector_condition(exact[-1])

    def noise(number: int) -> Tensor:
        draws.append(number)
        return torch.zeros(2, z.shape[2], tiny_model.config.tokenizer.channels)

    with torch.inference_mode():
        tiny_model.corrector.sample(z, 1.0, noise, steps=4, gain=1.0)
    assert draws == [0, 1, 2, 3]


@given(st.integers(1, 3), st.integers(1, 20), st.data())
def test_put_is_the_reverse_of_gather(tiles: int, length: int, data: st.DataObject) -> None:
    tokens = torch.randn(tiles, length, 2)
    count = data.draw(st.integers(1, length))
    places = torch.stack([torch.randperm(length)[:count].sort().values for _ in range(tiles)])
    back = scatter(gather(tokens, places), places, length)
    computed = scatter(torch.ones(tiles, count, 1), places, length)
    assert torch.equal(back, tokens * computed)
