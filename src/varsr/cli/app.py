"""The command line's root: commands, the version, and one place where errors become exits."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from varsr import __version__
from varsr.cli.bench import bench
from varsr.cli.compare import compare
from varsr.cli.config import config
from varsr.cli.console import messages, print_any_name
from varsr.cli.doctor import doctor
from varsr.cli.evaluate import evaluate
from varsr.cli.generate import generate
from varsr.cli.models import models
from varsr.cli.options import Debug
from varsr.cli.serve import serve
from varsr.cli.upscale import upscale
from varsr.cli.watch import watch
from varsr.jobs.interruption import raise_dropped_interruptions

EXIT_CODES = """Exit codes: 0 done, 1 some images failed or an unforeseen error, 2 wrong request, 3 model not to
be had, 4 input not readable, 5 output not writable, 6 no such device, 7 too little memory, 8 no valid image computed,
130 interrupted, 143 terminated."""

app = typer.Typer(
    name="varsr",
    help="Make photographs larger and sharper: super-resolution by visual autoregressive modelling.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(upscale)
app.command()(evaluate)
app.command()(compare)
app.command()(generate)
app.command()(watch)
app.command()(serve)
app.command()(bench)
app.command()(doctor)
app.add_typer(models, name="models")
app.add_typer(config, name="config")


def _show_version(value: bool) -> None:
    if value:
        print(f"varsr {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Make photographs larger and sharper: super-resolution by visual autoregressive modelling."""


def main() -> None:
    """Run the command line; every error ends as one line on standard error and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    raise_dropped_interruptions()
    _shorten_spinning()
    _replace_closed_streams()
    _leave_deleted_folder()
    print_any_name()
    messages.log_to_standard_error()
    try:
        app()
    except Exception as error:
        sys.exit(messages.fail(error))


def _shorten_spinning() -> None:
    """Let threads that wait for each other give up their cores soon, unless the user has said how they should wait.

    PyTorch's threads (GNU OpenMP) spin for milliseconds. Beside a busy program the one waited for may have no core, as
    the spinning one keeps it. This long is enough while nothing else runs.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "10000"


def _replace_closed_streams() -> None:
    """Put the null device where whoever started the program closed a standard stream (`2>&-`).

    Python has None there, and the next file that is opened would get the stream's number: what libraries in C
    print would end in it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _leave_deleted_folder() -> None:
    """Work elsewhere where the current folder is gone, without which PyTorch does not start.

    Relative paths mean nothing then. Where this goes no file can be made, so that none ends in a wrong place.
    """
    try:
        Path.cwd()
    except OSError:
        os.chdir("/proc" if Path("/proc").is_dir() else "/")


def _terminate(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)
