"""varsr upscale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from varsr.cli import options as cli
from varsr.images.formats import DEFAULT_QUALITY
from varsr.jobs.naming import DEFAULT_TEMPLATE
from varsr.upscaling.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varsr.cli.report import OutcomePrinter
    from varsr.images.size import TargetSize
    from varsr.images.write import Encoding
    from varsr.jobs.outcome import Outcome
    from varsr.jobs.plan import Job
    from varsr.jobs.prefetch import JobSettings
    from varsr.upscaling.upscaler import ModelChoice

MAX_PIXELS = 400_000_000


def upscale(
    inputs: cli.Inputs,
    output: cli.Output = None,
    output_dir: cli.OutputDir = None,
    name: cli.Name = DEFAULT_TEMPLATE,
    format: cli.FormatName = None,
    quality: cli.Quality = DEFAULT_QUALITY,
    lossless: cli.Lossless = False,
    background: cli.Background = None,
    scale: cli.Scale = None,
    width: cli.Width = None,
    height: cli.Height = None,
    longest: cli.Longest = None,
    megapixels: cli.Megapixels = None,
    recursive: cli.Recursive = False,
    overwrite: cli.Overwrite = False,
    skip_existing: cli.SkipExisting = False,
    dry_run: cli.DryRun = False,
    fail_fast: cli.FailFast = False,
    shard: cli.ShardText = "1/1",
    max_pixels: cli.MaxPixels = MAX_PIXELS,
    preserve_times: cli.PreserveTimes = False,
    compare: cli.ComparePage = None,
    json: cli.Json = False,
    model: cli.ModelName = "",
    realism: cli.Realism = None,
    cfg: cli.Cfg = None,
    fidelity: cli.Fidelity = None,
    seed: cli.Seed = DEFAULTS.seed,
    top_k: cli.TopK = DEFAULTS.top_k,
    top_p: cli.TopP = DEFAULTS.top_p,
    temperature: cli.Temperature = DEFAULTS.temperature,
    no_corrector: cli.NoCorrector = False,
    color_fix: cli.ColorFixName = None,
    speed: cli.SpeedName = DEFAULTS.speed,
    tile_overlap: cli.TileOverlap = None,
    keep_ratio: cli.KeepRatio = None,
    guided_tokens: cli.GuidedTokens = None,
    guided_scales: cli.GuidedScales = None,
    corrector_steps: cli.CorrectorSteps = None,
    batch_size: cli.BatchSize = None,
    device: cli.Device = "auto",
    dtype: cli.Dtype = "auto",
    no_compile: cli.NoCompile = False,
    quiet: cli.Quiet = False,
    verbose: cli.Verbose = False,
    debug: cli.Debug = False,
) -> None:
    """Upscale images. Prints the path of each result.

    varsr upscale photo.jpg

    varsr upscale album/ --recursive --output-dir large/ --skip-existing

    curl -s https://example.org/a.jpg | varsr upscale - -o - --format png | feh -
    """
    # Heavy imports wait until a command runs.
    from varsr.cli.arguments import check_combination, check_page, encoding_for, output_folder
    from varsr.cli.console import messages
    from varsr.cli.report import OutcomePrinter, announce, exit_code
    from varsr.images.size import target_size
    from varsr.jobs.outcome import Policy
    from varsr.jobs.plan import Shard
    from varsr.jobs.prefetch import JobSettings
    from varsr.upscaling.upscaler import ModelChoice
    from varsr.weights.registry import default_model

    size = target_size(scale=scale, width=width, height=height, longest=longest, megapixels=megapixels)
    chosen = model or default_model()
    encoding = encoding_for(format=format, quality=quality, lossless=lossless, background=background)
    check_combination(
        output=output, output_dir=output_dir, shard=shard, overwrite=overwrite, skip_existing=skip_existing
    )
    if compare:
        check_page(compare, overwrite)
    folder = output_folder(output_dir)
    if output is None:
        jobs = _jobs(inputs, folder, name, recursive, size, chosen, encoding)
    else:
        jobs, encoding = _single_job(inputs, output, encoding)
    jobs = Shard.parse(shard).of(jobs)
    if dry_run:
        announce(jobs, json)
        return
    options = Options(
        speed=speed,
        realism=realism,
        cfg=cfg,
        fidelity=fidelity,
        seed=seed,
        top_k=top_k,
        top_p=top_p,
        temperature=temperature,
        corrector=not no_corrector,
        corrector_steps=corrector_steps,
        color_fix=color_fix,
        tile_overlap=tile_overlap,
        keep_ratio=keep_ratio,
        guided_tokens=guided_tokens,
        guided_scales=guided_scales,
        batch_size=batch_size,
    )
    if realism is not None and cfg is not None:
        messages.say("--cfg overrules the guidance that --realism stands for; a model's dial is still set.")
    policy = Policy(
        overwrite=overwrite,
        skip_existing=skip_existing,
        fail_fast=fail_fast,
        max_pixels=max_pixels,
        create_folders=folder is not None,
        preserve=preserve_times,
    )
    settings = JobSettings(size=size, options=options, encoding=encoding, policy=policy)
    choice = ModelChoice(model=chosen, device=device, dtype=dtype, compiled=not no_compile)
    outcomes = _run(choice, jobs, settings, OutcomePrinter(model=chosen, seed=seed, as_json=json))
    if compare:
        _write_page(compare, outcomes, chosen)
    raise typer.Exit(exit_code(outcomes, len(jobs)))


def _jobs(
    inputs: Sequence[str],
    folder: Path | None,
    name: str,
    recursive: bool,
    size: TargetSize,
    model: str,
    encoding: Encoding,
) -> list[Job]:
    """The jobs of files and folders, whose outputs are named by a template."""
    from varsr.cli.arguments import input_paths
    from varsr.cli.console import messages
    from varsr.jobs.naming import Naming
    from varsr.jobs.plan import plan

    values = {"size": size.label, "scale": size.label.removeprefix("x"), "model": Path(model).stem}
    planned = plan(input_paths(inputs), recursive, Naming(name, folder, encoding.format), values)
    if planned.results:
        messages.say(f"Skipped {planned.results} files that are named like results of an earlier run.")
    return planned.jobs


def _single_job(inputs: Sequence[str], output: str, encoding: Encoding) -> tuple[list[Job], Encoding]:
    """The job of one input whose output has a name of its own, and the encoding that the output asks for."""
    from varsr.cli.arguments import for_device, input_paths, single_job

    job = single_job(input_paths(inputs), output, encoding)
    return [job], for_device(encoding, job.source, job.target)


def _run(choice: ModelChoice, jobs: Sequence[Job], settings: JobSettings, printer: OutcomePrinter) -> list[Outcome]:
    """Do the jobs, print each outcome as it comes, and return all of them."""
    from varsr.cli.progress import progress_of
    from varsr.cli.report import summarize
    from varsr.jobs.run import Run
    from varsr.runtime.device import pick_device

    pick_device(choice.device)  # what is wrong with it would be wrong for every image
    _greet(choice.model or "")
    run = Run(choice, jobs, settings)
    outcomes: list[Outcome] = []
    try:
        with progress_of(run, len(jobs)) as progress:
            for outcome in run:
                outcomes.append(outcome)
                progress.file_done()
                printer.print(outcome)
    finally:  # what is known by then is of use after an interruption too
        if len(jobs) > 1:
            summarize(outcomes, run, len(jobs))
    return outcomes


def _write_page(path: Path, outcomes: Sequence[Outcome], model: str) -> None:
    """Write the page of inputs and results that are files, or say that there are none."""
    from varsr.cli.arguments import writing
    from varsr.cli.console import messages
    from varsr.comparison.layers import Comparison, Layer
    from varsr.comparison.page import write_page
    from varsr.storage.streams import STREAM

    jobs = [outcome.job for outcome in outcomes if outcome.status == "done"]
    comparisons = [
        Comparison(job.source.name, (Layer("input", job.source), Layer(model, job.target)))
        for job in jobs
        if STREAM not in (job.source, job.target)
    ]
    if not comparisons:
        messages.say("Nothing to compare: no result is a file.")
        return
    with writing(path):
        write_page(comparisons, path)
    messages.say(f"Comparison: {path}")


def _greet(model: str) -> None:
    """Say what is worth knowing before a model is loaded."""
    from varsr.cli.console import messages
    from varsr.weights.cache import cache_folder, temporary_cache
    from varsr.weights.store import note_first_use

    if note_first_use(model):
        messages.say(f"Using the built-in model, {model}. For the full one, a 5 GB download: --model varsr")
    if cache_folder() == temporary_cache():
        messages.say(f"The home folder is not writable. Caches are kept in {temporary_cache()}.")
