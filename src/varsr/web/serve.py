"""Serving: everything is made, the address is checked, and all of it is cleared away in the end."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from varsr.errors import RequestError, describe
from varsr.storage.address import is_loopback
from varsr.upscaling.upscaler import ModelChoice
from varsr.web.api import Server
from varsr.web.app import create_app
from varsr.web.decoder import Decoder
from varsr.web.guard import LOOPBACK
from varsr.web.limits import DEFAULT, Limits
from varsr.web.queue import Queue
from varsr.web.run import run
from varsr.web.spool import Spool
from varsr.weights.registry import load_registry, model_label
from varsr.weights.store import VARIANTS, cached_path

SECONDS_FOR_WORKER = 3
"""Until the worker is left alone when the server ends."""


@dataclass(frozen=True)
class Address:
    """Where the server listens, the names that it answers to, and the token that it asks for."""

    host: str
    port: int
    names: tuple[str, ...]
    token: str | None
    root_path: str

    @classmethod
    def of(cls, host: str, port: int, token: str | None, allowed: Sequence[str], root_path: str) -> Address:
        """An address; anything but loopback gets a token where none is given."""
        names = (*LOOPBACK, host, *allowed)
        return cls(host, port, names, token or (None if is_loopback(host) else secrets.token_urlsafe(24)), root_path)

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        if self.host in ("0.0.0.0", "::"):
            name = socket.gethostname() if socket.gethostname() in self.names else "localhost"
        return f"http://{name}:{self.port}{self.root_path}/" + (f"?token={self.token}" if self.token else "")


def serve(
    address: Address, choice: ModelChoice, idle_seconds: float, ready: Callable[[], None], limits: Limits = DEFAULT
) -> None:
    """Serve until the process is told to end. Raises `RequestError` where the port is taken."""
    _check_port(address)
    models = _models(choice.model or "")
    default = next(iter(models))
    with closing(Spool(address.port)) as spool, closing(Decoder(limits)) as decoder:
        queue = Queue(lambda name: replace(choice, model=models[name]), spool, decoder, limits, idle_seconds)
        server = Server(queue, spool, decoder, limits, list(models), default)
        ready()
        try:
            run(create_app(server, address.names, address.token, address.root_path), address.host, address.port, limits)
        finally:
            queue.close(SECONDS_FOR_WORKER)


def _models(default: str) -> dict[str, str]:
    """The models that clients may name, by the names that they see: the default, and those on this machine."""
    registered = load_registry().models
    found = {default if default in registered else model_label(default): default}
    for name, entry in registered.items():
        if entry.task == "upscale" and any(cached_path(entry, variant) for variant in VARIANTS):
            found.setdefault(name, name)
    return found


def _check_port(address: Address) -> None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
    except OSError as error:
        raise RequestError(
            f"{address.host}:{address.port} cannot be listened on ({describe(error)}).", "Choose another with `port`."
        ) from error
