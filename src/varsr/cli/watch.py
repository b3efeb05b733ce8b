"""varsr watch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from varsr.cli import options as cli
from varsr.images.formats import DEFAULT_PNG_LEVEL, DEFAULT_QUALITY
from varsr.jobs.naming import DEFAULT_TEMPLATE
from varsr.upscaling.options import DEFAULTS, Options

if TYPE_CHECKING:
    from varsr.jobs.watch import Wakeups

_WATCHING = "Watching"
_POLL_SECONDS = 5.0

InboxFolder = Annotated[Path, typer.Argument(help="Folder to watch.", show_default=False)]
OutputFolder = Annotated[
    str, typer.Option("--output-dir", "-d", rich_help_panel=_WATCHING, help="Output folder.", show_default=False)
]
MoveDone = Annotated[
    Path | None,
    typer.Option("--move-done", rich_help_panel=_WATCHING, help="Move inputs to this folder once they are done."),
]
FailedFolder = Annotated[
    Path | None,
    typer.Option("--failed", rich_help_panel=_WATCHING, show_default="INBOX/failed",
                 help="Folder that inputs are moved to that fail, each with a text file that has the reason."),
]  # fmt: skip
Exclude = Annotated[
    list[Path] | None,
    typer.Option("--exclude", rich_help_panel=_WATCHING, help="Subfolder to leave out; may be repeated."),
]
Settle = Annotated[
    float,
    typer.Option("--settle", min=0, rich_help_panel=_WATCHING, help="Seconds a file must not have changed for."),
]
Poll = Annotated[
    bool,
    typer.Option("--poll", rich_help_panel=_WATCHING, help="Look every 5 seconds: for network drives."),
]


def watch(
    inbox: InboxFolder,
    output_dir: OutputFolder,
    move_done: MoveDone = None,
    failed: FailedFolder = None,
    exclude: Exclude = None,
    recursive: cli.Recursive = False,
    settle: Settle = 2.0,
    poll: Poll = False,
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
    skip_larger: cli.SkipLarger = None,
    max_pixels: cli.MaxPixels = cli.MAX_PIXELS,
    preserve_times: cli.PreserveTimes = False,
    report: cli.ReportPath = None,
    json: cli.Json = False,
    model: cli.ModelName = "",
    realism: cli.Realism = None,
    cfg: cli.Cfg = None,
    seed: cli.Seed = DEFAULTS.seed,
    speed: cli.SpeedName = DEFAULTS.speed,
    batch_size: cli.BatchSize = None,
    device: cli.Device = "auto",
    dtype: cli.Dtype = "auto",
    no_compile: cli.NoCompile = False,
    config: cli.Config = None,
    settings: cli.SettingsName = None,
    quiet: cli.Quiet = False,
    debug: cli.Debug = False,
) -> None:
    """Upscale images as they appear in a folder, until it is interrupted. Prints the path of each result.

    varsr watch inbox/ --output-dir large/ --move-done done/
    """
    from contextlib import ExitStack

    from varsr.cli.arguments import encoding_for, local_folder
    from varsr.cli.console import in_words, messages
    from varsr.cli.report import OutcomePrinter
    from varsr.errors import InputError
    from varsr.images.size import target_size
    from varsr.jobs.inbox import Places
    from varsr.jobs.naming import Naming, naming_values
    from varsr.jobs.outcome import Policy
    from varsr.jobs.prefetch import JobSettings
    from varsr.jobs.provenance import marking
    from varsr.jobs.report import opened_report
    from varsr.jobs.watch import Watch
    from varsr.storage.address import place_of
    from varsr.upscaling.upscaler import ModelChoice
    from varsr.weights.registry import default_model, model_label, require_task

    if not inbox.is_dir():
        raise InputError(f"{inbox} is not a folder.", "Create it first.")
    folder = local_folder(output_dir)
    places = Places(inbox, folder, failed or inbox / "failed", move_done, tuple(exclude or ()), recursive)
    size = target_size(scale=scale, width=width, height=height, longest=longest, megapixels=megapixels)
    chosen = model or default_model()
    require_task(chosen, "upscale")
    options = Options(speed=speed, realism=realism, cfg=cfg, seed=seed, batch_size=batch_size)
    encoding = marking(
        encoding_for(
            format=format,
            quality=quality,
            lossless=lossless,
            background=background,
            png_level=png_level,
            tiff_compression=tiff_compression,
            cmyk=cmyk,
        ),
        model_label(chosen),
        size,
        options,
    )
    policy = Policy(
        max_pixels=max_pixels,
        skip_larger=skip_larger,
        create_folders=True,
        preserve=preserve_times,
        raw_colors="wide" if raw_wide else "srgb",
    )
    work = Watch(
        ModelChoice(model=chosen, device=device, dtype=dtype, compiled=not no_compile),
        places,
        Naming(name, folder, encoding.format),
        naming_values(size, chosen),
        JobSettings(size=size, options=options, encoding=encoding, policy=policy),
        _wakeups(inbox, poll),
        settle,
    )
    messages.say(f"Watching {inbox}; results go to {folder}. Ctrl-C ends it.")
    with ExitStack() as stack:
        lines = stack.enter_context(opened_report(place_of(report))) if report else None
        printer = OutcomePrinter(model=chosen, seed=seed, as_json=json, report=lines)
        for outcome in work:
            printer.print(outcome)
            if outcome.error is not None:
                messages.complain(f"{outcome.job.name}: {in_words(outcome.error)}")


def _wakeups(inbox: Path, poll: bool) -> Wakeups:
    from varsr.jobs.watch import Notifications, Polling

    return Polling(_POLL_SECONDS) if poll else Notifications(inbox)
