"""The server as a process, and a small client of its API."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image

from tests.golden import DATA
from tests.waiting import wait_for


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def image_bytes(number: int = 0, side: int = 30, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    with Image.open(DATA / "dandelion.jpg") as image:
        image.crop((number, number, number + side, number + side - 6)).save(buffer, format)
    return buffer.getvalue()


class Client:
    """Asks a server, a new connection each time."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        return json.loads(self.ask("GET", path)[1])

    def post(
        self, path: str, body: bytes, media: str = "image/png", **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        return self.ask("POST", path, body, {"content-type": media} | headers)

    def add(self, query: str = "scale=1", body: bytes | None = None) -> Any:
        status, answer, _ = self.post(f"/api/v1/jobs?{query}", image_bytes() if body is None else body)
        assert status == 202, answer
        return json.loads(answer)

    def wait(self, job_id: str, seconds: float = 60) -> Any:
        place = f"/api/v1/jobs/{job_id}"
        wait_for(lambda: self.get(place)["state"] not in ("waiting", "running"), seconds)
        return self.get(place)


class Server(Client):
    """A server process."""

    def __init__(self, process: subprocess.Popen[str], port: int, folder: Path, url: str) -> None:
        super().__init__(port)
        self.process, self.url = process, url
        user = os.getuid() if hasattr(os, "getuid") else 0
        self.spool = folder / f"varsr-serve-{user}-{port}"

    def memory(self) -> int:
        """Bytes of memory of the process."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def serving(
    environment: dict[str, str],
    model: Path,
    folder: Path,
    *arguments: str,
    port: int | None = None,
    script: str | None = None,
) -> Iterator[Server]:
    """A server that answers; of a `script`, which gets the port, instead of the command line's."""
    chosen = port or free_port()
    command = [sys.executable, "-m", "varsr", "serve", "--port", str(chosen), "-m", str(model), "--dtype", "fp32"]
    if script is not None:
        command = [sys.executable, "-c", script, str(chosen)]
    process = subprocess.Popen(
        [*command, *arguments], env=environment | {"TMPDIR": str(folder)}, cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    server = Server(process, chosen, folder, url)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(OSError, ValueError, http.client.HTTPException):
            if server.get("/healthz") == {"status": "ok"}:
                break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    try:
        yield server
    finally:
        process.kill()
        process.communicate()
