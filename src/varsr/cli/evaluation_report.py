"""The report of an evaluation: JSON lines as it goes, or a table at the end; failures on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from varsr import __version__
from varsr.cli.arguments import writing
from varsr.cli.console import in_words, messages
from varsr.cli.counted import counted
from varsr.evaluation.evaluate import Evaluation, Measured, Plan
from varsr.evaluation.session import MethodRun, Sources
from varsr.evaluation.summary import ALL_MEASURES, Summary, best_of, markdown, value_of, write_csv


class Report:
    """Everything that was measured, and what could not be."""

    def __init__(self, plan: Plan, seed: int, as_json: bool) -> None:
        self.plan, self.seed, self.as_json = plan, seed, as_json
        self.failed = False
        self.measured: list[Measured] = []
        self.summaries: list[Summary] = []
        self._named: set[Path] = set()

    def show(self, evaluation: Evaluation, run: MethodRun) -> None:
        """Measure a method, and report each of its images."""
        self._name_the_left_out(run.sources)
        with counted(len(run.sources.pairs), run.name) as count:
            for one in run:
                count()
                self._show_image(one)
        self.measured += run.found
        summary = run.summary(evaluation)
        self.summaries.append(summary)
        if self.as_json:
            self._print({"method": run.name, "images": summary.images, **_means(summary)})

    def finish(self, as_markdown: bool, csv_file: Path | None) -> None:
        """Print the table, and write the file of images. Raises `OutputError` where it cannot be written."""
        if as_markdown:
            print(markdown(self.summaries, self.plan.measures))
        elif not self.as_json:
            _print_table(self.summaries, self.plan.measures)
        if not self.as_json:
            messages.say(", ".join(f"{name}: {value}" for name, value in self._convention().items()))
        if csv_file:
            _write(csv_file, self.measured, self.plan.measures)

    def _show_image(self, one: Measured) -> None:
        if one.error:
            self.failed = True
            messages.complain(f"{one.method}, {one.image}: {in_words(one.error)}")
            messages.trace(one.error)
        elif self.as_json:
            self._print({"method": one.method, "image": one.image, **one.values})

    def _name_the_left_out(self, sources: Sources) -> None:
        for path in sources.unmatched:
            if path not in self._named:
                messages.complain(f"{path} is left out: it has no partner of its name.")
        for path, error in sources.failed:
            if path not in self._named:
                messages.complain(f"{path} is left out: {in_words(error)}")
        self._named |= {*sources.unmatched, *(path for path, _ in sources.failed)}
        self.failed |= bool(self._named)

    def _convention(self) -> dict[str, Any]:
        """All that is needed to get the same figures again."""
        convention = self.plan.convention
        return {
            "varsr": __version__,
            "seed": self.seed,
            "channels": convention.channels,
            "crop_border": convention.crop_border,
            "niqe_model": str(convention.niqe_model or "authors"),
        }

    def _print(self, values: dict[str, Any]) -> None:
        print(json.dumps(values | self._convention(), ensure_ascii=False), flush=True)


def _means(summary: Summary) -> dict[str, dict[str, float]]:
    return {
        name: {"mean": mean.value, "interval": mean.interval, "images": mean.count}
        for name, mean in summary.means.items()
    }


def _print_table(summaries: Sequence[Summary], measures: Sequence[str]) -> None:
    """A table on standard output, the best of each column in bold on a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("method", "images", box=None, pad_edge=False)
    for name in measures:
        measure = ALL_MEASURES[name]
        table.add_column(f"{measure.title} {'↑' if measure.higher_is_better else '↓'}", justify="right")
    best = {name: best_of(summaries, name) for name in measures}
    for summary in summaries:
        cells = [
            Text(value_of(summary, name, with_interval=True), "bold" if best[name] is summary else "")
            for name in measures
        ]
        table.add_row(Text(summary.method), str(summary.images), *cells)
    Console(soft_wrap=True, width=None if sys.stdout.isatty() else 200).print(table)


def _write(path: Path, measured: Sequence[Measured], measures: Sequence[str]) -> None:
    with writing(path), path.open("w", newline="", encoding="utf-8") as stream:
        write_csv(measured, measures, stream)
