"""The server itself: uvicorn with deadlines that it does not have by itself."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from varsr.web.limits import Limits

FILES_BESIDE_CONNECTIONS = 256
SECONDS_FOR_REQUESTS = 5
"""Until requests at work are cut off when the server ends."""


def protocol_of(limits: Limits) -> type[H11Protocol]:
    """HTTP/1.1 on a connection that is closed where the head of a request is not whole in time."""

    class TimedProtocol(H11Protocol):
        """The protocol of one server's limits."""

        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._set_deadline()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._clear_deadline()
            elif self._deadline is None:
                self._set_deadline()

        def connection_lost(self, exc: Exception | None) -> None:
            self._clear_deadline()
            super().connection_lost(exc)

        def _set_deadline(self) -> None:
            self._deadline = self.loop.call_later(limits.header_seconds, self._expire)

        def _clear_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _expire(self) -> None:
            self._deadline = None
            if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
                self.transport.close()

    return TimedProtocol


def run(app: Any, host: str, port: int, limits: Limits) -> None:
    """Serve until the process is told to end; requests at work get some seconds."""
    _allow_open_files(limits.connections + FILES_BESIDE_CONNECTIONS)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol_of(limits),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=SECONDS_FOR_REQUESTS,
        h11_max_incomplete_event_size=32 << 10,
    )
    uvicorn.Server(config).run()


def _allow_open_files(count: int) -> None:
    """Raise the process's own limit of open files, which many systems set to 1,024, as far as it may be."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
