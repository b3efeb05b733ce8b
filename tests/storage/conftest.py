"""An S3 server of moto's, behind a proxy that breaks what it is told to break."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.golden import DATA
from tests.storage.proxy import Proxy, faulting


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    server = pytest.importorskip("moto.server", reason="needs moto's S3 server")
    pytest.importorskip("s3fs", reason="needs the extra for S3")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    _, port = running.get_host_and_port()
    yield port
    running.stop()


@pytest.fixture
def s3(moto_port: int) -> Iterator[Any]:
    """A client of the server itself, past the proxy, with an empty bucket `photos`."""
    boto3 = pytest.importorskip("boto3")
    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{moto_port}", region_name="us-east-1",
        aws_access_key_id="key", aws_secret_access_key="secret",
    )  # fmt: skip
    client.create_bucket(Bucket="photos")
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="photos"):
        if names := [{"Key": entry["Key"]} for entry in page.get("Contents", [])]:
            client.delete_objects(Bucket="photos", Delete={"Objects": names})
    client.delete_bucket(Bucket="photos")


@pytest.fixture(scope="session")
def _proxy(moto_port: int) -> Iterator[Proxy]:
    with faulting(moto_port) as started:
        yield started


@pytest.fixture
def proxy(_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy, and an environment in which it is S3. It breaks nothing yet."""
    for name, value in cloud(_proxy).items():
        monkeypatch.setenv(name, value)
    _proxy.rule = lambda _: None
    _proxy.asked.clear()
    yield _proxy
    _proxy.rule = lambda _: None


def cloud(proxy: Proxy) -> dict[str, str]:
    """The environment in which S3 is the proxy."""
    return {
        "AWS_ENDPOINT_URL": proxy.url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip


def small_photo(number: int = 0, side: int = 24, format: str = "PNG") -> bytes:
    """A photo, other for each number."""
    buffer = io.BytesIO()
    with Image.open(DATA / "dandelion.jpg") as image:
        left, top = number * 7 % 200, number * 13 % 200
        image.crop((left, top, left + side, top + side)).save(buffer, format)
    return buffer.getvalue()
