"""Images on the web, of servers that behave and of others."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from tests.in_process import lines, run
from tests.storage.conftest import small_photo
from varsr.errors import InputError
from varsr.storage import retry, web
from varsr.storage.address import Remote, place_of

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def answering(answer: Answer) -> Iterator[tuple[int, list[str]]]:
    """A server that answers so; its port, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(
    handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", length: int | None = None, **headers: str
) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("content-length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def photo(handler: BaseHTTPRequestHandler) -> None:
    send(handler, 200, small_photo())


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.02)


def test_an_image_is_fetched_and_its_query_is_shown_nowhere(nano: Path, tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        expected = "Basic " + base64.b64encode(b"user:s3cr3t").decode()
        if handler.headers["authorization"] == expected and "sig=s3cr3t" in handler.path:
            photo(handler)
        else:
            send(handler, 403)

    with answering(answer) as (port, asked):
        address = f"http://user:s3cr3t@127.0.0.1:{port}/a%20b/photo.png?sig=s3cr3t"
        report = tmp_path / "report.jsonl"
        result = run("upscale", address, "-d", tmp_path / "out", "-m", nano, "--scale", "2", "--report", report)
    assert result.code == 0, result.err
    assert lines(result) == [str(tmp_path / "out" / "photo_x2.png")]
    assert asked == ["/a%20b/photo.png?sig=s3cr3t"]
    assert "s3cr3t" not in result.err + report.read_text()
    with Image.open(tmp_path / "out" / "photo_x2.png") as image:
        assert image.size == (48, 48)


def test_what_people_type_is_encoded_and_credentials_stay_with_the_host(tmp_path: Path) -> None:
    allowed = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        allowed.append(handler.headers["authorization"])
        if "moved" in handler.path:
            photo(handler)
        else:
            send(handler, 302, location="/moved.png")

    with answering(answer) as (port, asked):
        place = place_of(f"http://me:s3cr3t@127.0.0.1:{port}/a b/ü%20.png?sig=x/y+z%3D")
        assert isinstance(place, Remote)
        web.fetch(place, tmp_path / "a.png")
    assert asked == ["/a%20b/%C3%BC%20.png?sig=x/y+z%3D", "/moved.png"]
    assert allowed[0] is not None
    assert allowed[0] == allowed[1]
    with pytest.raises(InputError) as refused:
        web.fetch(Remote("https", "a" * 80 + ".example", "a.png", "sig=s3cr3t"), tmp_path / "a.png")
    assert "s3cr3t" not in str(refused.value)


def test_redirects_within_a_host_are_followed(tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/old.png":
            send(handler, 302, location="/new.png")
        else:
            photo(handler)

    with answering(answer) as (port, asked):
        web.fetch(Remote("http", f"127.0.0.1:{port}", "old.png"), tmp_path / "a.png")
    assert asked == ["/old.png", "/new.png"]
    assert (tmp_path / "a.png").read_bytes() == small_photo()


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:{other}/a.png", "file:///etc/hostname", "http://169.254.169.254/latest/a.png",
                 "https://127.0.0.1:{other}/a.png", "ftp://example.org/a.png", "simplecache::file:///etc/hostname"],
)  # fmt: skip
def test_redirects_to_what_is_not_public_are_refused(location: str, tmp_path: Path) -> None:
    with answering(photo) as (other, reached):
        place = location.format(other=other)
        with answering(lambda handler: send(handler, 302, location=place)) as (port, asked):
            with pytest.raises(InputError):
                web.fetch(Remote("http", f"127.0.0.1:{port}", "a.png"), tmp_path / "a.png")
            if "simplecache" not in location:  # which is a path of the same host
                assert len(asked) == 1, "it is not tried again"
        assert reached == []
    assert not (tmp_path / "a.png").exists()


def test_an_address_of_a_fetched_list_leads_to_public_hosts_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)
        address = place_of(f"https://localhost:{server.getsockname()[1]}/a.png", from_remote_list=True)
        assert isinstance(address, Remote)
        with pytest.raises(InputError, match="not public"):
            web.fetch(address, tmp_path / "a.png")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100) == b"", "nothing is sent"


def test_a_host_that_redirects_for_ever(tmp_path: Path) -> None:
    with answering(lambda handler: send(handler, 307, location=handler.path + "a")) as (port, asked):
        with pytest.raises(InputError, match="redirects more than 5 times"):
            web.fetch(Remote("http", f"127.0.0.1:{port}", "a"), tmp_path / "a.png")
        assert len(asked) == 6


def test_bodies_without_an_end_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "LARGEST_FILE", 1 << 20)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    with answering(endless) as (port, asked):
        with pytest.raises(InputError, match="larger than 1 MiB"):
            web.fetch(Remote("http", f"127.0.0.1:{port}", "a.png"), tmp_path / "a.png")
        assert len(asked) == 1
    promising = answering(lambda handler: send(handler, 200, b"", length=2 << 20))
    with promising as (port, _), pytest.raises(InputError, match="larger than 1 MiB"):
        web.fetch(Remote("http", f"127.0.0.1:{port}", "a.png"), tmp_path / "a.png")


def test_a_slow_body_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "LONGEST_FETCH", 0.5)

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b".")
                threading.Event().wait(0.1)
        except OSError:
            pass

    with answering(trickle) as (port, _), pytest.raises(InputError, match="takes longer"):
        web.fetch(Remote("http", f"127.0.0.1:{port}", "a.png"), tmp_path / "a.png")


def test_what_breaks_is_tried_again_and_what_is_missing_is_not(tmp_path: Path) -> None:
    count = 0

    def unsteady(handler: BaseHTTPRequestHandler) -> None:
        nonlocal count
        count += 1
        if count == 1:
            send(handler, 503)
        elif count == 2:
            send(handler, 200, small_photo()[:100], length=len(small_photo()))
        else:
            photo(handler)

    with answering(unsteady) as (port, asked):
        web.fetch(Remote("http", f"127.0.0.1:{port}", "a.png"), tmp_path / "a.png")
        assert len(asked) == 3
    assert (tmp_path / "a.png").read_bytes() == small_photo()
    with answering(lambda handler: send(handler, 404)) as (port, asked):
        with pytest.raises(InputError, match="the server answers 404"):
            web.fetch(Remote("http", f"127.0.0.1:{port}", "a.png"), tmp_path / "a.png")
        assert len(asked) == 1


def test_nothing_is_written_beside_an_address(nano: Path) -> None:
    with answering(photo) as (port, asked):
        result = run("upscale", f"http://127.0.0.1:{port}/a.png", "-m", nano)
        assert (result.code, asked) == (5, [])
    assert "Choose a folder with --output-dir." in result.err
