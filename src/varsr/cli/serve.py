"""varsr serve."""

from __future__ import annotations

from typing import Annotated

import typer

from varsr.cli import options as cli

_SERVER = "Server"

Host = Annotated[str, typer.Option("--host", rich_help_panel=_SERVER, help="Address to listen on.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65_535, rich_help_panel=_SERVER, help="Port to listen on.")]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="VARSR_TOKEN", rich_help_panel=_SERVER, show_envvar=False,
                 show_default="VARSR_TOKEN, else none on loopback and a new one elsewhere",
                 help="Token that clients have to know."),
]  # fmt: skip
AllowedHost = Annotated[
    list[str] | None,
    typer.Option("--allowed-host", rich_help_panel=_SERVER, help="Name that the server answers to; may be repeated."),
]
RootPath = Annotated[
    str, typer.Option("--root-path", rich_help_panel=_SERVER, help="Path below which a proxy serves it.")
]
Idle = Annotated[
    float, typer.Option("--idle", min=0.1, rich_help_panel=_SERVER, help="Minutes until an idle model is unloaded.")
]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 7007,
    token: Token = None,
    allowed_host: AllowedHost = None,
    root_path: RootPath = "",
    idle: Idle = 10.0,
    model: cli.ModelName = "",
    device: cli.Device = "auto",
    dtype: cli.Dtype = "auto",
    no_compile: cli.NoCompile = False,
    config: cli.Config = None,
    settings: cli.SettingsName = None,
    quiet: cli.Quiet = False,
    debug: cli.Debug = False,
) -> None:
    """Serve a page and an API for upscaling, at http://127.0.0.1:7007. Prints the address.

    varsr serve

    varsr serve --host 0.0.0.0 --allowed-host photos.example.org
    """
    from varsr.cli.console import messages
    from varsr.errors import RequestError

    try:
        from varsr.web.serve import Address
        from varsr.web.serve import serve as start
    except ImportError as error:
        raise RequestError(
            "The server needs packages that are not installed.", 'Run: pip install "varsr[serve]"'
        ) from error
    from varsr.upscaling.upscaler import ModelChoice
    from varsr.weights.registry import default_model, require_task

    chosen = model or default_model()
    require_task(chosen, "upscale")
    address = Address.of(host, port, token, allowed_host or (), root_path)
    choice = ModelChoice(model=chosen, device=device, dtype=dtype, compiled=not no_compile)

    def ready() -> None:
        print(address.url, flush=True)
        messages.say("Ctrl-C ends it.")

    start(address, choice, 60 * idle, ready)
