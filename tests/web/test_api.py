"""The API, asked over HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import signal
import socket
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

from tests.conftest import isolated
from tests.images.dng import write_dng
from tests.waiting import wait_for
from tests.web.server import Server, image_bytes, serving
from varsr.errors import RequestError
from varsr.upscaling.upscaler import ModelChoice
from varsr.web.app import create_app
from varsr.web.preview import Reducer
from varsr.web.serve import Address, serve
from varsr.web.wishes import clean_name

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
FORM = "multipart/form-data; boundary=line"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return isolated(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def server(home: dict[str, str], nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(home, nano, tmp_path_factory.mktemp("spool")) as started:
        yield started


def form(*parts: tuple[str, bytes, str | None]) -> bytes:
    text = b""
    for name, value, file in parts:
        named = f'; filename="{file}"' if file is not None else ""
        text += f'--line\r\ncontent-disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + value + b"\r\n"
    return text + b"--line--\r\n"


def test_the_answer_is_the_result(server: Server) -> None:
    status, answer, headers = server.post("/api/v1/upscale?scale=2&name=a.png", image_bytes())
    assert (status, headers["content-type"]) == (200, "image/png")
    assert 'filename="a_x2.png"' in headers["content-disposition"]
    with Image.open(io.BytesIO(answer)) as image:
        assert image.size == (60, 48)
    accepted = server.post("/api/v1/upscale?scale=1", image_bytes(), accept="image/webp,image/png")
    assert accepted[2]["content-type"] == "image/webp"
    sent = form(("scale", b"3", None), ("format", b"jpeg", None), ("file", image_bytes(), "b.png"))
    status, answer, headers = server.post("/api/v1/upscale", sent, FORM)
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(answer)) as image:
        assert image.size == (90, 72)
    wait_for(lambda: all(job["name"] not in ("a.png", "b.png") for job in server.get("/api/v1/jobs")), 10)


def test_a_job_from_its_start_to_its_end(server: Server) -> None:
    job = server.add("scale=2&name=photo.png")
    assert job["state"] in ("waiting", "running")
    done = server.wait(job["id"])
    assert (done["state"], done["output_size"], done["progress"]) == ("done", [60, 48], 1.0)
    _, result, _ = server.ask("GET", f"/api/v1/jobs/{job['id']}/result")
    with Image.open(io.BytesIO(result)) as image:
        assert image.size == (60, 48)
    for which in ("before", "after"):
        status, preview, headers = server.ask("GET", f"/api/v1/jobs/{job['id']}/{which}.jpg")
        assert (status, headers["content-type"], preview[:2]) == (200, "image/jpeg", b"\xff\xd8")
    _, events, headers = server.ask("GET", f"/api/v1/jobs/{job['id']}/events")
    assert headers["content-type"].startswith("text/event-stream")
    assert json.loads(events.decode().removeprefix("data: "))["state"] == "done"
    _, archive, _ = server.ask("GET", "/api/v1/results.zip")
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        assert "photo_x2.png" in found.namelist()
        assert found.testzip() is None
    assert server.ask("DELETE", f"/api/v1/jobs/{job['id']}")[0] == 204
    assert server.ask("GET", f"/api/v1/jobs/{job['id']}")[0] == 404
    assert not any(path.name.startswith(job["id"]) for path in server.spool.iterdir())


def test_models_metrics_and_documentation(server: Server) -> None:
    assert server.get("/api/v1/models")["default"] == "nano"
    assert "mini" in server.get("/api/v1/models")["models"]
    metrics = server.ask("GET", "/metrics")[1].decode()
    assert 'varsr_jobs_total{state="done"}' in metrics
    schema = server.get("/openapi.json")
    assert {"/api/v1/upscale", "/api/v1/jobs", "/api/v1/jobs/{job_id}"} <= schema["paths"].keys()
    page = server.ask("GET", "/docs")[1].decode()
    assert "http" not in page.replace("https", "http").partition("<body>")[2]
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert server.ask("GET", f"/docs/{name}")[0] == 200
    for name in ("../pyproject.toml", "..%2f..%2fapp.py", "index.html"):
        assert server.ask("GET", f"/docs/{name}")[0] == 404


def test_every_answer_forbids_what_a_page_needs_not(server: Server) -> None:
    for path in ("/", "/static/app.js", "/api/v1/jobs", "/api/v1/jobs/none", "/nothing"):
        headers = server.ask("GET", path)[2]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def bomb_of_pages() -> bytes:
    """200 pages of 4000 x 4000 px in a file of some kilobytes a page."""
    buffer, page = io.BytesIO(), zlib.compress(bytes(4000 * 4000))
    with tifffile.TiffWriter(buffer) as writer:
        for _ in range(200):
            writer.write(iter([page]), shape=(4000, 4000), dtype=np.uint8, compression="zlib", rowsperstrip=4000)
    return buffer.getvalue()


def bomb_of_pixels() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


def hostile() -> list[tuple[str, str, bytes, dict[str, str], set[int]]]:
    """Requests: method, path, body, headers, and the statuses that are right."""
    png, image = image_bytes(), {"content-type": "image/png"}
    jobs, upscale = "/api/v1/jobs", "/api/v1/upscale"
    found: list[tuple[str, str, bytes, dict[str, str], set[int]]] = [
        ("POST", jobs, b"", image, {400}),
        ("POST", jobs, b"no image", image, {422}),
        ("POST", jobs, png[:50], image, {422}),
        ("POST", jobs, bomb_of_pages(), {"content-type": "image/tiff"}, {422}),
        ("POST", jobs, bomb_of_pixels(), image, {422}),
        ("POST", jobs, png, {"content-type": "text/html"}, {415}),
        ("POST", jobs, png, {"content-type": "application/x-www-form-urlencoded"}, {415}),
        ("POST", jobs, png, {"content-type": "application/json"}, {415}),
        ("POST", jobs, png, {}, {415}),
        ("POST", jobs, b"<svg xmlns='http://www.w3.org/2000/svg'/>", {"content-type": "image/svg+xml"}, {422}),
        ("POST", jobs, png, {"content-type": "multipart/form-data"}, {400}),
        ("POST", jobs, b"--line\r\nbroken", {"content-type": FORM}, {400}),
        ("POST", jobs, form(("scale", b"2", None)), {"content-type": FORM}, {400}),
        ("POST", jobs, form(("file", png, "a.png"), ("file", png, "b.png")), {"content-type": FORM}, {400}),
        ("POST", jobs, form(("note", bytes(100_000), None), ("file", png, "a")), {"content-type": FORM}, {413}),
        ("POST", jobs, form(("colour", b"2", None), ("file", png, "a.png")), {"content-type": FORM}, {422}),
        ("POST", jobs, png, image | {"content-length": str(10**9)}, {413}),
        ("POST", jobs, png, image | {"origin": "null"}, {403}),
        ("POST", jobs, png, image | {"origin": "http://evil.example"}, {403}),
        ("POST", jobs, png, image | {"origin": "http://127.0.0.1"}, {403}),
        ("POST", jobs, png, image | {"sec-fetch-site": "cross-site"}, {403}),
        ("DELETE", jobs + "/x", b"", {"origin": "http://evil.example"}, {403}),
        ("GET", jobs, b"", {"origin": "null"}, {403}),
        ("GET", "/", b"", {"host": "evil.example"}, {421}),
        ("GET", "/", b"", {"host": "127.0.0.1.evil.example"}, {421}),
        ("GET", "/", b"", {"host": "evil.example:7007"}, {421}),
        ("GET", "/", b"", {"host": ""}, {400, 421}),
        ("GET", "/static/../app.py", b"", {}, {404}),
        ("GET", "/static/..%2f..%2fapp.py", b"", {}, {404}),
        ("GET", "/static/%2fetc%2fpasswd", b"", {}, {404}),
        ("GET", jobs + "/..%2f..%2fetc%2fpasswd/result", b"", {}, {404}),
        ("GET", jobs + "/none/result", b"", {}, {404}),
        ("GET", jobs + "/none/events", b"", {}, {404}),
        ("GET", jobs + "/none/..%2fbefore.jpg", b"", {}, {404}),
        ("PUT", jobs, png, image, {405}),
        ("PATCH", upscale, png, image, {405}),
        ("GET", upscale, b"", {}, {405}),
        ("TRACE", "/", b"", {}, {405}),
        ("GET", "/" + "a" * 60_000, b"", {}, {400, 404, 414, 431}),
        ("GET", "/", b"", {"x-long": "a" * 60_000}, {400, 431}),
    ]
    queries = [
        "scale=9", "scale=0", "scale=-1", "scale=nan", "scale=inf", "scale=a", "scale=1&width=20", "width=0",
        "width=99999999", "megapixels=1e9", "realism=2", "realism=nan", "quality=0", "quality=1e9", "seed=-1",
        "format=exe", "format=../png", "model=/etc/passwd", "model=hf:owner/name", "model=../nano", "model=varsr-c2i",
        "unknown=1", "lossless=1&format=jpeg", "scale=%00",
    ]  # fmt: skip
    return found + [("POST", f"{upscale}?{query}", png, image, {422}) for query in queries]


def test_hostile_requests_are_refused_with_a_reason(server: Server) -> None:
    requests = hostile()
    assert len(requests) >= 60
    for method, path, body, headers, statuses in requests:
        status, answer, _ = server.ask(method, path, body or None, headers)
        assert status in statuses, (method, path[:80], headers, status, answer[:200])
        assert b"Traceback" not in answer
        if answer != b"Invalid HTTP request received.":  # the server's own, for what is not HTTP
            assert json.loads(answer)["error"]
    assert server.post("/api/v1/upscale?scale=1", image_bytes())[0] == 200


def test_raw_photographs_are_developed(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("rawpy", reason="needs the extra for raw photographs")
    write_dng(tmp_path / "a.dng", np.full((40, 60), 0.5))
    raw = (tmp_path / "a.dng").read_bytes()
    status, answer, _ = server.post("/api/v1/upscale?scale=2&name=a.DNG", raw, "application/octet-stream")
    assert status == 200, answer
    with Image.open(io.BytesIO(answer)) as image:
        assert image.size == (120, 80)


def test_names_of_files_are_text(server: Server) -> None:
    name = "../../etc/<img onerror=alert(1)>\r\nx: y.png"
    sent = form(("scale", b"1", None), ("file", image_bytes(), "..%2f..%2f<img onerror>.png"))
    job = json.loads(server.post("/api/v1/jobs", sent, FORM)[1])
    assert "<" not in job["name"]
    assert server.wait(job["id"])["state"] == "done"
    headers = server.ask("GET", f"/api/v1/jobs/{job['id']}/result")[2]
    assert "<" not in headers["content-disposition"]
    assert clean_name(name) == "img onerror=alert(1)x y.png"
    assert clean_name("..") == clean_name("") == "image"
    assert clean_name("C:\\photos\\a.png") == "a.png"
    assert len(clean_name("a" * 1000)) == 100


def test_the_reason_of_a_failure(server: Server) -> None:
    status, answer, _ = server.post("/api/v1/jobs?scale=1&format=jpeg", transparent())
    job = server.wait(json.loads(answer)["id"])
    assert (status, job["state"]) == (202, "failed")
    assert "transparency" in job["error"]
    assert server.ask("GET", f"/api/v1/jobs/{job['id']}/result")[0] == 422


def transparent() -> bytes:
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    ImageDraw.Draw(image).rectangle((0, 0, 9, 9), (0, 0, 0, 0))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_slow_clients_are_cut_off_and_an_idle_model_is_unloaded(
    home: dict[str, str], nano: Path, tmp_path: Path
) -> None:
    limits = "Limits(header_seconds=1, body_seconds=1, connections=50, pixels=100_000)"
    script = (
        "from varsr.upscaling.upscaler import ModelChoice\nfrom varsr.web.limits import Limits\n"
        "from varsr.web.serve import Address, serve\nimport sys\n"
        "address = Address.of('127.0.0.1', int(sys.argv[1]), None, (), '')\n"
        f"serve(address, ModelChoice(model={str(nano)!r}), 1.0, lambda: print('ready', flush=True), {limits})\n"
    )
    with serving(home, nano, tmp_path, script=script) as server:
        slow_head = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        slow_body = b"POST /api/v1/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\n"
        with socket.create_connection(("127.0.0.1", server.port), 10) as head:
            head.sendall(slow_head)
            assert head.recv(100) == b""
        with socket.create_connection(("127.0.0.1", server.port), 10) as second:
            second.sendall(slow_head + b"\r\n")
            assert second.recv(100_000).startswith(b"HTTP/1.1 200")
            second.sendall(slow_head)
            while second.recv(100_000):
                pass
        with socket.create_connection(("127.0.0.1", server.port), 10) as body:
            body.sendall(slow_body + b"content-length: 1000\r\n\r\n123")
            assert body.recv(1000).startswith(b"HTTP/1.1 408")
        with ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            assert server.ask("GET", "/healthz")[0] == 503
        wait_for(lambda: server.ask("GET", "/healthz")[0] == 200, 10)
        larger = server.add("scale=4", image_bytes(side=200))  # than an input may be
        assert server.wait(larger["id"])["state"] == "done"
        assert server.ask("GET", f"/api/v1/jobs/{larger['id']}/after.jpg")[0] == 200
        assert "varsr_model_loaded 1" in server.ask("GET", "/metrics")[1].decode()
        wait_for(lambda: b"varsr_model_loaded 0" in server.ask("GET", "/metrics")[1], 10)
        assert list(server.spool.glob("*input")) == []


def test_a_token_is_asked_for_beyond_loopback(home: dict[str, str], nano: Path, tmp_path: Path) -> None:
    with serving(home, nano, tmp_path, "--host", "0.0.0.0") as server:
        assert "?token=" in server.url
        token = server.url.partition("?token=")[2]
        assert server.ask("GET", "/healthz")[0] == 200
        for path in (
            "/",
            "/api/v1/jobs",
            "/metrics",
            "/openapi.json",
            "/docs",
            "/?token=wrong",
            "/?token=",
            "/api/v1/jobs/healthz",
        ):
            assert server.ask("GET", path)[0] == 401, path
        assert server.ask("GET", "/metrics", None, {"authorization": f"Bearer {token}"})[0] == 200
        assert server.ask("GET", "/metrics", None, {"authorization": "Bearer wrong"})[0] == 401
        status, _, headers = server.ask("GET", f"/?token={token}&a=b")
        assert (status, headers["location"]) == (303, "/?a=b")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert token not in cookie
        assert server.ask("GET", f"//evil.example/?token={token}")[2]["location"] == "/evil.example/"
        session = cookie.partition(";")[0]
        assert server.ask("GET", "/api/v1/jobs", None, {"cookie": session})[0] == 200
        server.process.send_signal(signal.SIGTERM)
        assert token not in server.process.communicate(timeout=20)[1]


def test_many_clients_at_once(server: Server) -> None:
    """200 requests from 8 clients: none fails, and the memory does not grow."""
    failures: list[Any] = []
    memory: list[int] = []
    done = iter(range(1, 201))
    lock = threading.Lock()

    def client() -> None:
        while True:
            with lock:
                number = next(done, None)
                if number in (50, 200):
                    memory.append(server.memory())
            if number is None:
                return
            while (answer := server.post("/api/v1/upscale?scale=1", image_bytes(number % 50)))[0] == 503:
                time.sleep(0.2)
            if answer[0] != 200:
                failures.append(answer)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert memory[1] < 1.1 * memory[0]


def test_the_queue_is_bounded_and_small_jobs_pass_a_huge_one(home: dict[str, str], nano: Path, tmp_path: Path) -> None:
    model = tmp_path / "whole.safetensors"
    shutil.copy(nano, model)
    model.with_suffix(".toml").write_text('[presets.default]\ncolor_fix = "adain"\n')  # no band before the last tile
    with serving(home, model, tmp_path) as server:
        buffer = io.BytesIO()
        Image.effect_noise((1000, 1000), 50).save(buffer, "PNG")
        huge = server.add("scale=4", buffer.getvalue())
        while server.get(f"/api/v1/jobs/{huge['id']}")["state"] != "running":
            time.sleep(0.05)
        small = server.add("scale=1")
        assert server.wait(small["id"])["state"] == "done"
        assert server.get(f"/api/v1/jobs/{huge['id']}")["state"] == "running"
        middling = image_bytes(side=400)
        statuses = [server.post("/api/v1/jobs?scale=4", middling)[0] for _ in range(70)]
        assert set(statuses) == {202, 503}
        status, answer, headers = server.post("/api/v1/jobs", image_bytes())
        assert (status, headers["retry-after"]) == (503, "10")
        assert json.loads(answer)["error"] == "The server has too many jobs."
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.communicate(timeout=20)
        assert time.monotonic() - began < 10
        assert not server.spool.exists()


def test_nothing_stays_after_a_kill_and_a_restart(home: dict[str, str], nano: Path, tmp_path: Path) -> None:
    with serving(home, nano, tmp_path) as server:
        server.wait(server.add()["id"])
        port, spool = server.port, server.spool
        assert any(spool.iterdir())
        server.process.kill()
        server.process.communicate()
    with serving(home, nano, tmp_path, port=port) as again:
        assert again.spool == spool
        assert not any(spool.iterdir())


def test_a_client_that_goes_away_takes_its_job_along(server: Server) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((900, 900), 50).save(buffer, "PNG")
    body = buffer.getvalue()
    head = "POST /api/v1/upscale?scale=4&name=gone.png HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)
        wait_for(lambda: any(job["name"] == "gone.png" for job in server.get("/api/v1/jobs")), 30)
    wait_for(lambda: not any(job["name"] == "gone.png" for job in server.get("/api/v1/jobs")), 30)


def test_a_port_that_is_taken(server: Server) -> None:
    with pytest.raises(RequestError, match="cannot be listened on"):
        serve(Address.of("127.0.0.1", server.port, None, (), ""), ModelChoice(), 60, lambda: None)
    assert Address.of("192.0.2.1", 80, None, (), "").token
    assert Address.of("::1", 80, None, (), "/varsr").url == "http://[::1]:80/varsr/"


def test_a_thousand_connections_are_open_at_once(home: dict[str, str], nano: Path, tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("needs 2,000 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    limited = home | {"PYTHONWARNINGS": "error"}
    with serving(limited, nano, tmp_path) as server, ExitStack() as stack:
        for _ in range(990):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
        assert server.ask("GET", "/healthz")[0] == 200
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
        wait_for(lambda: server.ask("GET", "/healthz")[0] == 503, 5)
        stack.close()
        wait_for(lambda: server.ask("GET", "/healthz")[0] == 200, 10)
        assert server.wait(server.add()["id"])["state"] == "done"


@pytest.mark.parametrize("strips", [True, False], ids=["stripping proxy", "proxy that passes paths on"])
def test_a_server_below_a_path_of_a_proxy(home: dict[str, str], nano: Path, tmp_path: Path, strips: bool) -> None:
    arguments = ("--root-path", "/photos", "--allowed-host", "example.org", "--token", "secret")
    with serving(home, nano, tmp_path, *arguments) as server:
        prefix, named = "" if strips else "/photos", {"host": "example.org"}
        assert server.ask("GET", f"{prefix}/healthz", None, named)[0] == 200
        status, _, headers = server.ask("GET", f"{prefix}/?token=secret", None, named)
        assert (status, headers["location"]) == (303, "/photos/")
        known = named | {"cookie": headers["set-cookie"].partition(";")[0]}
        assert b"<title>varsr" in server.ask("GET", f"{prefix}/", None, known)[1]
        assert server.ask("GET", f"{prefix}/static/viewer.js", None, known)[0] == 200
        status, answer, headers = server.ask(
            "POST", f"{prefix}/api/v1/jobs?scale=1", image_bytes(), known | {"content-type": "image/png"}
        )
        assert (status, headers["location"]) == (202, f"jobs/{json.loads(answer)['id']}")
        described = json.loads(server.ask("GET", f"{prefix}/openapi.json", None, known)[1])
        assert described["servers"] == [{"url": "/photos"}]


def test_an_unforeseen_error_is_answered_with_the_headers_of_every_answer() -> None:
    app = create_app(cast("Any", None), ["localhost"], None)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/metrics", "raw_path": b"/metrics", "query_string": b"",
             "headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http",
             "server": ("localhost", 80)}  # fmt: skip
    with pytest.raises(AttributeError):  # passed on, for the log
        asyncio.run(cast("Any", app)(scope, receive, send))
    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 500
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]
    assert b"Traceback" not in sent[1]["body"]


def test_previews_of_long_results_are_means_of_squares() -> None:
    rng = np.random.default_rng(0)
    color = rng.random((9000, 7, 3), np.float32)
    reducer = Reducer((9000, 7))
    passed = np.concatenate(list(reducer.passing(np.array_split(color, 97))))
    assert np.array_equal(passed, color)
    reduced = reducer.color()
    assert reduced.shape == (3000, 3, 3)
    np.testing.assert_allclose(reduced[0, 0], color[:3, :3].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(reduced[-1, -1], color[-3:, 6:].mean((0, 1)), rtol=1e-5)
