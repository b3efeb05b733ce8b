"""Measure what docs/performance.md tells of a GPU, and write it.

    python -m benchmarks.performance_gpu KEPT --full FOLDER

FOLDER is what benchmarks.golden_model wrote. Time on a GPU is rare: what was measured is kept in the folder KEPT, and
not measured again where it is there already. Without --full the page is made, on any machine, of what KEPT holds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.performance import (
    HOURLY,
    bench,
    header,
    picture,
    precision_table,
    stage_table,
    target_table,
    times_as_fast,
    told_seconds,
    write_part,
)
from varsr.evaluation.benchmark import Machine

RUNS = 3
MODES: dict[str, tuple[str, ...]] = {
    "bf16": (),
    "fp32": ("--dtype", "fp32"),
    "bf16 fast": ("--speed", "fast"),
    "bf16 plain": ("--no-compile",),
}
PICTURES: dict[str, tuple[Any, ...]] = {
    "768 x 512": (768, 512),
    "3000 x 2000": (3000, 2000),
    "3000 x 2000 fast": (3000, 2000, "--speed", "fast"),
    "3000 x 2000 plain": (3000, 2000, "--no-compile"),
}
FIRST = "varsr bf16"
BENCH = "varsr bench -m FULL --batch 1,8"
Measure = Callable[[], Any]


@dataclass(frozen=True)
class Kept:
    """Measurements on disk."""

    folder: Path

    def get(self, name: str, measure: Measure | None) -> Any:
        """The result of `measure` under a name, or an earlier one; None where there is neither."""
        file = self.folder / f"{name}.json"
        if file.exists():
            return json.loads(file.read_text())
        if measure is None:
            return None
        told = measure()
        self.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(told))
        return told


def main() -> None:
    """Measure what is not kept, and write the page's part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("kept", type=Path)
    parser.add_argument("--full", type=Path)
    options = parser.parse_args()
    kept = Kept(options.kept)
    told = {name: kept.get(name, measure) for name, measure in measurements(options.full).items()}
    if told[FIRST] is None:
        parser.error(f"nothing is kept in {options.kept}: measure with --full on a GPU first")
    write_part(sections_of({name: value for name, value in told.items() if value is not None}))


def measurements(full: Path | None) -> dict[str, Measure | None]:
    """The measurements, the most important first; without a full model names alone."""
    model = str(full / "bf16.safetensors") if full else ""
    work: dict[str, Measure] = {}
    for mode, extra in MODES.items():
        for name, path in (("varsr", model), ("mini", "mini")):
            work[f"{name} {mode}"] = partial(bench, path, "1,8", RUNS, *extra)
    for size, (width, height, *more) in PICTURES.items():
        work[size] = partial(whole, width, height, model, *more)
    work["distance"] = partial(precision_table, "cuda", ("fp32", "bf16"))
    return {name: measure if full else None for name, measure in work.items()}


def whole(width: int, height: int, model: str, *extra: str) -> dict[str, float]:
    """Seconds of the whole command for a result of so many pixels, and of the picture in it."""
    command = picture(width, height, "-m", model, *extra)
    return {"command": command.seconds, "picture": json.loads(command.output)["seconds"]}


def sections_of(told: Mapping[str, Any]) -> list[str]:
    """The part's sections, of what was measured."""
    large, mini = (
        {mode: told[f"{name} {mode}"] for mode in MODES if f"{name} {mode}" in told} for name in ("varsr", "mini")
    )
    machine = Machine(**{field.name: large["bf16"][field.name] for field in fields(Machine)})
    stages = [stage_table(name, reports) for name, reports in (("varsr", large), ("mini", mini)) if reports]
    sections = [
        header(machine),
        targets(large, mini, told),
        *([why_small_gains_little(mini["bf16"])] if "bf16" in mini else []),
        "### Stage by stage",
        *stages,
    ]
    return [*sections, told["distance"]] if "distance" in told else sections


def targets(large: Mapping[str, Any], mini: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """Each target as a row, and what a user waits for."""

    def tile(place: int) -> str:
        plain = f" (--no-compile {_tile(large['bf16 plain'], place)})" if "bf16 plain" in large else ""
        return _tile(large["bf16"], place) + plain

    ready = max(batch["first"] for batch in large["bf16"]["batches"])
    rows = [
        ("full model, batch 1", "0.12 s a tile (H100)", tile(0), BENCH),
        ("full model, batch 8", "0.06 s a tile (H100)", tile(1), BENCH),
        ("batches until graphs are made", "less than 60 s", told_seconds(ready), BENCH),
        ("fast mode, full model, 3000 x 2000 px", "2 x exact", times_as_fast(large), HOURLY),
        ("fast mode, mini, 3000 x 2000 px", "2 x exact", times_as_fast(mini), HOURLY),
    ]
    for name in PICTURES:
        if name in told:
            seconds = f"{told[name]['command']:.2f} s, of which the picture {told[name]['picture']:.2f} s"
            rows.append((f"full model, the whole command, {name}", "", seconds, "varsr upscale --json"))
    return target_table(rows)


def why_small_gains_little(mini: Mapping[str, Any]) -> str:
    """The part that the fast preset cannot leave out."""
    share = mini["batches"][-1]["share_of_peak"]
    return (
        f"`mini` uses {share:.0%} of what the GPU can multiply: its time is that of starting kernels, and fast mode "
        "leaves out products, not kernels."
    )


def _tile(report: Mapping[str, Any], place: int) -> str:
    return f"{report['batches'][place]['seconds_per_tile']:.3f} s"


if __name__ == "__main__":
    main()
