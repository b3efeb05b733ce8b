"""Buckets of the Hugging Face Hub through its own library, which brings the transfer by Xet."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from varsr.errors import RequestError
from varsr.storage.address import Remote
from varsr.storage.retry import with_retries

if TYPE_CHECKING:
    from huggingface_hub import BucketFile, HfApi

T = TypeVar("T")
_XET_STATUS = re.compile(r"HTTP status client error \((\d+)")
"""In the texts of Xet's errors, whose kinds do not tell a refusal from a network that is down."""


class BucketClient:
    """The buckets that the account of HF_TOKEN may use, at HF_ENDPOINT.

    It raises `FileNotFoundError` for a file or a bucket that is not there or not open to the account,
    `PermissionError` where access is denied.
    """

    def __init__(self) -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.utils import logging
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if not hasattr(HfApi, "batch_bucket_files"):
            raise RequestError("hf:// needs a newer huggingface_hub.", "Install it: pip install -U huggingface_hub")
        logging.set_verbosity_error()  # its warnings of retries; what fails in the end is said by us
        disable_progress_bars()
        os.environ.setdefault("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "0")  # it is tried again here, where that is counted
        self._api: HfApi = HfApi()

    def get(self, remote: Remote, path: Path) -> None:
        """Write a file of a bucket to one of this machine."""
        wanted: list[tuple[str | BucketFile, str | Path]] = [(remote.key, path)]
        _asked(lambda: self._api.download_bucket_files(remote.bucket, wanted, raise_on_missing_files=True))

    def put(self, path: Path, remote: Remote) -> None:
        """Make a file of a bucket of one of this machine: the content goes first, the last request names it."""
        _asked(lambda: self._api.batch_bucket_files(remote.bucket, add=[(path, remote.key)]))

    def entries(self, folder: Remote) -> Iterator[tuple[str, bool]]:
        """The names of what is in a folder, and whether each is a folder itself."""
        prefix = folder.key.rstrip("/")
        start = f"{prefix}/" if prefix else ""
        for entry in _asked(lambda: list(self._api.list_bucket_tree(folder.bucket, prefix))):
            if entry.path.startswith(start):  # the Hub also lists what merely begins alike
                yield entry.path.removeprefix(start), entry.type == "directory"

    def is_folder(self, remote: Remote) -> bool:
        """True where a name is not a file and begins the names of some."""
        if _asked(lambda: list(self._api.get_bucket_paths_info(remote.bucket, [remote.key]))):
            return False
        if any(True for _ in self.entries(remote)):
            return True
        raise FileNotFoundError(remote.key)

    def has_container(self, remote: Remote) -> bool:
        """True where the bucket is there and open to the account."""
        _asked(lambda: self._api.bucket_info(remote.bucket))
        return True


def _asked(action: Callable[[], T]) -> T:
    """Do something with retries, and say by Python's own errors what another try would meet too."""
    return with_retries(lambda: _translated(action))


def _translated(action: Callable[[], T]) -> T:
    from huggingface_hub import errors

    try:
        return action()
    except (errors.BucketNotFoundError, errors.EntryNotFoundError) as error:
        raise FileNotFoundError(str(error)) from error
    except (errors.HfHubHTTPError, ConnectionError, RuntimeError) as error:
        status = _status(error)
        if status in (401, 403):
            raise PermissionError(str(error)) from error
        if status == 404:
            raise FileNotFoundError(str(error)) from error
        raise


def _status(error: Exception) -> int | None:
    """The HTTP status that an error of the Hub's library or of Xet's tells of."""
    response = getattr(error, "response", None)
    if response is not None:
        return int(response.status_code)
    match = _XET_STATUS.search(str(error))
    return int(match[1]) if match else None
