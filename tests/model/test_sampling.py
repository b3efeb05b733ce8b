from __future__ import annotations

import pytest
import torch

from varsr.model.sampling import ARGMAX, Sampling, TileNoise, choose

LOGITS = torch.tensor([[[0.0, 3.0, 1.0, 2.0]]]).expand(1, 4000, 4)


def frequencies(sampling: Sampling) -> list[float]:
    tokens = choose(LOGITS, sampling, TileNoise(0, [0]))
    return (tokens.flatten().bincount(minlength=4) / tokens.numel()).tolist()


def test_argmax() -> None:
    assert frequencies(ARGMAX) == [0, 1, 0, 0]


def test_all_tokens_are_drawn_by_their_probability() -> None:
    assert frequencies(Sampling(top_k=0)) == pytest.approx(LOGITS[0, 0].softmax(0).tolist(), abs=0.03)


def test_top_k_leaves_the_likeliest() -> None:
    expected = torch.tensor([3.0, 2.0]).softmax(0).tolist()
    assert frequencies(Sampling(top_k=2)) == pytest.approx([0, expected[0], 0, expected[1]], abs=0.03)


def test_top_p_keeps_the_fewest_tokens_that_reach_it() -> None:
    found = frequencies(Sampling(top_k=0, top_p=0.7))  # 0.64 alone does not reach 0.7, the next one does
    assert found[0] == found[2] == 0
    assert found[3] > 0.2


def test_low_temperature_sharpens() -> None:
    assert frequencies(Sampling(top_k=0, temperature=0.1))[1] > 0.99


def test_a_tiles_noise_does_not_depend_on_its_batch() -> None:
    together, alone = TileNoise(7, [3, 4, 5]), TileNoise(7, [4])
    for _ in range(2):
        assert torch.equal(together.normal(5, 2)[1], alone.normal(5, 2)[0])
        assert torch.equal(together.uniform(3)[1], alone.uniform(3)[0])


def test_tiles_and_seeds_differ() -> None:
    a, b, c = (TileNoise(seed, [tile]).normal(8) for seed, tile in ((0, 0), (0, 1), (1, 0)))
    assert not torch.equal(a, b)
    assert not torch.equal(a, c)
    assert not torch.equal(b, c)
