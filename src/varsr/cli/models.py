"""varsr models: what there is, pull, remove, convert, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from varsr.choices import StoredDtype
from varsr.cli.console import messages
from varsr.cli.options import Debug, Quiet, complete_model
from varsr.errors import RequestError

models = typer.Typer(help="List, download, convert and remove models.", no_args_is_help=False)

Name = Annotated[
    str, typer.Argument(help="A name that `varsr models` lists.", show_default=False, autocompletion=complete_model)
]
Dtype = Annotated[StoredDtype, typer.Option(help="The type of the stored matrices.")]


@models.callback(invoke_without_command=True)
def overview(context: typer.Context, debug: Debug = False) -> None:
    """List the models by name: installed or not, size, licence and where. * marks the default."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table

    from varsr.weights.registry import default_model, load_registry
    from varsr.weights.store import VARIANTS, cached_path

    default = default_model()
    table = Table("", "name", "installed", "size", "licence", "where", "description", box=None, pad_edge=False)
    for model in load_registry().models.values():
        paths = {variant: path for variant in VARIANTS if (path := cached_path(model, variant))}
        unique = dict.fromkeys(paths.values())
        built_in = model.format == "built-in"
        table.add_row(
            "*" if model.name == default else "",
            model.name,
            "built in" if built_in else ", ".join(paths) or "no",
            ", ".join(decimal(path.stat().st_size) for path in unique),
            model.licence,
            "\n".join(map(str, unique)) or f"hf:{model.repository}",
            model.description,
        )
    Console(soft_wrap=True).print(table)


@models.command()
def pull(name: Name, dtype: Dtype = "bf16", quiet: Quiet = False, debug: Debug = False) -> None:
    """Download a model, convert it where needed, and print where it is."""
    from varsr.weights.registry import load_registry
    from varsr.weights.store import download_model

    print(download_model(load_registry()[name], dtype))


@models.command()
def remove(name: Name, quiet: Quiet = False, debug: Debug = False) -> None:
    """Delete a model from this machine, the Hub's cache included."""
    from rich.filesize import decimal

    from varsr.weights.registry import load_registry
    from varsr.weights.store import remove as remove_model

    messages.say(f"{decimal(remove_model(load_registry()[name]))} freed.")


@models.command()
def convert(
    vqvae: Annotated[Path, typer.Argument(metavar="VQVAE.pth", help="The published tokenizer.", show_default=False)],
    varsr: Annotated[Path, typer.Argument(metavar="VARSR.pth", help="The published transformer.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The safetensors file to write.", show_default=False)],
    dtype: Dtype = "bf16",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Convert the published pickles to one safetensors file, read as plain tensors: nothing in them is run."""
    from varsr.errors import OutputError
    from varsr.runtime.device import DTYPES
    from varsr.weights.convert import convert as convert_files

    if output.suffix != ".safetensors":
        raise RequestError(f"{output} is not the name of a safetensors file.", "Use the suffix .safetensors.")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already.", "Use --overwrite to replace it.")
    convert_files(vqvae, varsr, output, DTYPES[dtype])
    print(output)


@models.command()
def info(
    model: Annotated[str, typer.Argument(help="A name, a file, a folder or hf:owner/name.", show_default=False)],
    debug: Debug = False,
) -> None:
    """Show the sizes of an installed model: its configuration as JSON, and its number of parameters."""
    import json
    import math
    from dataclasses import asdict

    from varsr.generation.generator import inference_of
    from varsr.upscaling.preset import presets_of
    from varsr.weights.checkpoint import read_config, read_shapes
    from varsr.weights.presets import preset_tables
    from varsr.weights.store import resolve_cached_model

    path = resolve_cached_model(model)
    config, tables = read_config(path), preset_tables(path, model)
    if config.classes is None:
        presets = asdict(presets_of(tables, config, str(path)))
    else:
        presets = {"default": asdict(inference_of(tables, config, path))}
    details = {
        "path": str(path),
        "bytes": path.stat().st_size,
        "parameters": sum(math.prod(shape) for shape in read_shapes(path).values()),
        "config": json.loads(config.to_json()),
        "presets": presets,
    }
    print(json.dumps(details, indent=2))
