"""Images in buckets of the Hub: a server that speaks its protocol and Xet's, behind a proxy, and the program."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Run
from tests.storage import bucket_server
from tests.storage.bucket_server import TOKEN, Hub
from tests.storage.conftest import small_photo
from tests.storage.proxy import Asked, Fault, Proxy, faulting
from varsr.errors import RequestError
from varsr.storage.address import Remote, place_of

pytest.importorskip("hf_xet", reason="needs hf-xet, which some machines have no package of")


@dataclass
class Bucket:
    """A client of the bucket me/photos, past the proxy."""

    hub: Hub
    api: Any
    scratch: Path

    def put(self, files: dict[str, bytes]) -> None:
        self.api.batch_bucket_files("me/photos", add=[(content, name) for name, content in files.items()])

    def get(self, name: str) -> bytes:
        path = self.scratch / "got"
        self.api.download_bucket_files("me/photos", [(name, path)], raise_on_missing_files=True)
        return path.read_bytes()

    def names(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self.hub.buckets["me/photos"] if name.startswith(prefix))


@dataclass
class Cloud:
    """A bucket, the proxy in front of it, and the environment in which it is the Hub."""

    bucket: Bucket
    proxy: Proxy
    environment: dict[str, str]


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    scratch = tmp_path_factory.mktemp("scratch")
    monkeypatch.setenv("HF_XET_CACHE", str(scratch / "xet"))
    with bucket_server.serving() as (hub, port), faulting(port) as proxy:
        api = HfApi(endpoint=f"http://127.0.0.1:{port}", token=TOKEN)
        environment = {"HF_ENDPOINT": proxy.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
        yield Cloud(Bucket(hub, api, scratch), proxy, environment)


@pytest.fixture
def upscale(varsr: Run, cloud: Cloud, nano: Path) -> Run:
    def run(*arguments: str | Path, **circumstances: str) -> Any:
        circumstances = cloud.environment | circumstances
        return varsr("upscale", *arguments, "-m", nano, "--scale", "2", "--dtype", "fp32", **circumstances)

    return run


def uploads(asked: Asked) -> bool:
    return "/v1/xorbs/" in asked.path or "/v1/shards" in asked.path


def test_a_folder_of_a_bucket_comes_out_as_a_local_one_does(
    cloud: Cloud, upscale: Run, varsr: Run, nano: Path, tmp_path: Path
) -> None:
    photos = {f"in/{name}": small_photo(number) for number, name in enumerate(("a.png", "sub/b c#?.png", "ü%25.png"))}
    cloud.bucket.put(photos | {"inner/d.png": small_photo(9)})  # which a listing of in/ by its prefix would find too
    result = upscale("hf://buckets/me/photos/in", "-r", "-d", "hf://buckets/me/photos/out")
    assert result.returncode == 0, result.stderr
    assert "3 done, 0 skipped, 0 failed." in result.stderr
    assert result.stdout.splitlines()[0] == "hf://buckets/me/photos/out/a_x2.png"
    assert cloud.bucket.names("out/") == ["out/a_x2.png", "out/sub/b c#?_x2.png", "out/ü%25_x2.png"]
    assert {file.media_type for file in cloud.bucket.hub.buckets["me/photos"].values()} == {"image/png"}
    for name, content in photos.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    varsr("upscale", tmp_path / "in", "-r", "-d", tmp_path / "out", "-m", nano, "--scale", "2", "--dtype", "fp32")
    for name in cloud.bucket.names("out/"):
        assert cloud.bucket.get(name) == (tmp_path / name).read_bytes()
    cloud.proxy.asked.clear()
    again = upscale("hf://buckets/me/photos/in", "-r", "-d", "hf://buckets/me/photos/out", "--skip-existing")
    assert "0 done, 3 skipped" in again.stderr
    assert len([asked for asked in cloud.proxy.asked if "/buckets/" in asked.path]) < 10


def test_from_a_bucket_to_a_file_and_back(cloud: Cloud, upscale: Run, tmp_path: Path) -> None:
    cloud.bucket.put({"a.png": small_photo(1)})
    down = upscale("hf://buckets/me/photos/a.png", "-o", tmp_path / "a.png")
    up = upscale(tmp_path / "a.png", "-o", "hf://buckets/me/photos/large.jpg")
    assert (down.returncode, up.returncode) == (0, 0), down.stderr + up.stderr
    with Image.open(io.BytesIO(cloud.bucket.get("large.jpg"))) as image:
        assert (image.format, image.size) == ("JPEG", (96, 96))


@pytest.mark.parametrize("fault", ["busy", "cut answer"])
def test_what_breaks_once_is_tried_again(cloud: Cloud, upscale: Run, fault: Fault) -> None:
    cloud.bucket.put({"in/a.png": small_photo(0), "in/b.png": small_photo(1)})
    cloud.proxy.first(1, fault, lambda asked: asked.path.startswith(("/xorbs/", "/v1/xorbs/")) or "batch" in asked.path)
    result = upscale("hf://buckets/me/photos/in", "-d", "hf://buckets/me/photos/out")
    assert result.returncode == 0, result.stderr
    assert "transfers were tried again" in result.stderr
    for name in ("out/a_x2.png", "out/b_x2.png"):
        with Image.open(io.BytesIO(cloud.bucket.get(name))) as image:
            assert image.size == (48, 48)


def test_an_upload_that_is_refused_leaves_nothing(cloud: Cloud, upscale: Run) -> None:
    cloud.bucket.put({"in/a.png": small_photo()})
    cloud.proxy.always("deny", uploads)
    result = upscale("hf://buckets/me/photos/in", "-d", "hf://buckets/me/photos/out")
    assert (result.returncode, cloud.bucket.names("out/")) == (5, [])
    assert result.stderr.count("cannot be written: access is denied.") == 1, result.stderr
    assert len([asked for asked in cloud.proxy.asked if uploads(asked)]) == 1, "a refusal is final"


@pytest.mark.parametrize(
    ("source", "target", "circumstances", "words"),
    [
        ("me/photos/none.png", "me/photos/b.png", {}, "hf://buckets/me/photos/none.png does not exist."),
        ("me/photos/a.png", "me/nowhere/b.png", {}, "The bucket me/nowhere does not exist."),
        ("me/nowhere/a.png", "me/photos/b.png", {}, "hf://buckets/me/nowhere/a.png does not exist."),
        ("me/photos/a.png", "me/photos/b.png", {"HF_TOKEN": "hf_wrong"}, "access is denied"),
        ("me/photos/a.png", "me/photos/b.png", {"HF_HUB_OFFLINE": "1"}, "OfflineModeIsEnabled"),
    ],
)
def test_what_is_not_there_or_not_allowed_is_one_line(
    cloud: Cloud, upscale: Run, source: str, target: str, circumstances: dict[str, str], words: str
) -> None:
    cloud.bucket.put({"a.png": small_photo()})
    result = upscale(f"hf://buckets/{source}", "-o", f"hf://buckets/{target}", **circumstances)
    complaints = [line for line in result.stderr.splitlines() if line.startswith("varsr: ")]
    assert len(complaints) == 1, result.stderr
    assert result.returncode in (1, 4, 5)
    assert words in complaints[0]
    assert TOKEN not in result.stderr
    assert "hf_wrong" not in result.stderr
    assert "Traceback" not in result.stderr


def test_more_files_than_one_page_of_a_listing(cloud: Cloud, upscale: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_server, "PAGE", 2)
    cloud.bucket.put({f"in/{number}.png": small_photo(number) for number in range(5)})
    result = upscale("hf://buckets/me/photos/in", "-d", "hf://buckets/me/photos/out", "--dry-run")
    assert len(result.stdout.splitlines()) == 5


def test_addresses_of_buckets() -> None:
    place = place_of("hf://buckets/me/photos/in/a b#?.png")
    assert place == Remote("hf", "buckets/me/photos", "in/a b#?.png")
    assert str(place) == "hf://buckets/me/photos/in/a b#?.png"
    assert place_of("hf://buckets/me/photos") == Remote("hf", "buckets/me/photos")
    for other in ("hf://me/model/a.png", "hf://datasets/me/photos/a.png", "hf://buckets/me", "hf://buckets//a/b"):
        with pytest.raises(RequestError, match="hf:// names a bucket"):
            place_of(other)
