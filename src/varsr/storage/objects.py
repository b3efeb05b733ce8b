"""Object storage through fsspec: objects are fetched to files, delivered from files, and listed by folder."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from varsr.errors import InputError, OutputError, RequestError, VarsrError, describe
from varsr.storage.address import OBJECT_SCHEMES, Remote
from varsr.storage.retry import with_retries

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_MODULES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}


def fetch(remote: Remote, path: Path) -> None:
    """Write an object to a file. Raises `InputError` where it cannot be had."""
    storage = _storage(remote)
    try:
        with_retries(lambda: storage.get_file(_full(remote), str(path)))
    except FileNotFoundError as error:
        raise InputError(f"{remote} does not exist.", "Check its name and that of its bucket.") from error
    except Exception as error:
        raise _refused(InputError, f"{remote} cannot be read", error) from error


def deliver(path: Path, remote: Remote) -> None:
    """Make an object of a file: whole, or not at all. Raises `OutputError` where the storage refuses it.

    A large one goes in parts, which are no object before the last one is there, and are given up where one fails.
    """
    storage = _storage(remote)
    media_type = mimetypes.guess_type(remote.name)[0] or "application/octet-stream"
    try:
        with_retries(lambda: storage.put_file(str(path), _full(remote), **_content_type(remote.scheme, media_type)))
    except FileNotFoundError as error:
        raise OutputError(f"The bucket {remote.container} does not exist.", "Create it first.") from error
    except Exception as error:
        raise _refused(OutputError, f"{remote} cannot be written", error) from error


def listed(folder: Remote) -> tuple[list[str], list[str]]:
    """The names of the objects in a folder and of the folders in it, sorted; none of a folder that does not exist.

    Raises `InputError` where it cannot be listed.
    """
    try:
        entries = _s3_entries(folder) if folder.scheme == "s3" else _entries(folder)
    except FileNotFoundError:
        return [], []
    except Exception as error:
        raise _refused(InputError, f"The folder {folder} cannot be listed", error) from error
    start = _full(folder).rstrip("/") + "/"
    inner = [(name.removeprefix(start), kind) for name, kind in entries if name.startswith(start)]
    objects = sorted(name for name, kind in inner if kind == "file" and name and not name.endswith("/"))
    return objects, sorted(name.rstrip("/") for name, kind in inner if kind == "directory" and name.rstrip("/"))


def _entries(folder: Remote) -> list[tuple[str, str]]:
    """The entries of a folder by their whole names, and whether each is a file or a directory."""
    storage = _storage(folder)
    found = with_retries(lambda: storage.ls(_full(folder).rstrip("/"), detail=True, refresh=True))
    return [(str(entry["name"]), str(entry["type"])) for entry in found]


def _s3_entries(folder: Remote) -> list[tuple[str, str]]:
    """The same of S3. For a folder without objects, s3fs would list the whole of the one above it."""
    storage, found = _storage(folder), []
    prefix = folder.key.rstrip("/") + "/" if folder.key else ""
    page: dict[str, Any] = {}
    while True:
        asked = {"Bucket": folder.container, "Prefix": prefix, "Delimiter": "/", **page}
        answer = with_retries(lambda asked=asked: storage.call_s3("list_objects_v2", **asked))  # type: ignore[misc]
        found += [(f"{folder.container}/{entry['Key']}", "file") for entry in answer.get("Contents", [])]
        found += [(f"{folder.container}/{e['Prefix']}", "directory") for e in answer.get("CommonPrefixes", [])]
        if not answer.get("IsTruncated"):
            return found
        page = {"ContinuationToken": answer["NextContinuationToken"]}


def is_folder(remote: Remote) -> bool:
    """True for a bucket, a name that ends in a slash, and one that is not an object but begins the names of some."""
    if not remote.key or remote.key.endswith("/"):
        return True
    storage = _storage(remote)
    try:
        return str(with_retries(lambda: storage.info(_full(remote)))["type"]) == "directory"
    except FileNotFoundError:
        return False
    except Exception as error:
        raise _refused(InputError, f"{remote} cannot be read", error) from error


def check_container(remote: Remote) -> None:
    """Raise `OutputError` where the bucket of a result is not there, or may not be looked into."""
    storage = _storage(remote)
    try:
        if remote.scheme == "s3":  # where access is denied, `exists` of s3fs says that there is none
            with_retries(lambda: storage.call_s3("head_bucket", Bucket=remote.container))
            return
        if with_retries(lambda: storage.exists(remote.container)):
            return
    except FileNotFoundError:
        pass
    except Exception as error:
        raise _refused(OutputError, f"The bucket {remote.container} cannot be reached", error) from error
    raise OutputError(f"The bucket {remote.container} does not exist.", "Create it, or check its name.")


def walked(folder: Remote, recursive: bool) -> Iterator[Remote]:
    """The objects of a folder and, if asked for, of those below it, each folder listed when its turn comes."""
    names, folders = listed(folder)
    base = replace(folder, key=folder.key.rstrip("/"))
    yield from (base / name for name in names)
    if recursive:
        for name in folders:
            yield from walked(base / name, recursive)


def _full(remote: Remote) -> str:
    return f"{remote.container}/{remote.key}"


def _content_type(scheme: str, media_type: str) -> dict[str, Any]:
    """The argument that sets an object's media type, by the storage."""
    if scheme == "s3":
        return {"ContentType": media_type}
    if scheme == "gs":
        return {"content_type": media_type}
    from azure.storage.blob import ContentSettings  # it came with adlfs

    return {"content_settings": ContentSettings(content_type=media_type), "overwrite": True}


@cache
def _filesystem(scheme: str) -> AbstractFileSystem:
    try:
        import fsspec

        __import__(_MODULES[scheme])
    except ImportError as error:
        extra = OBJECT_SCHEMES[scheme]
        raise RequestError(
            f"{scheme}:// needs the extra varsr[{extra}].", f'Install it: pip install "varsr[{extra}]"'
        ) from error
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme == "s3":  # it is tried again here, where that is counted
        options |= {"config_kwargs": {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": 60}}
    found = fsspec.filesystem(scheme, **options)
    if scheme == "s3":
        found.retries = 1
    return found


def _storage(remote: Remote) -> AbstractFileSystem:
    return _filesystem(remote.scheme)


def _refused(kind: type[VarsrError], sentence: str, error: Exception) -> VarsrError:
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"):
        return kind(f"{sentence}: there are no credentials.", "Set them as for the storage's own programs.")
    if isinstance(error, PermissionError):
        return kind(f"{sentence}: access is denied.", "Check the credentials and what they may do.")
    return kind(f"{sentence} ({_plain(error)}).", "Check the network and the storage, then run it again.")


def _plain(error: Exception) -> str:
    """The kind of an error and its number: texts of storages may hold addresses with signatures."""
    text = describe(error) if isinstance(error, OSError) and error.errno else ""
    return text or type(error).__name__
