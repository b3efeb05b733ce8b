"""varsr evaluate."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from varsr.choices import ChannelsName, DegradationName, DtypeName
from varsr.cli import options as cli
from varsr.upscaling.options import DEFAULTS, Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from varsr.evaluation.evaluate import Evaluation, Plan
    from varsr.evaluation.measures import Convention
    from varsr.evaluation.methods import Method
    from varsr.evaluation.session import MethodRun

_WHAT, _HOW, _REPORT = "Images and methods", "Measures", "Report"
Results = Annotated[list[Path] | None, typer.Argument(help="Folders of results to measure.", show_default=False)]
Reference = Annotated[
    Path,
    typer.Option(
        "--reference",
        rich_help_panel=_WHAT,
        help="Folder of reference images, or of a dataset with HR and LR folders.",
        show_default=False,
    ),
]
Input = Annotated[Path | None, typer.Option("--input", rich_help_panel=_WHAT, help="Folder of inputs to be upscaled.")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", rich_help_panel=_WHAT, help="Model to upscale with; may be repeated."),
]
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", rich_help_panel=_WHAT, help="bicubic, lanczos or realesrgan; may be repeated."),
]
Degrade = Annotated[
    DegradationName | None,
    typer.Option("--degrade", rich_help_panel=_WHAT, help="Make the inputs of the references by this degradation."),
]
MadeScale = Annotated[int, typer.Option("--scale", min=2, max=8, rich_help_panel=_WHAT, help="Scale of those inputs.")]
Save = Annotated[
    Path | None, typer.Option("--save", rich_help_panel=_WHAT, help="Keep inputs and results in this folder.")
]
Realism = Annotated[
    list[float] | None,
    typer.Option(
        "--realism", min=0, max=1, rich_help_panel=_WHAT, help="Realism of the models; repeat to compare several."
    ),
]
MeasureList = Annotated[
    str,
    typer.Option("--measures", rich_help_panel=_HOW, help="psnr, ssim, haarpsi, gmsd, mdsi, niqe; with pyiqa "
                 "lpips, dists, musiq, maniqa, clipiqa, fid."),
]  # fmt: skip
Channels = Annotated[
    ChannelsName,
    typer.Option("--channels", rich_help_panel=_HOW, help="Channels of PSNR and SSIM: Y of BT.601 from 16 to 235, Y "
                 "of full range, or RGB."),
]  # fmt: skip
CropBorder = Annotated[
    int, typer.Option("--crop-border", min=0, rich_help_panel=_HOW, help="Pixels left out at each border.")
]
NiqeModel = Annotated[
    Path | None,
    typer.Option("--niqe-model", rich_help_panel=_HOW, help="Another model of sharp photographs.",
                 show_default="the authors'"),
]  # fmt: skip
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, rich_help_panel=_HOW, help="Processes that measure.", show_default="the cores"),
]
AsJson = Annotated[
    bool, typer.Option("--json", rich_help_panel=_REPORT, help="Print a JSON object for each image and method.")
]
AsMarkdown = Annotated[bool, typer.Option("--markdown", rich_help_panel=_REPORT, help="Print a Markdown table.")]
CsvFile = Annotated[
    Path | None, typer.Option("--csv", rich_help_panel=_REPORT, help="Write a line for each image to this file.")
]


def evaluate(
    results: Results = None,
    *,
    reference: Reference,
    input: Input = None,
    model: Models = None,
    method: Methods = None,
    degrade: Degrade = None,
    scale: MadeScale = 4,
    seed: cli.Seed = DEFAULTS.seed,
    save: Save = None,
    realism: Realism = None,
    cfg: cli.Cfg = None,
    no_corrector: cli.NoCorrector = False,
    corrector_steps: cli.CorrectorSteps = None,
    speed: cli.SpeedName = DEFAULTS.speed,
    measures: MeasureList = "psnr,ssim,haarpsi,gmsd,mdsi,niqe",
    channels: Channels = "y",
    crop_border: CropBorder = 0,
    niqe_model: NiqeModel = None,
    workers: Workers = None,
    json: AsJson = False,
    markdown: AsMarkdown = False,
    csv: CsvFile = None,
    device: cli.Device = "auto",
    dtype: cli.Dtype = "auto",
    quiet: cli.Quiet = False,
    debug: cli.Debug = False,
    config: cli.Config = None,
    settings: cli.SettingsName = None,
) -> None:
    """Measure results, models and other methods against reference images.

    varsr evaluate results/ --reference HR/

    varsr evaluate --input LR/ --reference HR/ -m mini --method bicubic

    varsr evaluate --reference photos/ --degrade realesrgan -m mini --markdown
    """
    from varsr.cli.evaluation_report import Report
    from varsr.evaluation.evaluate import Evaluation, measuring
    from varsr.evaluation.measures import Convention
    from varsr.runtime.device import pick_device

    plan = _plan(measures, Convention(channels, crop_border, niqe_model))
    folders = results or []
    models = model or ([] if folders or method else [""])
    _check(folders, bool(models or method), input, degrade, json, markdown)
    positions: list[float | None] = [*realism] if realism else [None]
    variants = [
        Options(
            speed=speed, seed=seed, cfg=cfg, corrector=not no_corrector, realism=value, corrector_steps=corrector_steps
        )
        for value in positions
    ]
    report = Report(plan, seed, json)
    with ExitStack() as stack:
        work = save or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="varsr-")))
        evaluation = Evaluation(plan, stack.enter_context(measuring(workers)), pick_device(device))
        methods = _methods(method or [], models, variants, device, dtype)
        for run in _runs(evaluation, folders, methods, reference, input, degrade, scale, seed, work):
            report.show(evaluation, run)
    report.finish(markdown, csv)
    raise typer.Exit(1 if report.failed else 0)


def _plan(measures: str, convention: Convention) -> Plan:
    """The measures of a list. Raises `RequestError` for unknown ones, and where they need a package or a file."""
    from varsr.errors import RequestError
    from varsr.evaluation.evaluate import Plan
    from varsr.evaluation.learned import require_pyiqa
    from varsr.evaluation.metrics.niqe import load_pristine
    from varsr.evaluation.summary import ALL_MEASURES

    names = tuple(dict.fromkeys(name.strip().lower() for name in measures.split(",")))
    for name in names:
        if name not in ALL_MEASURES:
            raise RequestError(f"{name!r} is not a measure.", f"Known are {', '.join(ALL_MEASURES)}.")
    if convention.niqe_model:
        load_pristine(convention.niqe_model)
    plan = Plan(names, convention)
    require_pyiqa([*plan.by_network, *plan.of_folders])
    return plan


def _check(
    folders: Sequence[Path],
    upscales: bool,
    inputs: Path | None,
    degrade: DegradationName | None,
    json: bool,
    markdown: bool,
) -> None:
    """Raise `RequestError` for options that contradict each other."""
    from varsr.errors import RequestError

    if inputs and degrade:
        raise RequestError("Inputs are either given or made.", "Choose one of `input` and `degrade`.")
    if (inputs or degrade) and not upscales:
        raise RequestError(
            f"Nothing is to be upscaled: {', '.join(map(str, folders))} are results.", "Add a `model` or a `method`."
        )
    if json and markdown:
        raise RequestError("The report is either JSON or Markdown.", "Choose one of `json` and `markdown`.")


def _methods(
    names: Sequence[str], models: Sequence[str], variants: Sequence[Options], device: str, dtype: DtypeName
) -> list[Method]:
    """The methods by name, then the models with each of the options."""
    from varsr.evaluation.methods import method_of, model_methods
    from varsr.upscaling.upscaler import ModelChoice
    from varsr.weights.registry import default_model

    methods: list[Method] = [method_of(name) for name in names]
    for given in models:
        name = given or default_model()
        label = Path(name).stem if "/" in name or name.endswith(".safetensors") else name
        methods += model_methods(ModelChoice(model=name, device=device, dtype=dtype), label, variants)
    return methods


def _runs(
    evaluation: Evaluation,
    folders: Sequence[Path],
    methods: Sequence[Method],
    reference: Path,
    inputs: Path | None,
    degrade: DegradationName | None,
    scale: int,
    seed: int,
    work: Path,
) -> Iterator[MethodRun]:
    """One run for each folder of results and for each method."""
    from varsr.evaluation.session import Made, distinct_names, given_sources, made_sources, method_run, results_run

    distinct_names([*(folder.name for folder in folders), *(one.name for one in methods)])
    for folder in folders:
        yield results_run(evaluation, folder, reference)
    if methods:
        made = Made(degrade, scale, seed) if degrade else None
        sources = made_sources(reference, made, work) if made else given_sources(inputs, reference)
        for method in methods:
            yield method_run(evaluation, method, sources, work)
