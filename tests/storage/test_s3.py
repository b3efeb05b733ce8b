"""Images in S3: what comes and goes, and what breaks on the way."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from PIL import Image

from tests.conftest import isolated
from tests.in_process import Result, lines, run
from tests.storage.conftest import cloud, small_photo
from tests.storage.proxy import Asked, Fault, Proxy
from tests.waiting import wait_for
from varsr import Upscaler, upscale_file
from varsr.errors import InputError, OutputError
from varsr.jobs.prefetch import FETCHES
from varsr.storage import objects, retry
from varsr.storage.address import Remote


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.05)


def keys(s3: Any, prefix: str = "") -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="photos", Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def content(s3: Any, key: str) -> bytes:
    return bytes(s3.get_object(Bucket="photos", Key=key)["Body"].read())


def fill(s3: Any, count: int, prefix: str = "in/") -> None:
    for number in range(count):
        s3.put_object(Bucket="photos", Key=f"{prefix}{number:03}.png", Body=small_photo(number))


def upscale(nano: Path, *arguments: str | Path) -> Result:
    return run("upscale", *arguments, "-m", nano, "--scale", "2", "--dtype", "fp32")


def puts(asked: Asked) -> bool:
    return asked.method == "PUT"


def gets_of_images(asked: Asked) -> bool:
    return asked.method == "GET" and asked.path.split("?")[0].endswith(".png")


class Watcher:
    """A second client, which lists and reads all the while, and finds every result whole."""

    def __init__(self, s3: Any, prefix: str) -> None:
        self._s3, self._prefix, self._ended = s3, prefix, threading.Event()
        self.seen: set[str] = set()
        self.broken: list[str] = []
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            for key in keys(self._s3, self._prefix):
                if key in self.seen:
                    continue
                self.seen.add(key)
                try:
                    Image.open(io.BytesIO(content(self._s3, key))).load()
                except Exception:
                    self.broken.append(key)


def test_a_folder_of_a_bucket_comes_out_as_a_local_one_does(s3: Any, proxy: Proxy, nano: Path, tmp_path: Path) -> None:
    fill(s3, 200)
    (tmp_path / "in").mkdir()
    for number in range(200):
        (tmp_path / "in" / f"{number:03}.png").write_bytes(small_photo(number))
    with Watcher(s3, "out/") as watcher:
        result = upscale(nano, "s3://photos/in", "-r", "-d", "s3://photos/out")
    assert (result.code, watcher.broken) == (0, [])
    assert "200 done, 0 skipped, 0 failed." in result.err
    assert lines(result)[0] == "s3://photos/out/000_x2.png"
    upscale(nano, tmp_path / "in", "-d", tmp_path / "out")
    for number in range(200):
        expected = (tmp_path / "out" / f"{number:03}_x2.png").read_bytes()
        assert content(s3, f"out/{number:03}_x2.png") == expected
    assert s3.head_object(Bucket="photos", Key="out/000_x2.png")["ContentType"] == "image/png"
    proxy.asked.clear()
    again = upscale(nano, "s3://photos/in", "-r", "-d", "s3://photos/out", "--skip-existing")
    assert "0 done, 200 skipped" in again.err
    assert len(proxy.asked) < 8, "one listing of a folder, not a request for each name"


def test_a_run_that_is_killed_goes_on_with_what_is_missing(s3: Any, proxy: Proxy, nano: Path, tmp_path: Path) -> None:
    fill(s3, 60)
    command = [sys.executable, "-m", "varsr", "upscale", "s3://photos/in", "-r", "-d", "s3://photos/out",
               "--skip-existing", "-m", str(nano), "--dtype", "fp32"]  # fmt: skip
    environment = isolated(tmp_path) | cloud(proxy)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(keys(s3, "out/")) >= 10, 60)
    process.kill()
    process.wait()
    done = keys(s3, "out/")
    assert 10 <= len(done) < 60
    proxy.asked.clear()
    result = run("upscale", "s3://photos/in", "-r", "-d", "s3://photos/out", "--skip-existing", "-m", nano,
                 "--dtype", "fp32")  # fmt: skip
    assert f"{60 - len(done)} done, {len(done)} skipped, 0 failed." in result.err
    assert sum(gets_of_images(asked) for asked in proxy.asked) == 60 - len(done)
    assert len(keys(s3, "out/")) == 60


@pytest.mark.parametrize("fault", ["busy", "throttle", "cut answer", "slow"])
@pytest.mark.parametrize("what", ["downloads", "uploads", "listings"])
def test_what_breaks_twice_is_tried_again(s3: Any, proxy: Proxy, nano: Path, fault: Any, what: str) -> None:
    fill(s3, 2)
    matches = {"downloads": gets_of_images, "uploads": puts,
               "listings": lambda asked: "list-type" in asked.path}[what]  # fmt: skip
    proxy.first(2, fault, matches)
    result = upscale(nano, "s3://photos/in", "-d", "s3://photos/out")
    assert result.code == 0, result.err
    assert len(keys(s3, "out/")) == 2
    assert ("transfers were tried again" in result.err) == (fault != "slow")
    for key in keys(s3, "out/"):
        Image.open(io.BytesIO(content(s3, key))).load()


def test_several_images_are_fetched_at_a_time(s3: Any, proxy: Proxy, nano: Path, tmp_path: Path) -> None:
    fill(s3, 9)
    proxy.always("slow", gets_of_images)
    proxy.most_at_once = 0
    result = upscale(nano, "s3://photos/in", "-d", tmp_path)
    assert lines(result) == [str(tmp_path / f"{number:03}_x2.png") for number in range(9)]
    assert 3 <= proxy.most_at_once <= FETCHES + 2


def test_an_upload_that_is_cut_leaves_nothing(s3: Any, proxy: Proxy, nano: Path) -> None:
    fill(s3, 2)
    proxy.always("cut request", lambda asked: puts(asked) and "000" in asked.path)
    with Watcher(s3, "out/") as watcher:
        result = upscale(nano, "s3://photos/in", "-d", "s3://photos/out")
    assert (result.code, watcher.broken, keys(s3, "out/")) == (1, [], ["out/001_x2.png"])
    assert "s3://photos/in/000.png: s3://photos/out/000_x2.png cannot be written" in result.err
    assert "1 done, 0 skipped, 1 failed." in result.err


def test_a_large_object_that_fails_in_its_parts_is_given_up(s3: Any, proxy: Proxy, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(110 << 20)
    broken: list[str] = []

    def rule(asked: Asked) -> Fault | None:
        if "partNumber=2" not in asked.path or broken:
            return None
        broken.append(asked.path)
        return "busy"

    proxy.rule = rule
    objects.deliver(large, Remote("s3", "photos", "large.bin"))
    assert s3.head_object(Bucket="photos", Key="large.bin")["ContentLength"] == 110 << 20
    s3.delete_object(Bucket="photos", Key="large.bin")
    proxy.always("deny", lambda asked: "partNumber=3" in asked.path)
    with pytest.raises(OutputError, match="access is denied"):
        objects.deliver(large, Remote("s3", "photos", "large.bin"))
    assert keys(s3, "large") == []
    assert s3.list_multipart_uploads(Bucket="photos").get("Uploads", []) == []


def test_what_is_denied_or_missing_is_one_line_each(s3: Any, proxy: Proxy, nano: Path) -> None:
    fill(s3, 1)
    proxy.always("deny", gets_of_images)
    denied = upscale(nano, "s3://photos/in/000.png", "-o", "s3://photos/a.png")
    assert (denied.code, denied.err.count("\n")) == (4, 1)
    assert "s3://photos/in/000.png cannot be read: access is denied." in denied.err
    proxy.rule = lambda _: None
    for arguments, code, said in (
        (("s3://photos/none.png", "-o", "s3://photos/a.png"), 4, "s3://photos/none.png does not exist."),
        (("s3://nowhere/a.png", "-o", "s3://photos/a.png"), 4, "s3://nowhere/a.png does not exist."),
        (("s3://photos/in", "-d", "s3://nowhere/out"), 5, "The bucket nowhere does not exist."),
        (("s3://photos/in/000.png", "-o", "https://example.org/a.png"), 5, "the web is read alone"),
        (("s3://photos/in", "-d", "https://example.org/out"), 2, "Nothing can be written to the web."),
    ):
        result = upscale(nano, *arguments)
        assert result.code == code, result.err
        assert said in result.err
        assert "Traceback" not in result.err


def test_wrong_credentials_are_one_line(s3: Any, proxy: Proxy, moto_port: int, nano: Path) -> None:
    fill(s3, 1)
    _check_credentials(moto_port, "0")
    try:
        result = upscale(nano, "s3://photos/in", "-d", "s3://photos/out")
    finally:
        _check_credentials(moto_port, "inf")
    assert result.code in (4, 5), result.err
    assert "access is denied" in result.err
    assert "secret" not in result.err


def _check_credentials(port: int, after: str) -> None:
    urlopen(
        Request(f"http://127.0.0.1:{port}/moto-api/reset-auth", after.encode(), {"content-type": "text/plain"})
    ).close()


def test_names_are_kept_whatever_they_hold(s3: Any, proxy: Proxy, nano: Path, tmp_path: Path) -> None:
    names = ["a b.png", "é ü.png", "x#y.png", "x?y=z.png", "deep/er/a.png", "up/../down.png", "100%25.png"]
    for name in names:
        s3.put_object(Bucket="photos", Key=f"in/{name}", Body=small_photo())
    result = upscale(nano, "s3://photos/in/", "-r", "-d", "s3://photos/out/")
    assert result.code == 0, result.err
    assert sorted(keys(s3, "out/")) == sorted(f"out/{name[:-4]}_x2.png" for name in names)
    local = upscale(nano, "s3://photos/in", "-r", "-d", tmp_path / "out")
    assert local.code == 1
    assert "s3://photos/in/up/../down.png has a name that no file can have." in local.err
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert found == sorted(f"{name[:-4]}_x2.png" for name in names if ".." not in name)


def test_more_objects_than_one_page_of_a_listing(s3: Any, proxy: Proxy) -> None:
    photo = small_photo()
    for number in range(1001):
        s3.put_object(Bucket="photos", Key=f"in/{number:04}.png", Body=photo)
    result = run("upscale", "s3://photos/in", "-d", "s3://photos/out", "--dry-run")
    assert len(lines(result)) == 1001
    assert "1,001 images to fetch and upscale" in result.err
    assert not any(gets_of_images(asked) for asked in proxy.asked)


def test_a_list_and_a_report_in_a_bucket(s3: Any, proxy: Proxy, nano: Path) -> None:
    fill(s3, 3)
    listed = "s3://photos/in/000.png\ns3://photos/in/002.png\n"
    s3.put_object(Bucket="photos", Key="list.txt", Body=listed.encode())
    arguments = ("--files-from", "s3://photos/list.txt", "--base", "s3://photos", "-d", "s3://photos/out")
    for expected in (1, 2):
        result = upscale(nano, *arguments, "--report", "s3://photos/report.jsonl", "--overwrite")
        assert result.code == 0, result.err
        assert len(keys(s3, "report-")) == expected
    assert keys(s3, "out/") == ["out/in/000_x2.png", "out/in/002_x2.png"]
    report = [json.loads(line) for line in content(s3, "report-00002.jsonl").splitlines()]
    assert [entry["input"] for entry in report] == ["s3://photos/in/000.png", "s3://photos/in/002.png"]


@pytest.mark.parametrize(
    "entry",
    ["/etc/hostname", "file:///etc/hostname", "simplecache::file:///etc/hostname", "http://169.254.169.254/a.png"],
)
def test_a_fetched_list_cannot_name_what_is_not_its_own(s3: Any, proxy: Proxy, nano: Path, entry: str) -> None:
    s3.put_object(Bucket="photos", Key="list.txt", Body=f"{entry}\n".encode())
    result = upscale(nano, "--files-from", "s3://photos/list.txt", "-d", "s3://photos/out")
    assert (result.code, result.err.count("\n"), keys(s3, "out/")) == (2, 1, [])


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.setattr(objects, "_client", objects._client.__wrapped__)  # which may have been found before
    result = run("upscale", "gs://photos/a.png", "-o", "a.png")
    assert result.code == 2
    assert "gs:// needs the extra varsr[gcs]." in result.err


def test_from_python(s3: Any, proxy: Proxy, nano: Path, tmp_path: Path) -> None:
    fill(s3, 1)
    upscaler = Upscaler.from_pretrained(str(nano), device="cpu", dtype="fp32")
    outcome = upscale_file("s3://photos/in/000.png", "s3://photos/large.jpg", upscaler, scale=2)
    assert outcome.target_size == (48, 48)
    assert s3.head_object(Bucket="photos", Key="large.jpg")["ContentType"] == "image/jpeg"
    with pytest.raises(OutputError, match="exists already"):
        upscale_file("s3://photos/in/000.png", "s3://photos/large.jpg", upscaler)


def test_a_local_run_loads_no_storage(nano: Path, photo: Path, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom varsr.cli.app import main\n"
        f"sys.argv = ['varsr', 'upscale', {str(photo)!r}, '-o', {str(tmp_path / 'a.png')!r}, '-m', {str(nano)!r}]\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "print([m for m in ('s3fs', 'fsspec.core', 'botocore', 'gcsfs', 'adlfs', 'ray') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=isolated(tmp_path), capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert (tmp_path / "a.png").exists()


def test_a_damaged_object_is_named_and_not_its_copy(s3: Any, proxy: Proxy, nano: Path) -> None:
    s3.put_object(Bucket="photos", Key="a.png", Body=b"no image")
    result = upscale(nano, "s3://photos/a.png", "-o", "s3://photos/b.png")
    assert result.code == 4
    assert "s3://photos/a.png" in result.err
    assert "/varsr-" not in result.err
    with pytest.raises(InputError, match="does not exist"):
        objects.fetch(Remote("s3", "photos", "none.png"), Path(os.devnull))


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No copy of an object stays behind."""
    import tempfile

    folder = tmp_path_factory.mktemp("staging")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []
