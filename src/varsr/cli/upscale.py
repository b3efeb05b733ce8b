"""varsr upscale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from varsr.choices import ColorFix, DtypeName, Speed
from varsr.cli.options import Debug, Quiet, Verbose

OUTPUT, SIZE, FILES, MODEL, GENERATION, SPEED, MACHINE = (
    "Output", "Size", "Files", "Model", "Generation", "Speed", "Machine"
)  # fmt: skip


def _option(*names: str, panel: str, default: str | None = None, help: str, **limits: Any) -> Any:
    """An option whose default, where it is no plain value, is described in words."""
    return typer.Option(*names, rich_help_panel=panel, help=help, show_default=default or True, **limits)


_inputs = typer.Argument(help="Pictures and folders of pictures; - is standard input.", show_default=False)
_output = _option(
    "--output", "-o", panel=OUTPUT, help="File for the result of one input; - is standard output.", default="by --name"
)
_output_dir = _option(
    "--output-dir", "-d", panel=OUTPUT, help="Folder for results; the tree below is kept.", default="beside the input"
)
_name = _option(
    "--name", panel=OUTPUT, help="Names of results; fields are {stem} {size} {scale} {ext} {source_ext} {model}."
)
_format = _option(
    "--format", "-f", panel=OUTPUT, help="jpeg, png, webp, tiff, bmp, gif or avif.", default="the input's, else png"
)
_quality = _option(panel=OUTPUT, min=1, max=100, help="Of JPEG, WebP and AVIF.")
_lossless = _option(
    "--lossless", panel=OUTPUT, help="Lose nothing in WebP, and in AVIF only what turning RGB into YCbCr rounds off."
)
_background = _option(
    panel=OUTPUT, help="Colour behind transparency, which is lost: white, #204060.", default="keep it"
)
_scale = _option("--scale", "-s", panel=SIZE, help="Times as wide and high, 1 to 8, fractions too.", default="4")
_width = _option(panel=SIZE, min=1, help="Width of the result in pixels.")
_height = _option(panel=SIZE, min=1, help="Height of the result in pixels.")
_longest = _option(panel=SIZE, min=1, help="Longer side of the result in pixels.")
_megapixels = _option(panel=SIZE, min=0.0001, help="Area of the result in millions of pixels.")
_recursive = _option("--recursive", "-r", panel=FILES, help="Look into the folders of folders too.")
_overwrite = _option("--overwrite", panel=FILES, help="Replace outputs that exist.")
_skip_existing = _option("--skip-existing", panel=FILES, help="Leave inputs whose output exists: resumes a run.")
_dry_run = _option("--dry-run", "-n", panel=FILES, help="Show what would be done, do nothing.")
_fail_fast = _option("--fail-fast", panel=FILES, help="Stop at the first failure instead of going on.")
_shard = _option(panel=FILES, help="Do part 2 of 8 of the files as 2/8.", default="all")
_max_pixels = _option(panel=FILES, min=1, help="Refuse inputs with more pixels.")
_preserve_times = _option("--preserve-times", panel=FILES, help="Give results the times and permissions of inputs.")
_json = _option("--json", panel=FILES, help="Print one JSON object a line for each file.")
_model = _option(
    "--model",
    "-m",
    panel=MODEL,
    envvar="VARSR_MODEL",
    help="A name that `varsr models` lists, a safetensors file, a folder, or hf:owner/name@revision.",
    default="the one marked in `varsr models`",
)
_cfg = _option(
    panel=GENERATION,
    min=0,
    help="Strength of guidance, 0 for none: more is crisper and less faithful.",
    default="the preset's",
)
_fidelity = _option(
    panel=GENERATION,
    min=0,
    max=1,
    help="0 takes the code of each token, 1 the mean of all codes: nearer to the truth, less crisp.",
    default="the preset's",
)
_seed = _option(panel=GENERATION, min=0, help="Same seed, same result.")
_top_k = _option(
    panel=GENERATION, min=0, help="Draw tokens from the K likeliest; 1 takes the likeliest, 0 considers all."
)
_top_p = _option(panel=GENERATION, min=0, max=1, help="Draw from the fewest tokens that hold this probability.")
_temperature = _option(panel=GENERATION, min=0.01, help="Flatten (above 1) or sharpen (below 1) the draw.")
_no_corrector = _option("--no-corrector", panel=GENERATION, help="Leave quantization errors as they are.")
_color_fix = _option(panel=GENERATION, help="Bring colours back to the input's.", default="the preset's")
_speed = _option(
    "--speed",
    panel=SPEED,
    help="fast computes much less of varsr, and changes the picture a little: see the five below.",
)
_tile_overlap = _option(
    panel=SPEED,
    min=0,
    help="Latent cells that neighbouring tiles share when they are predicted.",
    default="the preset's",
)
_keep_ratio = _option(
    panel=SPEED,
    min=0.01,
    max=1,
    help="Share of tokens computed in the last two scales, those that change most.",
    default="the preset's",
)
_guided_tokens = _option(
    panel=SPEED, min=0.01, max=1, help="Share of these that guidance looks at in the last.", default="the preset's"
)
_guided_scales = _option(
    panel=SPEED,
    min=2,
    max=100,
    help="How many of the last scales are guided.",
    default="the preset's",
)
_corrector_steps = _option(panel=SPEED, min=2, max=1000, help="Steps of the corrector.", default="the preset's")
_batch_size = _option(panel=MACHINE, min=1, help="Tiles at a time.", default="by model and device")
_no_compile = _option(
    "--no-compile", panel=MACHINE, help="Do not make CUDA graphs of the model: slower, but for a first second."
)
_device = _option(panel=MACHINE, help="auto, cpu, cuda, cuda:1, mps.")
_dtype = _option(
    panel=MACHINE, help="The type to compute in; auto is bf16 where the device has it. int8 is for CPUs that have not."
)


def upscale(
    inputs: Annotated[list[str], _inputs],
    output: Annotated[str | None, _output] = None,
    output_dir: Annotated[str | None, _output_dir] = None,
    name: Annotated[str, _name] = "{stem}_{size}{ext}",
    format: Annotated[str | None, _format] = None,
    quality: Annotated[int, _quality] = 95,
    lossless: Annotated[bool, _lossless] = False,
    background: Annotated[str | None, _background] = None,
    scale: Annotated[float | None, _scale] = None,
    width: Annotated[int | None, _width] = None,
    height: Annotated[int | None, _height] = None,
    longest: Annotated[int | None, _longest] = None,
    megapixels: Annotated[float | None, _megapixels] = None,
    recursive: Annotated[bool, _recursive] = False,
    overwrite: Annotated[bool, _overwrite] = False,
    skip_existing: Annotated[bool, _skip_existing] = False,
    dry_run: Annotated[bool, _dry_run] = False,
    fail_fast: Annotated[bool, _fail_fast] = False,
    shard: Annotated[str, _shard] = "1/1",
    max_pixels: Annotated[int, _max_pixels] = 400_000_000,
    preserve_times: Annotated[bool, _preserve_times] = False,
    json: Annotated[bool, _json] = False,
    model: Annotated[str, _model] = "",
    cfg: Annotated[float | None, _cfg] = None,
    fidelity: Annotated[float | None, _fidelity] = None,
    seed: Annotated[int, _seed] = 0,
    top_k: Annotated[int, _top_k] = 1,
    top_p: Annotated[float, _top_p] = 1.0,
    temperature: Annotated[float, _temperature] = 1.0,
    no_corrector: Annotated[bool, _no_corrector] = False,
    color_fix: Annotated[ColorFix | None, _color_fix] = None,
    speed: Annotated[Speed, _speed] = "default",
    tile_overlap: Annotated[int | None, _tile_overlap] = None,
    keep_ratio: Annotated[float | None, _keep_ratio] = None,
    guided_tokens: Annotated[float | None, _guided_tokens] = None,
    guided_scales: Annotated[int | None, _guided_scales] = None,
    corrector_steps: Annotated[int | None, _corrector_steps] = None,
    batch_size: Annotated[int | None, _batch_size] = None,
    device: Annotated[str, _device] = "auto",
    dtype: Annotated[DtypeName, _dtype] = "auto",
    no_compile: Annotated[bool, _no_compile] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Upscale pictures. Prints the path of each result.

    varsr upscale photo.jpg

    varsr upscale album/ --recursive --output-dir large/ --skip-existing

    curl -s https://example.org/a.jpg | varsr upscale - -o - --format png | feh -
    """
    from varsr.cli.arguments import check_combination, color_named, for_device, input_paths, output_folder, single_job
    from varsr.cli.console import messages
    from varsr.cli.progress import progress_of
    from varsr.cli.report import OutcomePrinter, announce, exit_code, summarize
    from varsr.images.size import TargetSize
    from varsr.images.write import Encoding
    from varsr.jobs.naming import Naming, format_named  # heavy imports wait until a command runs
    from varsr.jobs.outcome import Policy
    from varsr.jobs.plan import Plan, Shard, plan
    from varsr.jobs.prefetch import JobSettings
    from varsr.jobs.run import Run
    from varsr.runtime.device import pick_device
    from varsr.upscaling.options import Options
    from varsr.upscaling.upscaler import ModelChoice
    from varsr.weights.registry import default_model

    named = {"width": width, "height": height, "longest": longest, "megapixels": megapixels}
    wanted = TargetSize(scale=4.0 if scale is None and not any(named.values()) else scale, **named)  # type: ignore[arg-type]
    chosen = model or default_model()
    encoding = Encoding(
        quality, lossless, format_named(format) if format else None, color_named(background) if background else None
    )
    values = {"size": wanted.label, "scale": wanted.label.removeprefix("x"), "model": Path(chosen).stem}
    check_combination(output, output_dir, shard, overwrite, skip_existing)
    paths, folder = input_paths(inputs), output_folder(output_dir)
    if output is not None:
        job = single_job(paths, output, encoding)
        planned, encoding = Plan([job]), for_device(encoding, job.source, job.target)
    else:
        planned = plan(paths, recursive, Naming(name, folder, encoding.format), values)
        if planned.results:
            messages.say(f"Left out as results of an earlier run, by their names: {planned.results}.")
    jobs = Shard.parse(shard).of(planned.jobs)
    if dry_run:
        announce(jobs, json)
        return
    options = Options(
        cfg=cfg,
        seed=seed,
        top_k=top_k,
        top_p=top_p,
        temperature=temperature,
        fidelity=fidelity,
        corrector=not no_corrector,
        color_fix=color_fix,
        tile_overlap=tile_overlap,
        batch_size=batch_size,
        speed=speed,
        keep_ratio=keep_ratio,
        guided_tokens=guided_tokens,
        guided_scales=guided_scales,
        corrector_steps=corrector_steps,
    )
    policy = Policy(overwrite, skip_existing, fail_fast, max_pixels, folder is not None, preserve_times)
    pick_device(device)  # what is wrong with it would be wrong for every image
    greet(chosen)
    run = Run(ModelChoice(chosen, device, dtype, not no_compile), jobs, JobSettings(wanted, options, encoding, policy))
    printer, outcomes = OutcomePrinter(chosen, seed, json), []
    try:
        with progress_of(run, len(jobs)) as progress:
            for outcome in run:
                outcomes.append(outcome)
                progress.file_done()
                printer.print(outcome)
    finally:  # what is known by then is of use after an interruption too
        if len(jobs) > 1:
            summarize(outcomes, run, len(jobs))
    raise typer.Exit(exit_code(outcomes, len(jobs)))


def greet(model: str) -> None:
    """Say what is worth knowing before a model is loaded."""
    from varsr.cli.console import messages
    from varsr.weights.cache import cache_folder, temporary_cache
    from varsr.weights.store import note_first_use

    if note_first_use(model):
        messages.say(f"Using {model}, the built-in model. The full one, a download of 5 GB, is --model varsr.")
    if cache_folder() == temporary_cache():
        messages.say(f"There is no home folder to write to: caches are kept in {temporary_cache()}.")
