"""Files from the Hugging Face Hub, through its own library and its cache, verified."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from pathlib import Path

from varsr.errors import WeightsError, describe
from varsr.weights.cache import hub_cache
from varsr.weights.registry import RemoteFile

_log = logging.getLogger(__name__)
_AGAIN = "Run the same command again; set HF_ENDPOINT to use a mirror."
_TOKEN = "If it is private or gated, accept its terms on the Hub and set HF_TOKEN (or run: hf auth login)."


def download(repository: str, revision: str, file: RemoteFile) -> Path:
    """The file, from the local cache where it is there, else from the Hub.

    Without a connection a cached copy serves. Honours HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE.
    Raises `WeightsError` where it cannot be had or is not what it should be; a wrong file is not kept.
    """
    if cached_path(repository, revision, file) is None:
        _log.info("Fetching %s of %s from the Hub.", file.name, repository)
    path = _fetch(repository, revision, file.name)
    _verify(path, file, repository)
    return path


def download_if_there(repository: str, revision: str, name: str) -> None:
    """Put a small file that a repository may lack into the local cache. Without a connection a cached copy serves."""
    from huggingface_hub import errors, hf_hub_download

    with suppress(errors.EntryNotFoundError, errors.HfHubHTTPError, OSError):  # LocalEntryNotFoundError is one of them
        hf_hub_download(repository, name, revision=revision, cache_dir=hub_cache())


def cached_path(repository: str, revision: str, file: RemoteFile) -> Path | None:
    """The file in the local cache, if it is there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, file.name, cache_dir=hub_cache(), revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def forget(repository: str) -> int:
    """Delete a repository from the local cache; return the bytes freed."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        info = scan_cache_dir(hub_cache())
    except CacheNotFound:
        return 0
    commits = [r.commit_hash for repo in info.repos if repo.repo_id == repository for r in repo.revisions]
    strategy = info.delete_revisions(*commits)
    strategy.execute()
    return int(strategy.expected_freed_size)


def _fetch(repository: str, revision: str, name: str) -> Path:
    from huggingface_hub import errors, hf_hub_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # its warnings of retries; what fails in the end is said below
    where = f"{repository} on the Hub"
    try:
        return Path(hf_hub_download(repository, name, revision=revision, cache_dir=hub_cache()))
    except errors.LocalEntryNotFoundError as error:
        raise WeightsError(
            f"{name} of {repository} is not on this machine and the Hub could not be reached.",
            "Check the connection, HF_ENDPOINT and HF_HUB_OFFLINE, then run the same command again.",
        ) from error
    except errors.GatedRepoError as error:
        raise WeightsError(f"{where} asks for an agreement that this account has not given.", _TOKEN) from error
    except errors.RepositoryNotFoundError as error:
        raise WeightsError(
            f"{where} does not exist, or is not open to this account.", f"Check the name. {_TOKEN}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise WeightsError(f"{where} has no revision {revision}.", "Check the name after the @.") from error
    except errors.EntryNotFoundError as error:
        raise WeightsError(f"{where} has no file {name}.", "Check the repository and its revision.") from error
    except errors.HFValidationError as error:
        raise WeightsError(f"{repository!r} is not a repository.", "Write hf:owner/name[@revision].") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        advice = _TOKEN if status in (401, 403) else _AGAIN
        raise WeightsError(f"{name} of {where} was refused (HTTP {status}).", advice) from error
    except OSError as error:
        raise WeightsError(
            f"{name} of {where} could not be stored ({describe(error)}).",
            "Free some space, or set HF_HOME to another disk.",
        ) from error
    except Exception as error:  # the connection library's own errors, which change with the Hub library's version
        raise WeightsError(f"{name} of {where} could not be downloaded ({describe(error)}).", _AGAIN) from error


def _verify(path: Path, file: RemoteFile, repository: str) -> None:
    if file.size is not None and path.stat().st_size != file.size:
        raise _refused(path, file, repository, f"it has {path.stat().st_size} bytes instead of {file.size}")
    if file.sha256 is not None and (found := sha256(path)) != file.sha256:
        raise _refused(path, file, repository, f"its SHA-256 is {found} instead of {file.sha256}")


def _refused(path: Path, file: RemoteFile, repository: str, why: str) -> WeightsError:
    path.resolve().unlink()  # the content in the cache; `path` is a link to it where the system has links
    path.unlink(missing_ok=True)
    return WeightsError(
        f"{file.name} of {repository} was refused and deleted: {why}.",
        "Run the same command again to download it anew.",
    )


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
