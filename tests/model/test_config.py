from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.nano import MINI_LIKE, NANO
from varsr.model.config import ConfigError, ModelConfig


@pytest.mark.parametrize("config", [NANO, MINI_LIKE])
def test_json_round_trip(config: ModelConfig) -> None:
    assert ModelConfig.from_json(config.to_json()) == config


def test_sizes_follow_from_the_parts() -> None:
    assert (NANO.tile_side, NANO.latent_side, NANO.prefix_side, NANO.stage_lengths) == (32, 4, 4, (17, 4, 16))
    assert MINI_LIKE.tile_side == 32


def edited(**changes: object) -> str:
    return json.dumps(json.loads(NANO.to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        (edited(novelty=1), "unknown fields: novelty"),
        (edited(prefix={}), "lacks fields: widths"),
        (edited(prefix={"widths": [8, -8]}), "widths"),
        (edited(prefix={"widths": [8, 8, 8, 8], "stem": 3}), "whole number of prefix tokens"),
        (edited(scales=[1, 4, 2]), "rising"),
        (edited(transformer={"depth": True, "width": 32, "heads": 2}), "depth"),
        (edited(transformer={"depth": 2, "width": 30, "heads": 2}), "multiple of 4"),
        (edited(tokenizer={"width": 33, "codes": 16}), "multiple of 32"),
        (edited(corrector={"width": 32, "blocks": 1, "frequencies": 33}), "even in number"),
    ],
)
def test_what_is_wrong_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        ModelConfig.from_json(text)


def test_a_single_scale_is_refused() -> None:
    with pytest.raises(ConfigError, match="two or more"):
        replace(NANO, scales=(1,))
