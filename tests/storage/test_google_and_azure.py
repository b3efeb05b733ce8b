"""Google's and Azure's storages, by the servers that stand for them on a developer's machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.storage.conftest import small_photo
from tests.waiting import wait_for
from tests.web.server import free_port
from varsr.errors import InputError, OutputError
from varsr.storage import objects
from varsr.storage.address import Remote

ROOT = Path(__file__).parents[2]
NAMES = ("in/a.png", "in/sub/b c#?.png", "in/ü.png", "in/100%25.png")


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A server that answers."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(port), 60)
        yield
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    with suppress(OSError):
        try:
            urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except HTTPError as error:  # it answers, with whatever
            error.close()
        return True
    return False


@pytest.fixture(scope="module")
def google() -> Iterator[Remote]:
    pytest.importorskip("gcsfs", reason="needs the extra for Google Cloud Storage")
    pytest.importorskip("gcp_storage_emulator", reason="needs gcp-storage-emulator")
    port = free_port()
    script = "from gcp_storage_emulator.__main__ import main; main()"
    command = [sys.executable, "-c", script, "start", "--port", str(port), "--in-memory", "--default-bucket", "photos"]
    with running(command, port), pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # which the server does not know
        yield Remote("gs", "photos")


@pytest.fixture(scope="module")
def azure() -> Iterator[Remote]:
    pytest.importorskip("adlfs", reason="needs the extra for Azure Blob Storage")
    local = ROOT / ".azurite/node_modules/.bin/azurite-blob"
    program = str(local) if local.exists() else shutil.which("azurite-blob")
    if program is None:
        pytest.skip("needs azurite")
    from azure.storage.blob import BlobServiceClient

    port = free_port()
    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # azurite's own
    access = f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};"
    access += f"BlobEndpoint=http://127.0.0.1:{port}/{account};"
    command = [program, "--inMemoryPersistence", "--blobPort", str(port), "--skipApiVersionCheck"]
    with running(command, port), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", access)
        with BlobServiceClient.from_connection_string(access) as client:
            client.create_container("photos").close()
        yield Remote("az", "photos")


@pytest.mark.filterwarnings("ignore")  # of connections that these libraries leave open
@pytest.mark.parametrize("storage", ["google", "azure"])
def test_objects_come_and_go(storage: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    bucket: Remote = request.getfixturevalue(storage)
    (tmp_path / "a.png").write_bytes(small_photo())
    objects.check_container(bucket)
    for name in NAMES:
        objects.deliver(tmp_path / "a.png", bucket / name)
        objects.fetch(bucket / name, tmp_path / "b.png")
        assert (tmp_path / "b.png").read_bytes() == small_photo()
    assert objects.listed(bucket / "in") == (["100%25.png", "a.png", "ü.png"], ["sub"])
    assert objects.listed(bucket / "none") == ([], [])
    assert objects.listed(bucket) == ([], ["in"])
    assert [objects.is_folder(bucket / name) for name in ("in", "in/a.png", "none")] == [True, False, False]
    info = objects._client(bucket.scheme).filesystem.info("photos/in/a.png")  # type: ignore[attr-defined]
    assert info.get("contentType", (info.get("content_settings") or {}).get("content_type")) == "image/png"
    with pytest.raises(InputError, match=r"none\.png does not exist"):
        objects.fetch(bucket / "none.png", tmp_path / "b.png")
    with pytest.raises(OutputError, match="The bucket nowhere does not exist"):
        objects.deliver(tmp_path / "a.png", Remote(bucket.scheme, "nowhere", "a.png"))
    with pytest.raises(OutputError, match="The bucket nowhere does not exist"):
        objects.check_container(Remote(bucket.scheme, "nowhere"))
