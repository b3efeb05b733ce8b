"""Object storage: objects are fetched to files, delivered from files, and listed by folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol

from varsr.errors import InputError, OutputError, VarsrError, describe
from varsr.storage.address import Remote
from varsr.storage.buckets import BucketClient
from varsr.storage.filesystems import AzureClient, GoogleClient, S3Client


class Client(Protocol):
    """A kind of storage.

    It raises `FileNotFoundError` for what is not there, `PermissionError` where access is denied, after bounded retries
    any other error.
    """

    def get(self, remote: Remote, path: Path) -> None: ...
    def put(self, path: Path, remote: Remote) -> None: ...
    def entries(self, folder: Remote) -> Iterator[tuple[str, bool]]: ...
    def is_folder(self, remote: Remote) -> bool: ...
    def has_container(self, remote: Remote) -> bool: ...


_CLIENTS: dict[str, Callable[[], Client]] = {"s3": S3Client, "gs": GoogleClient, "az": AzureClient, "hf": BucketClient}
_CREDENTIALS = {"hf": " If it is private, set HF_TOKEN (or run: hf auth login)."}


def fetch(remote: Remote, path: Path) -> None:
    """Write an object to a file. Raises `InputError` where it cannot be had."""
    client = _client(remote.scheme)
    try:
        client.get(remote, path)
    except FileNotFoundError as error:
        raise InputError(
            f"{remote} does not exist.", "Check its name and that of its bucket." + _CREDENTIALS.get(remote.scheme, "")
        ) from error
    except Exception as error:
        raise _refused(InputError, f"{remote} cannot be read", error) from error


def deliver(path: Path, remote: Remote) -> None:
    """Make an object of a file: whole, or not at all. Raises `OutputError` where the storage refuses it.

    A large one goes in parts, which are no object before the last one is there, and are given up where one fails.
    """
    client = _client(remote.scheme)
    try:
        client.put(path, remote)
    except FileNotFoundError as error:
        raise _no_bucket(remote) from error
    except Exception as error:
        raise _refused(OutputError, f"{remote} cannot be written", error) from error


def listed(folder: Remote) -> tuple[list[str], list[str]]:
    """The names of the objects in a folder and of the folders in it, sorted; none of a folder that does not exist.

    Raises `InputError` where it cannot be listed.
    """
    client = _client(folder.scheme)
    try:
        entries = list(client.entries(folder))
    except FileNotFoundError:
        return [], []
    except Exception as error:
        raise _refused(InputError, f"The folder {folder} cannot be listed", error) from error
    objects = sorted(name for name, is_folder in entries if not is_folder and name and not name.endswith("/"))
    return objects, sorted(name.rstrip("/") for name, is_folder in entries if is_folder and name.rstrip("/"))


def is_folder(remote: Remote) -> bool:
    """True for a bucket, a name that ends in a slash, and one that is not an object but begins the names of some."""
    if not remote.key or remote.key.endswith("/"):
        return True
    client = _client(remote.scheme)
    try:
        return client.is_folder(remote)
    except FileNotFoundError:
        return False
    except Exception as error:
        raise _refused(InputError, f"{remote} cannot be read", error) from error


def check_container(remote: Remote) -> None:
    """Raise `OutputError` where the bucket of a result is not there, or may not be looked into."""
    client = _client(remote.scheme)
    try:
        if client.has_container(remote):
            return
    except FileNotFoundError:
        pass
    except Exception as error:
        raise _refused(OutputError, f"The bucket {remote.bucket} cannot be reached", error) from error
    raise _no_bucket(remote)


def walked(folder: Remote, recursive: bool) -> Iterator[Remote]:
    """The objects of a folder and, if asked for, of those below it, each folder listed when its turn comes."""
    names, folders = listed(folder)
    base = replace(folder, key=folder.key.rstrip("/"))
    yield from (base / name for name in names)
    if recursive:
        for name in folders:
            yield from walked(base / name, recursive)


@cache
def _client(scheme: str) -> Client:
    return _CLIENTS[scheme]()


def _no_bucket(remote: Remote) -> OutputError:
    return OutputError(
        f"The bucket {remote.bucket} does not exist.",
        "Create it, or check its name." + _CREDENTIALS.get(remote.scheme, ""),
    )


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
