"""varsr generate."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from varsr.cli import options as cli
from varsr.cli.console import messages, one_line
from varsr.images.formats import DEFAULT_QUALITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varsr.cli.report import Tally
    from varsr.generation.generator import GeneratorChoice
    from varsr.generation.options import GenerationOptions
    from varsr.images.encoding import Encoding
    from varsr.jobs.generate import GenerationJob, GenerationOutcome
    from varsr.jobs.outcome import Policy

TEMPLATE = "class-{class}-seed-{seed}{ext}"
_OUTPUT, _IMAGE = "Output", "Image"
Labels = Annotated[
    list[int],
    typer.Option("--class", min=0, rich_help_panel=_IMAGE, show_default=False,
                 help="Number of a class, 0 to 3829 in the published model; may be repeated. Classes have no names: "
                      "none were published."),
]  # fmt: skip
Count = Annotated[int, typer.Option("--count", "-n", min=1, rich_help_panel=_IMAGE, help="Images of each class.")]
Seed = Annotated[int, typer.Option("--seed", min=0, rich_help_panel=_IMAGE, help="Seed of the first; others follow.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", rich_help_panel=_OUTPUT, help="Output file for a single image.")
]
OutputDir = Annotated[Path, typer.Option("--output-dir", "-d", rich_help_panel=_OUTPUT, help="Output folder.")]
Name = Annotated[
    str, typer.Option("--name", rich_help_panel=_OUTPUT, help="Output file name. Fields: {class} {seed} {ext}.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", rich_help_panel=_OUTPUT, help="List outputs, and do nothing.")]
TopK = Annotated[
    int,
    typer.Option("--top-k", min=0, rich_help_panel=_IMAGE, help="Sample from the K most likely tokens; 0 from all."),
]
TopP = Annotated[
    float,
    typer.Option("--top-p", min=0, max=1, rich_help_panel=_IMAGE,
                 help="Sample from the fewest tokens that together have this probability."),
]  # fmt: skip


def generate(
    label: Labels,
    count: Count = 1,
    seed: Seed = 0,
    cfg: cli.Cfg = None,
    top_k: TopK = 20,
    top_p: TopP = 0.75,
    temperature: cli.Temperature = 1.0,
    no_corrector: cli.NoCorrector = False,
    output: Output = None,
    output_dir: OutputDir = Path(),
    name: Name = TEMPLATE,
    format: cli.FormatName = None,
    quality: cli.Quality = DEFAULT_QUALITY,
    overwrite: cli.Overwrite = False,
    skip_existing: cli.SkipExisting = False,
    dry_run: DryRun = False,
    fail_fast: cli.FailFast = False,
    json: cli.Json = False,
    model: cli.ClassModel = "varsr-c2i",
    batch_size: cli.BatchSize = None,
    device: cli.Device = "auto",
    dtype: cli.Dtype = "auto",
    no_compile: cli.NoCompile = False,
    quiet: cli.Quiet = False,
    debug: cli.Debug = False,
    config: cli.Config = None,
    settings: cli.SettingsName = None,
) -> None:
    """Make images of classes with the model that VARSR grew from. Prints the path of each.

    varsr generate --class 7 -o one.png

    varsr generate --class 3 --class 7 -n 4 --seed 1 -d out/
    """
    from varsr.cli.arguments import check_combination, encoding_for
    from varsr.cli.report import exit_code

    check_combination(
        output=str(output) if output else None,
        output_dir=str(output_dir) if output_dir != Path() else None,
        shard="1/1",
        overwrite=overwrite,
        skip_existing=skip_existing,
    )
    encoding = encoding_for(format=format, quality=quality, lossless=False, background=None)
    jobs = _jobs(label, count, seed, output, output_dir, name, encoding)
    if dry_run:
        for job in jobs:
            print(job.target)
        return
    from varsr.generation.generator import GeneratorChoice
    from varsr.generation.options import GenerationOptions
    from varsr.jobs.outcome import Policy

    options = GenerationOptions(
        cfg=cfg,
        top_k=top_k,
        top_p=top_p,
        temperature=temperature,
        corrector=not no_corrector,
        batch_size=batch_size,
    )
    policy = Policy(overwrite=overwrite, skip_existing=skip_existing, fail_fast=fail_fast)
    choice = GeneratorChoice(model, device=device, dtype=dtype, compiled=not no_compile)
    tally = _run(jobs, options, policy, encoding, json, choice)
    raise typer.Exit(exit_code(tally, len(jobs)))


def _jobs(
    labels: Sequence[int],
    count: int,
    seed: int,
    output: Path | None,
    folder: Path,
    template: str,
    encoding: Encoding,
) -> list[GenerationJob]:
    """The jobs in a folder, or the one whose output has a name of its own."""
    from varsr.errors import RequestError
    from varsr.generation.options import Wish
    from varsr.images.formats import BY_SUFFIX
    from varsr.jobs.generate import GenerationJob, plan_generation
    from varsr.jobs.naming import FALLBACK

    if output is None:
        format = encoding.format or BY_SUFFIX[FALLBACK]
        return plan_generation(labels, count, seed, folder, template, format)
    if count > 1 or len(labels) > 1:
        raise RequestError("`output` names one file, and there are several images.", "Use `output_dir`.")
    encoding.of(output)
    return [GenerationJob(Wish(labels[0], seed), output)]


def _run(
    jobs: Sequence[GenerationJob],
    options: GenerationOptions,
    policy: Policy,
    encoding: Encoding,
    as_json: bool,
    choice: GeneratorChoice,
) -> Tally:
    """Do the jobs, print each outcome as it comes, and count it."""
    from varsr.cli.counted import counted
    from varsr.cli.report import Tally, name_failures
    from varsr.jobs.generate import generate_jobs
    from varsr.jobs.preflight import check_folder

    for folder in {job.target.parent for job in jobs}:
        check_folder(folder)
        if not folder.exists():
            folder.mkdir(parents=True)
    tally = Tally()
    with counted(len(jobs), "images", lambda: choice.activity) as count:
        for outcome in generate_jobs(choice.load, jobs, options, policy, encoding):
            tally.add(outcome)
            count()
            messages.trace(outcome.error)
            _print(outcome, as_json)
    if len(jobs) > 1:
        name_failures(tally)
    return tally


def _print(outcome: GenerationOutcome, as_json: bool) -> None:
    """A path or a JSON object on standard output."""
    if as_json:
        wish, error = outcome.job.wish, outcome.error
        values = {
            "output": str(outcome.job.target),
            "status": outcome.status,
            "class": wish.label,
            "seed": wish.seed,
            "seconds": round(outcome.seconds, 3),
            "options": outcome.made_from,
            "error": one_line(error) if error else None,
        }
        print(json_module.dumps(values), flush=True)
    elif outcome.status == "done":
        print(outcome.job.target, flush=True)
