"""A proxy in front of a server, which breaks what it is told to break."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["busy", "throttle", "cut answer", "cut request", "slow", "deny"]
_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
_DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>No.</Message></Error>"


@dataclass(frozen=True)
class Asked:
    """A request as the proxy saw it."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Proxy:
    """Requests that came, and a rule that says which fault one meets."""

    port: int
    rule: Callable[[Asked], Fault | None] = lambda _: None
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    at_once: int = 0
    """Requests that are being answered."""
    most_at_once: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def first(self, count: int, fault: Fault, matches: Callable[[Asked], bool]) -> None:
        """The first requests that match meet a fault, each path for itself."""
        met: dict[str, int] = {}

        def rule(asked: Asked) -> Fault | None:
            if not matches(asked):
                return None
            key = f"{asked.method} {asked.path}"
            met[key] = met.get(key, 0) + 1
            return fault if met[key] <= count else None

        self.rule = rule

    def always(self, fault: Fault, matches: Callable[[Asked], bool]) -> None:
        """All requests that match meet a fault."""
        self.rule = lambda asked: fault if matches(asked) else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    upstream: int

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        with self.proxy.lock:
            self.proxy.at_once += 1
            self.proxy.most_at_once = max(self.proxy.most_at_once, self.proxy.at_once)
        try:
            self._pass_on()
        finally:
            with self.proxy.lock:
                self.proxy.at_once -= 1

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815, the names that http.server looks for

    def _pass_on(self) -> None:
        asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        with self.proxy.lock:
            self.proxy.asked.append(asked)
            fault = self.proxy.rule(asked)
        length = int(self.headers.get("content-length") or 0)
        if fault == "cut request":
            self.rfile.read(length // 2)
            self._cut()
            return
        body = self.rfile.read(length)
        if fault in ("busy", "throttle", "deny"):
            status, text = {"busy": (500, b""), "throttle": (503, _SLOW_DOWN), "deny": (403, _DENIED)}[fault]
            self._answer(status, {}, text)
            return
        if fault == "slow":
            time.sleep(1)
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        answer = connection.getresponse()
        content = answer.read()
        headers = {n: v for n, v in answer.getheaders() if n.lower() not in ("connection", "transfer-encoding", "date")}
        connection.close()
        if fault == "cut answer" and not content:
            self._cut()
            return
        if fault == "cut answer":
            self._answer(answer.status, headers, content[: len(content) // 2], promised=len(content))
            self._cut()
            return
        self._answer(answer.status, headers, content)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, promised: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "server"):
                self.send_header(name, value)
        length = headers.get("Content-Length", headers.get("content-length")) if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(body) if promised is None else promised))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)


@contextmanager
def faulting(upstream: int) -> Iterator[Proxy]:
    """A proxy in front of the server at a port of this machine."""
    handler = type("Handler", (_Handler,), {"upstream": upstream})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    proxy = Proxy(server.server_port)
    handler.proxy = proxy  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
