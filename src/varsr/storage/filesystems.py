"""The storages of Amazon, Google and Azure through fsspec, one client a scheme.

A client raises `FileNotFoundError` for an object or a bucket that is not there, `PermissionError` where access is
denied.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from varsr.errors import RequestError
from varsr.storage.address import EXTRAS, Remote
from varsr.storage.retry import with_retries

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_MODULES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}


class FilesystemClient:
    """A storage that fsspec knows."""

    def __init__(self, scheme: str, **options: Any) -> None:
        try:
            import fsspec

            __import__(_MODULES[scheme])
        except ImportError as error:
            extra = EXTRAS[scheme]
            raise RequestError(
                f"{scheme}:// needs the extra varsr[{extra}].", f'Install it: pip install "varsr[{extra}]"'
            ) from error
        self.filesystem: AbstractFileSystem = fsspec.filesystem(
            scheme, use_listings_cache=False, skip_instance_cache=True, **options
        )

    def get(self, remote: Remote, path: Path) -> None:
        """Write an object to a file."""
        with_retries(lambda: self.filesystem.get_file(_full(remote), str(path)))

    def put(self, path: Path, remote: Remote) -> None:
        """Make an object of a file, whole or not at all, of the media type of its suffix."""
        arguments = self.arguments(mimetypes.guess_type(remote.name)[0] or "application/octet-stream")
        with_retries(lambda: self.filesystem.put_file(str(path), _full(remote), **arguments))

    def arguments(self, media_type: str) -> dict[str, Any]:
        """The arguments of an upload that set an object's media type."""
        raise NotImplementedError

    def entries(self, folder: Remote) -> Iterator[tuple[str, bool]]:
        """The names of what is in a folder, and whether each is a folder itself."""
        found = with_retries(lambda: self.filesystem.ls(_full(folder).rstrip("/"), detail=True, refresh=True))
        start = _full(folder).rstrip("/") + "/"
        for entry in found:
            if (name := str(entry["name"])).startswith(start):
                yield name.removeprefix(start), entry["type"] == "directory"

    def is_folder(self, remote: Remote) -> bool:
        """True where a name is not an object and begins the names of some."""
        return str(with_retries(lambda: self.filesystem.info(_full(remote)))["type"]) == "directory"

    def has_container(self, remote: Remote) -> bool:
        """True where the bucket is there."""
        return bool(with_retries(lambda: self.filesystem.exists(remote.container)))


class GoogleClient(FilesystemClient):
    """Google Cloud Storage."""

    def __init__(self) -> None:
        super().__init__("gs")

    def arguments(self, media_type: str) -> dict[str, Any]:
        return {"content_type": media_type}


class AzureClient(FilesystemClient):
    """Azure Blob Storage."""

    def __init__(self) -> None:
        super().__init__("az")

    def arguments(self, media_type: str) -> dict[str, Any]:
        from azure.storage.blob import ContentSettings  # it came with adlfs

        return {"content_settings": ContentSettings(content_type=media_type), "overwrite": True}


class S3Client(FilesystemClient):
    """Amazon S3, and what speaks its protocol."""

    def __init__(self) -> None:
        once = {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": 60}
        super().__init__("s3", config_kwargs=once)  # it is tried again here, where that is counted
        self.filesystem.retries = 1

    def arguments(self, media_type: str) -> dict[str, Any]:
        return {"ContentType": media_type}

    def entries(self, folder: Remote) -> Iterator[tuple[str, bool]]:
        """By its own listing: for a folder without objects, s3fs would list the whole of the one above it."""
        prefix = folder.key.rstrip("/") + "/" if folder.key else ""
        page: dict[str, Any] = {}
        while True:
            asked = {"Bucket": folder.container, "Prefix": prefix, "Delimiter": "/", **page}
            answer = with_retries(lambda asked=asked: self.filesystem.call_s3("list_objects_v2", **asked))  # type: ignore[misc]
            for entry in answer.get("Contents", []):
                yield str(entry["Key"]).removeprefix(prefix), False
            for entry in answer.get("CommonPrefixes", []):
                yield str(entry["Prefix"]).removeprefix(prefix), True
            if not answer.get("IsTruncated"):
                return
            page = {"ContinuationToken": answer["NextContinuationToken"]}

    def has_container(self, remote: Remote) -> bool:
        """By its own request: where access is denied, `exists` of s3fs says that the bucket is not there."""
        with_retries(lambda: self.filesystem.call_s3("head_bucket", Bucket=remote.container))
        return True


def _full(remote: Remote) -> str:
    return f"{remote.container}/{remote.key}"
