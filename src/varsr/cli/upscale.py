"""varsr upscale."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from varsr.cli import options as cli
from varsr.images.formats import DEFAULT_PNG_LEVEL, DEFAULT_QUALITY
from varsr.jobs.naming import DEFAULT_TEMPLATE
from varsr.upscaling.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from varsr.cli.report import OutcomePrinter, Tally
    from varsr.images.encoding import Encoding
    from varsr.jobs.cluster import Cluster
    from varsr.jobs.crew import Crew
    from varsr.jobs.naming import Naming
    from varsr.jobs.plan import Job, Plan, Source
    from varsr.jobs.prefetch import JobSettings
    from varsr.upscaling.upscaler import ModelChoice


def upscale(
    inputs: cli.Inputs = None,
    output: cli.Output = None,
    output_dir: cli.OutputDir = None,
    name: cli.Name = DEFAULT_TEMPLATE,
    format: cli.FormatName = None,
    quality: cli.Quality = DEFAULT_QUALITY,
    lossless: cli.Lossless = False,
    background: cli.Background = None,
    png_level: cli.PngLevel = DEFAULT_PNG_LEVEL,
    tiff_compression: cli.TiffCompressionName = "deflate",
    cmyk: cli.CmykChoice = "convert",
    raw_wide: cli.RawWide = False,
    scale: cli.Scale = None,
    width: cli.Width = None,
    height: cli.Height = None,
    longest: cli.Longest = None,
    megapixels: cli.Megapixels = None,
    recursive: cli.Recursive = False,
    files_from: cli.FilesFrom = None,
    null_separated: cli.NullSeparated = False,
    base: cli.Base = None,
    overwrite: cli.Overwrite = False,
    skip_existing: cli.SkipExisting = False,
    skip_larger: cli.SkipLarger = None,
    dry_run: cli.DryRun = False,
    fail_fast: cli.FailFast = False,
    shard: cli.ShardText = "1/1",
    max_pixels: cli.MaxPixels = cli.MAX_PIXELS,
    preserve_times: cli.PreserveTimes = False,
    compare: cli.ComparePage = None,
    report: cli.ReportPath = None,
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
    tokens: cli.Tokens = None,
    keep_ratio: cli.KeepRatio = None,
    guided_tokens: cli.GuidedTokens = None,
    guided_scales: cli.GuidedScales = None,
    corrector_steps: cli.CorrectorSteps = None,
    batch_size: cli.BatchSize = None,
    device: cli.Devices = "auto",
    workers: cli.Workers = None,
    ray: cli.Ray = None,
    ray_actors: cli.RayActors = None,
    dtype: cli.Dtype = "auto",
    no_compile: cli.NoCompile = False,
    video_codec: cli.VideoCodec = None,
    video_crf: cli.VideoCrf = None,
    video_preset: cli.VideoPreset = None,
    start: cli.Start = None,
    duration: cli.Duration = None,
    fps: cli.Fps = None,
    no_reuse: cli.NoReuse = False,
    yes: cli.Yes = False,
    quiet: cli.Quiet = False,
    verbose: cli.Verbose = False,
    debug: cli.Debug = False,
    config: cli.Config = None,
    settings: cli.SettingsName = None,
) -> None:
    """Upscale images and videos. Prints the path of each result.

    varsr upscale photo.jpg

    varsr upscale clip.mp4 --height 1080

    varsr upscale album/ --recursive --output-dir large/ --skip-existing

    curl -s https://example.org/a.jpg | varsr upscale - -o - --format png | feh -
    """
    # Heavy imports wait until a command runs.
    from varsr.cli.arguments import check_combination, check_page, encoding_for, input_places, output_folder
    from varsr.cli.console import messages
    from varsr.cli.forecast import say_estimate
    from varsr.cli.report import OutcomePrinter, announce, exit_code
    from varsr.cli.video import announce_clips, container_named, say_clips, video_job, video_options
    from varsr.images.size import target_size
    from varsr.jobs.estimate import estimate
    from varsr.jobs.naming import Naming, naming_values
    from varsr.jobs.outcome import Policy
    from varsr.jobs.pace import pace_key
    from varsr.jobs.plan import Shard
    from varsr.weights.registry import default_model, model_label

    size = target_size(scale=scale, width=width, height=height, longest=longest, megapixels=megapixels)
    chosen = model or default_model()
    container = container_named(format)
    video = video_options(video_codec, video_crf, video_preset, start, duration, fps, no_reuse)
    encoding = encoding_for(
        format=None if container else format,
        quality=quality,
        lossless=lossless,
        background=background,
        png_level=png_level,
        tiff_compression=tiff_compression,
        cmyk=cmyk,
    )
    check_combination(
        output=output, output_dir=output_dir, shard=shard, overwrite=overwrite, skip_existing=skip_existing
    )
    if compare:
        check_page(compare, overwrite)
    folder, part = output_folder(output_dir), Shard.parse(shard)
    total: int | None
    one = None if files_from else video_job(input_places(inputs or []), output, folder, container, fps)
    if one is not None:
        known: Sequence[Job] = [one]
        jobs, total = part.of(known), 1
    elif output is None:
        sources = _sources(inputs or [], files_from, null_separated, base)
        naming = Naming(name, folder, encoding.format, container)
        plan = _plan(sources, recursive, naming, naming_values(size, chosen))
        known = [*part.of(plan.first)]
        jobs, total = part.of(plan), part.size(plan.total) if plan.total is not None else None
    else:
        job, encoding = _single_job(inputs or [], files_from, output, encoding)
        known = [job]
        jobs, total = part.of(known), 1
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
        tokens=tokens,
        keep_ratio=keep_ratio,
        guided_tokens=guided_tokens,
        guided_scales=guided_scales,
        batch_size=batch_size,
    )
    policy = Policy(
        overwrite=overwrite,
        skip_existing=skip_existing,
        fail_fast=fail_fast,
        max_pixels=max_pixels,
        skip_larger=skip_larger,
        create_folders=folder is not None,
        preserve=preserve_times,
        raw_colors="wide" if raw_wide else "srgb",
    )
    key = pace_key(chosen, device, dtype, workers, options)
    if dry_run:
        say_estimate(estimate(announce(jobs, json, policy), size, skip_larger), key, chosen)
        say_clips(known, size, policy, video, key)
        return
    from varsr.jobs.crew import Crew, crew_of
    from varsr.jobs.prefetch import JobSettings
    from varsr.jobs.provenance import marking
    from varsr.jobs.report import opened_report
    from varsr.storage.address import place_of
    from varsr.upscaling.upscaler import ModelChoice

    if realism is not None and cfg is not None:
        messages.say("--cfg overrules the guidance that --realism stands for; a model's dial is still set.")
    encoding = marking(encoding, model_label(chosen), size, options)
    shared = JobSettings(size=size, options=options, encoding=encoding, policy=policy, video=video)
    choice = ModelChoice(model=chosen, device=device, dtype=dtype, compiled=not no_compile)
    crew = _cluster(choice, ray, ray_actors, workers, output) if ray or ray_actors else crew_of(choice, workers)
    if isinstance(crew, Crew):
        crew = announce_clips(known, crew, shared, key, yes)
    done: list[Job] | None = [] if compare else None
    with ExitStack() as stack:
        lines = stack.enter_context(opened_report(place_of(report))) if report else None
        printer = OutcomePrinter(model=chosen, seed=seed, as_json=json, report=lines)
        tally = _run(crew, jobs, total, shared, printer, done, key)
    if compare and done is not None:
        _write_page(compare, done, chosen)
    raise typer.Exit(exit_code(tally, total))


def _sources(inputs: Sequence[str], files_from: str | None, null_separated: bool, base: str | None) -> Iterator[Source]:
    """The inputs that are arguments, then those of a list. Raises `RequestError` where there are none."""
    from varsr.cli.arguments import input_places
    from varsr.errors import RequestError
    from varsr.jobs.lists import names_in
    from varsr.jobs.plan import given, listed
    from varsr.storage.address import place_of

    if not inputs and files_from is None:
        raise RequestError("There is nothing to upscale.", "Name images or folders, or a list with --files-from.")
    if files_from is None and (null_separated or base):
        raise RequestError("-0 and --base are about a list.", "Name it with --files-from.")
    arguments = given(input_places(inputs))
    if files_from is None:
        return arguments
    return chain(arguments, listed(names_in(place_of(files_from), null_separated), place_of(base) if base else None))


def _plan(sources: Iterator[Source], recursive: bool, naming: Naming, values: dict[str, str]) -> Plan:
    """The plan of inputs whose outputs are named by a template."""
    from varsr.cli.console import messages
    from varsr.images.formats import how_to_get
    from varsr.jobs.plan import Plan, left_out_words

    plan = Plan(sources, recursive, naming, values)
    if plan.results:
        messages.say(f"Skipped {plan.results} files that are named like results of an earlier run.")
    for extra, count in plan.left_out.items():
        messages.say(f"Left out {left_out_words(extra, count)}. {how_to_get(extra)}")
    return plan


def _single_job(inputs: Sequence[str], files_from: str | None, output: str, encoding: Encoding) -> tuple[Job, Encoding]:
    """The job of one input whose output has a name of its own, and the encoding that the output asks for."""
    from varsr.cli.arguments import for_device, input_places, single_job
    from varsr.errors import RequestError

    if files_from is not None or not inputs:
        raise RequestError("-o names one file, and needs one input.", "Use --output-dir for those of a list.")
    job = single_job(input_places(inputs), output, encoding)
    return job, for_device(encoding, job.source, job.target)


def _cluster(
    choice: ModelChoice, address: str | None, actors: str | None, workers: str | None, output: str | None
) -> Cluster:
    """The cluster that is asked for. Raises `RequestError` for options that contradict it."""
    from varsr.errors import RequestError
    from varsr.jobs.cluster import Cluster, actors_named

    if address is None:
        raise RequestError("--ray-actors is about a cluster.", "Name it with --ray, or begin one here: --ray auto.")
    if workers is not None or output is not None:
        raise RequestError("--ray shares out many images among actors.", "Use it without --workers and -o.")
    return Cluster(choice, address, actors_named(actors))


def _run(
    crew: Crew | Cluster,
    jobs: Iterator[Job],
    total: int | None,
    settings: JobSettings,
    printer: OutcomePrinter,
    done: list[Job] | None,
    pace_key: str,
) -> Tally:
    """Do the jobs, print each outcome as it comes and count it; note those that are done where a list is given."""
    from varsr.cli.progress import progress_of
    from varsr.cli.report import Tally, note_peculiarities, summarize
    from varsr.jobs.pace import Stopwatch

    _greet(crew.choices[0].model or "")
    run, tally, stopwatch = crew.run(jobs, total, settings), Tally(), Stopwatch()
    try:
        with progress_of(run, total) as progress:
            for outcome in run:
                tally.add(outcome)
                stopwatch.add(outcome, run.elapsed)
                progress.file_done()
                printer.print(outcome)
                note_peculiarities(outcome, tally)
                if done is not None and outcome.status == "done":
                    done.append(outcome.job)
    finally:  # what is known by then is of use after an interruption too
        if total != 1:
            summarize(tally, run, total)
        stopwatch.remember(pace_key)
    return tally


def _write_page(path: Path, jobs: Sequence[Job], model: str) -> None:
    """Write the page of inputs and results that are files, or say that there are none."""
    from varsr.cli.arguments import writing
    from varsr.cli.console import in_words, messages
    from varsr.comparison.layers import Comparison, Layer
    from varsr.comparison.page import write_page
    from varsr.jobs.preflight import is_about_video

    comparisons = [
        Comparison(job.source.name, (Layer("input", job.source_file), Layer(model, job.target_file)))
        for job in jobs
        if job.is_of_files and not is_about_video(job)
    ]
    if not comparisons:
        messages.say("Nothing to compare: no result is a file.")
        return
    with writing(path):
        left_out = write_page(comparisons, path)
    for error in left_out:
        messages.complain(in_words(error))
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
