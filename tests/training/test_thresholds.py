"""A bar is met or missed by the figures, and says by how much."""

from __future__ import annotations

from training.thresholds import threshold_table

#            PSNR   SSIM  Haar  GMSD  MDSI  NIQE
BICUBIC = [24.0, 0.70, 0.70, 0.15, 0.36, 12.0]
BETTER = [25.5, 0.75, 0.75, 0.10, 0.33, 8.0]
SOFTER = [25.55, 0.75, 0.75, 0.10, 0.33, 9.0]
CHECKERBOARD = {"mini": 0.3, "truth": 0.25}


def met(**changed: list[float]) -> list[bool]:
    rows = {"bicubic": BICUBIC, "mini": BETTER, "mini, no corrector": SOFTER, "mini, no guidance": SOFTER}
    rows |= {name.replace("_", " "): values for name, values in changed.items()}
    return ["missed" not in line for line in threshold_table(rows, rows, CHECKERBOARD).splitlines()[2:]]


def test_all_bars_met() -> None:
    assert met() == [True] * 7


def test_each_bar_can_be_missed() -> None:
    assert met(mini=[24.9, *BETTER[1:]])[0] is False, "less than 1 dB"
    assert met(mini=[*BETTER[:3], 0.16, *BETTER[4:]])[1] is False, "worse by GMSD"
    assert met(mini=[23.9, *BETTER[1:]])[2] is False, "below bicubic"
    assert met(mini=[*BETTER[:5], 8.9])[4:6] == [False, False], "corrector and guidance take too little off NIQE"
    assert met(mini=[25.4, *BETTER[1:]])[4:6] == [False, False], "they cost too much"


def test_the_rival_counts_where_it_took_part() -> None:
    line = threshold_table(
        {"bicubic": BICUBIC, "mini": BETTER, "mini, no corrector": SOFTER, "mini, no guidance": SOFTER},
        {
            "bicubic": BICUBIC,
            "mini": BETTER,
            "mini, no corrector": SOFTER,
            "mini, no guidance": SOFTER,
            "Real-ESRGAN x4plus": [23.5, 0.7, 0.7, 0.14, 0.36, 2.0],
        },
        CHECKERBOARD,
    ).splitlines()
    assert "+2.00 dB | met" in line[-2]
    assert "8.0 against 2.0" in line[-1]
    assert "missed" in line[-1]


def test_dots_are_seen() -> None:
    rows = {"bicubic": BICUBIC, "mini": BETTER, "mini, no corrector": SOFTER, "mini, no guidance": SOFTER}
    assert "missed" in threshold_table(rows, rows, {"mini": 0.4, "truth": 0.25}).splitlines()[-1]
