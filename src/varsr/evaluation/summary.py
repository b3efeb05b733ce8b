"""Means over images with their intervals, and tables of them."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from varsr.evaluation.evaluate import Measured
from varsr.evaluation.learned import LEARNED
from varsr.evaluation.measures import MEASURES, Measure

ALL_MEASURES: Mapping[str, Measure] = {**MEASURES, **LEARNED}
_NORMAL_95 = 1.96
_DECIMALS = {"psnr": 2, "niqe": 2, "fid": 2, "musiq": 2}


@dataclass(frozen=True)
class Mean:
    """A mean over images, half the width of its 95 % interval, and the number of images that have a value."""

    value: float
    interval: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Mean:
        """The mean of finite values. NaN where there are none; the interval is NaN for fewer than 2."""
        finite = [value for value in values if math.isfinite(value)]
        value = statistics.fmean(finite) if finite else math.nan
        spread = statistics.stdev(finite) / math.sqrt(len(finite)) if len(finite) > 1 else math.nan
        return cls(value, _NORMAL_95 * spread, len(finite))


@dataclass(frozen=True)
class Summary:
    """The means of one method."""

    method: str
    images: int
    means: Mapping[str, Mean]


def summarize(method: str, measured: Sequence[Measured], folder_values: Mapping[str, float]) -> Summary:
    """The means of a method's measures, with measures of the whole folder as they are."""
    good = [one for one in measured if one.error is None]
    names = list(good[0].values) if good else []
    means = {name: Mean.of(one.values[name] for one in good) for name in names}
    means |= {name: Mean(value, math.nan, len(good)) for name, value in folder_values.items()}
    return Summary(method, len(good), means)


def markdown(summaries: Sequence[Summary], measures: Sequence[str]) -> str:
    """A Markdown table with a row for each method, the best of each column in bold."""
    titles = [f"{ALL_MEASURES[name].title} {'↑' if ALL_MEASURES[name].higher_is_better else '↓'}" for name in measures]
    lines = [f"| method | {' | '.join(titles)} |", f"| --- |{' ---: |' * len(measures)}"]
    best = {name: best_of(summaries, name) for name in measures}
    for summary in summaries:
        cells = [_bold(value_of(summary, name), best[name] is summary and len(summaries) > 1) for name in measures]
        lines.append(f"| {summary.method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def best_of(summaries: Sequence[Summary], name: str) -> Summary | None:
    """The summary with the best mean of a measure; None where no method has one."""
    having = [s for s in summaries if name in s.means and math.isfinite(s.means[name].value)]
    sign = 1 if ALL_MEASURES[name].higher_is_better else -1
    return max(having, key=lambda summary: sign * summary.means[name].value, default=None)


def value_of(summary: Summary, name: str, with_interval: bool = False) -> str:
    """A mean as text, with as many decimals as the field prints."""
    mean = summary.means.get(name)
    if mean is None or not math.isfinite(mean.value):
        return "-"
    decimals = _DECIMALS.get(name, 4)
    text = f"{mean.value:.{decimals}f}"
    return f"{text} ± {mean.interval:.{decimals}f}" if with_interval and math.isfinite(mean.interval) else text


def write_csv(measured: Iterable[Measured], measures: Sequence[str], stream: TextIO) -> None:
    """Write a line for each image that was measured."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["method", "image", *measures])
    for one in measured:
        if one.error is None:
            writer.writerow([one.method, one.image, *(one.values.get(name, "") for name in measures)])


def _bold(text: str, is_best: bool) -> str:
    return f"**{text}**" if is_best else text
