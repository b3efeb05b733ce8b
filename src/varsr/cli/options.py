"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from varsr.cli.console import messages


def _set_debug(value: bool) -> None:
    messages.debug |= value


def _set_quiet(value: bool) -> None:
    messages.quiet |= value


def _set_verbose(value: bool) -> None:
    messages.verbose |= value


Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_set_debug, help="Show the traceback of an error.", rich_help_panel="Messages"),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", callback=_set_quiet, help="Show errors only.", rich_help_panel="Messages")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", callback=_set_verbose, help="Show each file.", rich_help_panel="Messages")
]
