"""Acceptance thresholds of the built-in model, and the measured values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from varsr.evaluation.metrics import MEASURES

Results = Mapping[str, Sequence[float]]
"""The means of each way: MEASURES in their order, then NIQE."""
GAIN = 1.0  # dB above bicubic on (b)
WORTH = 0.02  # of NIQE, that corrector and guidance must each take off
COST = 0.1  # dB that they may each cost
CHECKERBOARD = 1.5  # times as strong as in photographs may be what repeats every two pixels


def threshold_table(clean: Results, hard: Results, checkerboards: Mapping[str, float]) -> str:
    """Each threshold as a row of a Markdown table. `checkerboards` are those of mini and the ground truth."""
    lines = ["| threshold | measured | |", "|---|---|---|"]
    lines += [
        f"| {what} | {measured} | {'met' if met else '**missed**'} |"
        for what, measured, met in _rows(clean, hard, checkerboards)
    ]
    return "\n".join(lines)


def _rows(clean: Results, hard: Results, checkerboards: Mapping[str, float]) -> Iterator[tuple[str, str, bool]]:
    gain = _psnr(hard, "mini") - _psnr(hard, "bicubic")
    yield f"(b) at least {GAIN:g} dB of PSNR-Y above bicubic", f"{gain:+.2f} dB", gain >= GAIN
    yield "(b) better than bicubic by every perceptual measure", *_perceptual(hard)
    free = _psnr(clean, "mini, no guidance") - _psnr(clean, "bicubic")
    default = _psnr(clean, "mini") - _psnr(clean, "bicubic")
    measured = f"{free:+.2f} dB, {default:+.2f} dB"
    yield "(a) above bicubic in PSNR-Y without guidance, not below it with", measured, free > 0 and default >= 0
    yield "(a) better than bicubic by every perceptual measure", *_perceptual(clean)
    for part in ("corrector", "guidance"):
        worth = 1 - hard["mini"][-1] / hard[f"mini, no {part}"][-1]
        cost = _psnr(hard, f"mini, no {part}") - _psnr(hard, "mini")
        what = f"(b) the {part} takes {WORTH:.0%} off NIQE for at most {COST:g} dB"
        yield what, f"{worth:+.1%} for {cost:.2f} dB", worth >= WORTH and cost <= COST
    limit = CHECKERBOARD * checkerboards["truth"]
    measured = f"{checkerboards['mini']:.2f}, photographs {checkerboards['truth']:.2f}"
    yield (
        f"(b) checkerboard artifacts at most {CHECKERBOARD:g} times as strong as in photographs",
        measured,
        checkerboards["mini"] <= limit,
    )
    rival = "Real-ESRGAN x4plus"
    if rival in hard:
        fidelity = _psnr(hard, "mini") - _psnr(hard, rival)
        yield f"(b) higher fidelity than {rival}", f"{fidelity:+.2f} dB", fidelity > 0
        sharp = f"NIQE {hard['mini'][-1]:.1f} against {hard[rival][-1]:.1f}, bicubic {hard['bicubic'][-1]:.1f}"
        between = (hard["bicubic"][-1] + hard[rival][-1]) / 2
        yield f"(b) closer to {rival} than to bicubic in sharpness", sharp, hard["mini"][-1] < between


def _psnr(results: Results, way: str) -> float:
    return results[way][list(MEASURES).index("PSNR-Y")]


def _perceptual(results: Results) -> tuple[str, bool]:
    """The number of perceptual metrics in which mini is better than bicubic."""
    kinds = [(name, sign) for name, (_, sign) in MEASURES.items()] + [("NIQE", -1)]
    columns = zip(kinds, results["mini"], results["bicubic"], strict=True)
    better = {name: sign * (mine - theirs) > 0 for (name, sign), mine, theirs in columns if name != "PSNR-Y"}
    worse = [name for name, ahead in better.items() if not ahead]
    return (f"not by {', '.join(worse)}" if worse else f"all {len(better)}"), not worse
