"""A server that speaks the Hub's routes for downloading files of one small repository."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/model"


@dataclass
class Behaviour:
    """The server's behaviour, and the requests that it got."""

    files: dict[str, Path]
    token: str | None = None
    """Without it, requests are answered 401."""
    breaks: int = 0
    """So many transfers are cut off half way."""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and Range of each request."""

    def fetched(self) -> list[str | None]:
        """The ranges of the requests for a file's bytes."""
        return [asked for method, path, asked in self.requests if method == "GET" and "/resolve/" in path]


class _Handler(BaseHTTPRequestHandler):
    behaviour: ClassVar[Behaviour]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        asked = self.headers.get("Range")
        self.behaviour.requests.append((self.command, self.path, asked))
        match = re.fullmatch(rf"/{REPOSITORY}/resolve/([^/]+)/(.+)", self.path)
        authorized = self.behaviour.token in (None, (self.headers.get("Authorization") or "").removeprefix("Bearer "))
        if not authorized:
            self._refuse(401, "GatedRepo")
        elif match is None:
            self._refuse(404, "RepoNotFound")
        elif match[1] not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif match[2] not in self.behaviour.files:
            self._refuse(404, "EntryNotFound")
        else:
            self._send(self.behaviour.files[match[2]].read_bytes(), asked)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, asked: str | None) -> None:
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        rest = content[start:]
        if self.behaviour.breaks:
            self.behaviour.breaks -= 1
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(rest)


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """Serve on the loopback; yields the endpoint."""
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
