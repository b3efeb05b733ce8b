"""A Hub with buckets and the Xet storage behind them, as far as `huggingface_hub` asks for it.

Written after the published protocol (huggingface.co/docs/xet): xorbs are kept as they come, shards say of which chunks
of which xorbs a file is made.
"""

from __future__ import annotations

import json
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_right"
PAGE = 1000
"""Entries of one answer to a listing."""
_ENTRY = 48  # bytes of every record of a shard
_VERIFIED, _EXTENDED = 1 << 31, 1 << 30  # flags of a file in a shard
_WHEN = "2026-02-06T17:37:57.000Z"


@dataclass(frozen=True)
class Term:
    """Chunks of a xorb that stand one after the other in a file."""

    xorb: str
    size: int
    start: int
    end: int


@dataclass(frozen=True)
class Stored:
    """A file of a bucket."""

    content: str
    """The hash of its content."""
    media_type: str | None


@dataclass
class Hub:
    """The buckets, and the content of their files."""

    buckets: dict[str, dict[str, Stored]] = field(default_factory=lambda: {"me/photos": {}})
    xorbs: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, list[Term]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def size(self, content: str) -> int:
        """Bytes of a file."""
        return sum(term.size for term in self.files[content])


@contextmanager
def serving() -> Iterator[tuple[Hub, int]]:
    """A Hub on a port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        address = urlsplit(self.path)
        for pattern, answer in _ROUTES:
            if match := re.fullmatch(pattern, f"{self.command} {address.path}"):
                with self.hub.lock:
                    answer(self, *(unquote(part) for part in match.groups("")), body)
                return
        self._answer(404)

    do_POST = do_HEAD = do_GET  # noqa: N815, the names that http.server looks for

    @property
    def _root(self) -> str:
        return f"http://{self.headers['host']}"  # of the proxy, where there is one in between

    def _json(self, value: object, headers: dict[str, str] | None = None) -> None:
        self._answer(200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode())

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _allowed(self) -> bool:
        if self.headers.get("authorization") == f"Bearer {TOKEN}":
            return True
        self._answer(401, {"X-Error-Message": "Invalid username or password."})
        return False

    def _bucket(self, name: str) -> dict[str, Stored] | None:
        if not self._allowed():
            return None
        if name not in self.hub.buckets:
            self._answer(404, {"X-Error-Code": "RepoNotFound"})
        return self.hub.buckets.get(name)

    def _info(self, name: str, _: bytes) -> None:
        if (files := self._bucket(name)) is None:
            return
        size = sum(self.hub.size(file.content) for file in files.values())
        described = {"id": name, "private": True, "createdAt": _WHEN, "size": size, "totalFiles": len(files)}
        self._json(described)

    def _tree(self, name: str, prefix: str, _: bytes) -> None:
        if (files := self._bucket(name)) is None:
            return
        query = dict(part.split("=") for part in urlsplit(self.path).query.split("&") if part)
        start, entries = f"{prefix}/" if prefix else "", {}
        for path in sorted(path for path in files if path.startswith(start)):
            first, deeper, _rest = path.removeprefix(start).partition("/")
            if deeper and query.get("recursive") != "true":
                entries[first] = {"type": "directory", "path": start + first, "uploadedAt": _WHEN}
            else:
                entries[path] = self._described(files, path)
        after = int(query.get("cursor", 0))
        page = list(entries.values())[after : after + PAGE]
        more = f'<{self._root}{urlsplit(self.path).path}?cursor={after + PAGE}>; rel="next"'
        self._json(page, {"Link": more} if after + PAGE < len(entries) else {})

    def _described(self, files: dict[str, Stored], path: str) -> dict[str, Any]:
        content = files[path].content
        return {"type": "file", "path": path, "size": self.hub.size(content), "xetHash": content, "mtime": _WHEN}

    def _paths(self, name: str, body: bytes) -> None:
        if (files := self._bucket(name)) is not None:
            self._json([self._described(files, path) for path in json.loads(body)["paths"] if path in files])

    def _resolve(self, name: str, path: str, _: bytes) -> None:
        if (files := self._bucket(name)) is None:
            return
        if path not in files:
            self._answer(404, {"X-Error-Code": "EntryNotFound"})
            return
        content = files[path].content
        token = f'<{self._root}/api/buckets/{name}/xet-read-token>; rel="xet-auth"'
        self._answer(200, {"X-Xet-Hash": content, "X-Linked-Size": str(self.hub.size(content)), "Link": token})

    def _token(self, name: str, kind: str, _: bytes) -> None:
        if self._bucket(name) is None:
            return
        end = int(time.time()) + 3600
        names = {"X-Xet-Cas-Url": self._root, "X-Xet-Access-Token": kind, "X-Xet-Token-Expiration": str(end)}
        self._json({"casUrl": self._root, "accessToken": kind, "exp": end}, names)

    def _batch(self, name: str, body: bytes) -> None:
        if (files := self._bucket(name)) is None:
            return
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["type"] == "addFile":
                assert entry["xetHash"] in self.hub.files, "a file without a shard"
                files[entry["path"]] = Stored(entry["xetHash"], entry.get("contentType"))
            else:
                files.pop(entry["path"], None)
        self._json({"success": True, "processed": len(body.splitlines()), "failed": []})

    def _keep_xorb(self, content: str, body: bytes) -> None:
        inserted = content not in self.hub.xorbs
        self.hub.xorbs[content] = body
        self._json({"was_inserted": inserted})

    def _keep_shard(self, body: bytes) -> None:
        self.hub.files |= files_of_shard(body)
        self._json({"result": 1})

    def _reconstruct(self, content: str, _: bytes) -> None:
        terms = self.hub.files.get(content)
        if terms is None:
            self._answer(404)
            return
        first = int(re.match(r"bytes=(\d+)", self.headers.get("range") or "bytes=0")[1])  # type: ignore[index]
        if first:
            self._answer(416)  # files of the tests fit into the first answer
            return
        places: dict[str, list[dict[str, Any]]] = {}
        for term in terms:
            starts = chunk_starts(self.hub.xorbs[term.xorb])
            place = {"start": starts[term.start], "end": starts[term.end] - 1}
            url = f"{self._root}/xorbs/{term.xorb}"
            chunks = {"start": term.start, "end": term.end}
            places.setdefault(term.xorb, []).append({"range": chunks, "url": url, "url_range": place})
        whole = [{"hash": t.xorb, "unpacked_length": t.size, "range": {"start": t.start, "end": t.end}} for t in terms]
        self._json({"offset_into_first_range": 0, "terms": whole, "fetch_info": places})

    def _xorb(self, content: str, _: bytes) -> None:
        body = self.hub.xorbs[content]
        first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"]).groups()  # type: ignore[union-attr]
        part = body[int(first) : int(last) + 1]
        self._answer(206, {"Content-Range": f"bytes {first}-{last}/{len(body)}"}, part)


_BUCKET = r"/api/buckets/([^/]+/[^/]+)"
_ROUTES: tuple[tuple[str, Callable[..., None]], ...] = (
    (rf"GET {_BUCKET}", _Handler._info),
    (rf"GET {_BUCKET}/tree/?(.*)", _Handler._tree),
    (rf"POST {_BUCKET}/paths-info", _Handler._paths),
    (rf"GET {_BUCKET}/xet-(read|write)-token", _Handler._token),
    (rf"POST {_BUCKET}/batch", _Handler._batch),
    (r"HEAD /buckets/([^/]+/[^/]+)/resolve/(.*)", _Handler._resolve),
    (r"POST /v1/xorbs/default/(\w+)", _Handler._keep_xorb),
    (r"POST (?:/v1)?/shards", _Handler._keep_shard),
    (r"GET /v1/reconstructions/(\w+)", _Handler._reconstruct),
    (r"GET /xorbs/(\w+)", _Handler._xorb),
)


def files_of_shard(shard: bytes) -> dict[str, list[Term]]:
    """The files that a shard describes, by the hashes of their contents."""
    files, place = {}, _ENTRY  # after the header
    while shard[place : place + 32] != b"\xff" * 32:
        content = hexadecimal(shard[place : place + 32])
        flags, count = struct.unpack_from("<II", shard, place + 32)
        place += _ENTRY
        terms = []
        for number in range(count):
            start = place + number * _ENTRY
            _, size, first, end = struct.unpack_from("<4I", shard, start + 32)
            terms.append(Term(hexadecimal(shard[start : start + 32]), size, first, end))
        files[content] = terms
        place += _ENTRY * (count * (2 if flags & _VERIFIED else 1) + (1 if flags & _EXTENDED else 0))
    return files


def chunk_starts(xorb: bytes) -> list[int]:
    """Where each chunk of a xorb begins, and where the last one ends."""
    starts, place = [0], 0
    while place + 8 <= len(xorb) and xorb[place] == 0:  # the version of a chunk; a footer begins otherwise
        place += 8 + int.from_bytes(xorb[place + 1 : place + 4], "little")
        starts.append(place)
    return starts


def hexadecimal(hashed: bytes) -> str:
    """A hash as text: four numbers of 64 bits, the lowest byte of each first."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", hashed))
