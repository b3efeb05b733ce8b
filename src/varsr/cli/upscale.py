"""varsr upscale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from varsr.choices import ColorFix, DtypeName
from varsr.cli.console import messages
from varsr.cli.options import Debug, Quiet


def _option(*names: str, panel: str | None = None, default: str | None = None, help: str, **limits: Any) -> Any:
    """An option whose default, where it is no plain value, is described in words."""
    return typer.Option(*names, rich_help_panel=panel, help=help, show_default=default or True, **limits)


_output = _option(
    "--output", "-o", help="Where to write; the suffix is the format.", default="beside the input, NAME_x4"
)
_scale = _option(help="How many times as wide and high, 1 to 8, fractions too.")
_overwrite = _option("--overwrite", help="Replace an output that exists.")
_model = _option(
    "--model",
    "-m",
    panel="Model",
    envvar="VARSR_MODEL",
    help="A name that `varsr models` lists, a safetensors file, a folder, or hf:owner/name@revision.",
    default="the one marked in `varsr models`",
)
_cfg = _option(
    panel="Generation",
    min=0,
    help="Strength of guidance, 0 for none: more is crisper and less faithful.",
    default="the model's",
)
_seed = _option(panel="Generation", min=0, help="Same seed, same result.")
_top_k = _option(
    panel="Generation", min=0, help="Draw tokens from the K likeliest; 1 takes the likeliest, 0 considers all."
)
_top_p = _option(panel="Generation", min=0, max=1, help="Draw from the fewest tokens that hold this probability.")
_temperature = _option(panel="Generation", min=0.01, help="Flatten (above 1) or sharpen (below 1) the draw.")
_no_corrector = _option("--no-corrector", panel="Generation", help="Leave quantization errors as they are.")
_color_fix = _option(panel="Generation", help="Bring colours back to the input's.", default="the model's")
_tile_overlap = _option(
    panel="Machine", min=0, help="Latent cells that neighbouring tiles share.", default="a quarter tile, 8 for varsr"
)
_batch_size = _option(panel="Machine", min=1, help="Tiles at a time.", default="by model and device")
_device = _option(panel="Machine", help="auto, cpu, cuda, cuda:1, mps.")
_dtype = _option(panel="Machine", help="The type to compute in; auto is the fastest.")


def upscale(
    input: Annotated[Path, typer.Argument(help="The picture: JPEG, PNG, WebP or TIFF.", show_default=False)],
    output: Annotated[Path | None, _output] = None,
    scale: Annotated[float, _scale] = 4.0,
    overwrite: Annotated[bool, _overwrite] = False,
    model: Annotated[str, _model] = "",
    cfg: Annotated[float | None, _cfg] = None,
    seed: Annotated[int, _seed] = 0,
    top_k: Annotated[int, _top_k] = 1,
    top_p: Annotated[float, _top_p] = 1.0,
    temperature: Annotated[float, _temperature] = 1.0,
    no_corrector: Annotated[bool, _no_corrector] = False,
    color_fix: Annotated[ColorFix | None, _color_fix] = None,
    tile_overlap: Annotated[int | None, _tile_overlap] = None,
    batch_size: Annotated[int | None, _batch_size] = None,
    device: Annotated[str, _device] = "auto",
    dtype: Annotated[DtypeName, _dtype] = "auto",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Upscale a picture. Prints the path of the result.

    varsr upscale photo.jpg

    varsr upscale scan.tif -o large.tif --scale 2.5
    """
    from varsr.imaging.read import read_photo  # heavy imports wait until a command runs
    from varsr.imaging.write import check_fits, check_target, write_photo
    from varsr.model.sampling import Sampling
    from varsr.naming import default_output
    from varsr.upscaler import Options, Upscaler, scaled_size
    from varsr.weights.registry import default_model
    from varsr.weights.store import locate

    photo = read_photo(input)
    size = scaled_size(photo.size, scale)
    target = output or default_output(input, photo.format, scale)
    check_target(target, overwrite)
    check_fits(target, size, photo.alpha is not None)
    options = Options(
        cfg=cfg,
        seed=seed,
        sampling=Sampling(top_k, top_p, temperature),
        corrector=not no_corrector,
        color_fix=color_fix,
        overlap=tile_overlap,
        batch_size=batch_size,
    )
    path = locate(model or default_model(), dtype, messages.say)
    upscaler = Upscaler.from_checkpoint(path, device=device, dtype=dtype)
    with messages.progress(input.name) as on_progress:
        result = upscaler.upscale_photo(photo, size, options, on_progress)
    write_photo(result, target)
    print(target)
