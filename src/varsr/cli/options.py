"""Options of the commands, one type each: their names, limits and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from varsr.choices import CmykName, ColorFix, DtypeName, Speed, TiffCompression, VideoCodecName
from varsr.cli import settings
from varsr.cli.console import messages

T = TypeVar("T")
_OUTPUT, _SIZE, _FILES, _MODEL = "Output", "Size", "Files", "Model"
_GENERATION, _SPEED, _MACHINE, _MESSAGES = "Generation", "Speed", "Machine", "Messages"
_SETTINGS, _VIDEO = "Settings", "Video"
_PRESET = "the preset's"
MAX_PIXELS = 400_000_000


def _option(*names: str, panel: str, help: str, default: str | bool = True, **limits: Any) -> Any:
    """An option; `default` describes one that is not a plain value."""
    return typer.Option(*names, rich_help_panel=panel, help=help, show_default=default, **limits)


def _set_debug(value: bool) -> None:
    messages.debug = messages.debug or value


def _set_quiet(value: bool) -> None:
    messages.quiet = messages.quiet or value


def _set_verbose(value: bool) -> None:
    messages.verbose = messages.verbose or value


def _config_given(context: typer.Context, value: Path | None) -> Path | None:
    return _noted(context, settings.FILE, value)


def _group_given(context: typer.Context, value: str | None) -> str | None:
    return _noted(context, settings.GROUPS, value)


def _noted(context: typer.Context, key: str, value: T) -> T:
    """Note where settings come from; once both options are known, load them before any other option is looked at."""
    context.meta[key] = value
    if {settings.FILE, settings.GROUPS} <= context.meta.keys() and not context.resilient_parsing:
        settings.load_settings(context)
    return value


def complete_model(incomplete: str) -> list[str]:
    """Names of models for the shell to complete."""
    from varsr.weights.registry import load_registry

    return [name for name in load_registry().models if name.startswith(incomplete)]


Inputs = Annotated[
    list[str] | None, typer.Argument(help="Images and folders of images; - is standard input.", show_default=False)
]

Output = Annotated[
    str | None,
    _option("--output", "-o", panel=_OUTPUT, help="Output file for a single input; - is standard output.",
            default="by --name"),
]  # fmt: skip
OutputDir = Annotated[
    str | None,
    _option("--output-dir", "-d", panel=_OUTPUT, help="Output folder; keeps the tree of the input folder.",
            default="beside the input"),
]  # fmt: skip
Name = Annotated[
    str,
    _option("--name", panel=_OUTPUT,
            help="Output file name. Fields: {stem} {size} {scale} {ext} {source_ext} {model}."),
]  # fmt: skip
FormatName = Annotated[
    str | None,
    _option("--format", "-f", panel=_OUTPUT, help="Output format: jpeg, png, webp, tiff, bmp, gif, avif, heif or jxl.",
            default="the input's, else png"),
]  # fmt: skip
Quality = Annotated[
    int,
    _option("--quality", panel=_OUTPUT, min=1, max=100, help="Quality of JPEG, WebP, AVIF, HEIF and JPEG XL output."),
]
Lossless = Annotated[
    bool,
    _option("--lossless", panel=_OUTPUT,
            help="Write WebP, HEIF and JPEG XL without loss, AVIF with no more than RGB to YCbCr causes."),
]  # fmt: skip
Background = Annotated[
    str | None,
    _option("--background", panel=_OUTPUT, help="Flatten transparency onto this colour: white, #204060.",
            default="keep transparency"),
]  # fmt: skip
PngLevel = Annotated[
    int,
    _option("--png-level", panel=_OUTPUT, min=0, max=9, help="Effort of PNG compression: smaller files for more time."),
]
TiffCompressionName = Annotated[
    TiffCompression, _option("--tiff-compression", panel=_OUTPUT, help="Compression of TIFF.")
]
CmykChoice = Annotated[
    CmykName,
    _option("--cmyk", panel=_OUTPUT,
            help="Convert CMYK inputs to sRGB, or keep them CMYK by their profile, as JPEG and TIFF."),
]  # fmt: skip
RawWide = Annotated[
    bool, _option("--raw-wide", panel=_OUTPUT, help="Develop raw photographs in Rec. 2020 instead of sRGB.")
]

Scale = Annotated[
    float | None, _option("--scale", "-s", panel=_SIZE, help="Scale factor, 1 to 8; fractions allowed.", default="4")
]
Width = Annotated[int | None, _option("--width", panel=_SIZE, min=1, help="Output width in pixels.")]
Height = Annotated[int | None, _option("--height", panel=_SIZE, min=1, help="Output height in pixels.")]
Longest = Annotated[int | None, _option("--longest", panel=_SIZE, min=1, help="Longer output side in pixels.")]
Megapixels = Annotated[
    float | None, _option("--megapixels", panel=_SIZE, min=0.0001, help="Output area in megapixels.")
]

Recursive = Annotated[bool, _option("--recursive", "-r", panel=_FILES, help="Include subfolders.")]
FilesFrom = Annotated[
    str | None,
    _option("--files-from", panel=_FILES, help="Also take inputs from this list, a name a line; - is standard input."),
]
NullSeparated = Annotated[bool, _option("--null", "-0", panel=_FILES, help="Names in the list end with NUL.")]
Base = Annotated[
    str | None,
    _option("--base", panel=_FILES, help="Folder whose tree the list's files keep below --output-dir."),
]
Overwrite = Annotated[bool, _option("--overwrite", panel=_FILES, help="Replace outputs that exist.")]
SkipExisting = Annotated[
    bool, _option("--skip-existing", panel=_FILES, help="Skip inputs whose output exists, to resume a run.")
]
SkipLarger = Annotated[
    int | None,
    _option("--skip-larger", panel=_FILES, min=1, help="Skip inputs whose longer side has more pixels than this."),
]
DryRun = Annotated[
    bool,
    _option("--dry-run", "-n", panel=_FILES, help="List inputs and outputs, estimate size and time, and do nothing."),
]
FailFast = Annotated[bool, _option("--fail-fast", panel=_FILES, help="Stop at the first failure.")]
ShardText = Annotated[
    str, _option("--shard", panel=_FILES, help="Process part 2 of 8 of the inputs as 2/8.", default="all")
]
MaxPixels = Annotated[int, _option("--max-pixels", panel=_FILES, min=1, help="Refuse inputs with more pixels.")]
PreserveTimes = Annotated[
    bool, _option("--preserve-times", panel=_FILES, help="Copy times and permissions of inputs to outputs.")
]
ComparePage = Annotated[
    Path | None,
    _option("--compare", panel=_FILES, help="Also write a page (.html) on which inputs and results are compared."),
]
ReportPath = Annotated[
    str | None,
    _option("--report", panel=_FILES, help="Append a JSON object per line for each file to this report."),
]
Json = Annotated[bool, _option("--json", panel=_FILES, help="Print one JSON object per line for each file.")]

ModelName = Annotated[
    str,
    _option("--model", "-m", panel=_MODEL, default="VARSR_MODEL, else the one marked in `varsr models`",
            autocompletion=complete_model,
            help="Name from `varsr models`, safetensors file, folder, or hf:owner/name@revision."),
]  # fmt: skip

ClassModel = Annotated[
    str,
    _option(
        "--model",
        "-m",
        panel=_MODEL,
        autocompletion=complete_model,
        help="Class-to-image model: name, file, folder or hf:owner/name@revision.",
    ),
]

Realism = Annotated[
    float | None,
    _option("--realism", panel=_GENERATION, min=0, max=1, default=_PRESET,
            help="0 is faithful, 1 realistic. Models without a dial scale their guidance by it."),
]  # fmt: skip
Cfg = Annotated[
    float | None,
    _option("--cfg", panel=_GENERATION, min=0, default=_PRESET,
            help="Guidance scale. 0 turns guidance off; higher is sharper and less faithful."),
]  # fmt: skip
Fidelity = Annotated[
    float | None,
    _option("--fidelity", panel=_GENERATION, min=0, max=1, default=_PRESET,
            help="0 uses each token's code, 1 the expected code: higher PSNR, less sharp."),
]  # fmt: skip
Seed = Annotated[int, _option("--seed", panel=_GENERATION, min=0, help="Random seed. Same seed, same result.")]
TopK = Annotated[
    int,
    _option("--top-k", panel=_GENERATION, min=0,
            help="Sample from the K most likely tokens. 1 takes the most likely, 0 considers all."),
]  # fmt: skip
TopP = Annotated[
    float,
    _option("--top-p", panel=_GENERATION, min=0, max=1,
            help="Sample from the fewest tokens that together have this probability."),
]  # fmt: skip
Temperature = Annotated[
    float,
    _option("--temperature", panel=_GENERATION, min=0.01,
            help="Sampling temperature. Above 1 flattens the distribution, below 1 sharpens it."),
]  # fmt: skip
NoCorrector = Annotated[bool, _option("--no-corrector", panel=_GENERATION, help="Do not correct quantization errors.")]
ColorFixName = Annotated[
    ColorFix | None,
    _option("--color-fix", panel=_GENERATION, default=_PRESET, help="Transfer the input's colours to the output."),
]

SpeedName = Annotated[
    Speed,
    _option("--speed", panel=_SPEED,
            help="Preset. fast computes less and changes the image a little: see the six options below."),
]  # fmt: skip
TileOverlap = Annotated[
    int | None,
    _option("--tile-overlap", panel=_SPEED, min=0, default=_PRESET,
            help="Latent positions that neighbouring tiles share."),
]  # fmt: skip
Tokens = Annotated[
    bool | None,
    _option("--tokens/--no-tokens", panel=_SPEED, default=_PRESET,
            help="Predict tokens. Without them a model with a dial restores by its decoder alone."),
]  # fmt: skip
KeepRatio = Annotated[
    float | None,
    _option("--keep-ratio", panel=_SPEED, min=0.01, max=1, default=_PRESET,
            help="Token pruning: fraction of the tokens that is computed at the last 2 scales."),
]  # fmt: skip
GuidedTokens = Annotated[
    float | None,
    _option("--guided-tokens", panel=_SPEED, min=0.01, max=1, default=_PRESET,
            help="Fraction of those tokens that also get the negative pass at the last scale."),
]  # fmt: skip
GuidedScales = Annotated[
    int | None,
    _option("--guided-scales", panel=_SPEED, min=2, max=1000, default=_PRESET,
            help="Guidance interval: how many of the last scales are guided."),
]  # fmt: skip
CorrectorSteps = Annotated[
    int | None,
    _option("--corrector-steps", panel=_SPEED, min=2, max=1000, default=_PRESET,
            help="Denoising steps of the corrector."),
]  # fmt: skip

VideoCodec = Annotated[
    VideoCodecName | None,
    _option("--video-codec", panel=_VIDEO, help="Codec of videos.", default="h264; h265 for 10 bits, av1 for WebM"),
]
VideoCrf = Annotated[
    int | None,
    _option("--video-crf", panel=_VIDEO, min=0, help="Constant rate factor: lower is better and larger.",
            default="18, 20 and 28 for h264, h265 and av1"),
]  # fmt: skip
VideoPreset = Annotated[
    str | None,
    _option("--video-preset", panel=_VIDEO, help="Preset of the encoder: ultrafast to placebo, 0 to 13 for av1.",
            default="medium; 8"),
]  # fmt: skip
Start = Annotated[
    str | None, _option("--start", panel=_VIDEO, metavar="TIME", help="Begin here: 90, 1:30 or 0:01:30.5.")
]
Duration = Annotated[str | None, _option("--duration", panel=_VIDEO, metavar="TIME", help="Take this much of a video.")]
Fps = Annotated[
    float | None, _option("--fps", panel=_VIDEO, help="Make a video of a folder of images, at so many frames a second.")
]
NoReuse = Annotated[
    bool, _option("--no-reuse", panel=_VIDEO, help="Compute every tile of every frame, changed or not.")
]
Yes = Annotated[bool, _option("--yes", "-y", panel=_VIDEO, help="Do not ask before a run of more than an hour.")]

BatchSize = Annotated[
    int | None,
    _option("--batch-size", panel=_MACHINE, min=1, help="Tiles computed at a time.", default="by model and device"),
]
Device = Annotated[str, _option("--device", panel=_MACHINE, help="auto, cpu, cuda, cuda:1 or mps.")]
Devices = Annotated[
    str,
    _option("--device", panel=_MACHINE,
            help="auto, cpu, cuda, cuda:1 or mps; all or cuda:0,cuda:2 for a worker on each."),
]  # fmt: skip
Workers = Annotated[
    str | None,
    _option("--workers", panel=_MACHINE, help="Processes on a CPU that share its cores; auto chooses.", default="1"),
]
Ray = Annotated[
    str | None,
    _option("--ray", panel=_MACHINE, metavar="ADDRESS",
            help="Share the images out on a Ray cluster; auto begins one on this machine where there is none."),
]  # fmt: skip
RayActors = Annotated[
    str | None,
    _option(
        "--ray-actors", panel=_MACHINE, metavar="MIN,MAX", help="Loaded models on the cluster, at least and at most."
    ),
]
Dtype = Annotated[
    DtypeName,
    _option("--dtype", panel=_MACHINE,
            help="Compute dtype. auto picks the fastest that the device supports. int8 helps on CPUs without bf16."),
]  # fmt: skip
NoCompile = Annotated[
    bool,
    _option("--no-compile", panel=_MACHINE,
            help="Do not capture CUDA graphs: starts a second or two earlier, then computes more slowly."),
]  # fmt: skip

Config = Annotated[
    Path | None,
    _option("--config", panel=_SETTINGS, callback=_config_given, is_eager=True, metavar="FILE",
            default="VARSR_CONFIG, else the user's own", help="Read default values of options from this file."),
]  # fmt: skip
SettingsName = Annotated[
    str | None,
    _option("--settings", panel=_SETTINGS, callback=_group_given, is_eager=True, metavar="NAME",
            help="Use the group [settings.NAME] of that file."),
]  # fmt: skip

Debug = Annotated[
    bool,
    _option("--debug", panel=_MESSAGES, callback=_set_debug, help="Show the traceback of an error."),
]
Quiet = Annotated[bool, _option("--quiet", "-q", panel=_MESSAGES, callback=_set_quiet, help="Show errors only.")]
Verbose = Annotated[
    bool,
    _option("--verbose", "-v", panel=_MESSAGES, callback=_set_verbose,
            help="Show a line for each file, and at the end how fast it went."),
]  # fmt: skip
