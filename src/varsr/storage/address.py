"""Addresses: places of images that are not files of this machine, and what texts may become one.

Every text is checked against the schemes of this module before a library sees it: fsspec by itself also opens chains
such as `simplecache::file:///etc/passwd`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from varsr.errors import OutputError, RequestError

EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure"}
"""The extras that bring what reads and writes some object storages, by scheme."""
OBJECT_SCHEMES = (*EXTRAS, "hf")
WEB_SCHEMES = ("https", "http")
_HUB_BUCKETS = "buckets/"
_SCHEME = re.compile(r"([^/\\]*?)://")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Remote:
    """An object of a storage, a folder of them, or a file on the web.

    It behaves as a path where names are concerned. Its text never shows credentials or a query, which may hold a
    signature.
    """

    scheme: str
    container: str
    """The bucket, with the words that an address has before it, or the host of an address on the web with its port."""
    key: str = ""
    """The name within the container, as the storage has it; of an address on the web the path, still encoded."""
    query: str = field(default="", repr=False)
    credentials: str = field(default="", repr=False)
    """USER:PASSWORD of an address on the web."""
    is_trusted: bool = field(default=True, compare=False)
    """False where the address stands in a list that was itself fetched: it may lead to public hosts alone."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.container}" + (f"/{self.key}" if self.key else "")

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.container.removeprefix(_HUB_BUCKETS)

    @property
    def is_web(self) -> bool:
        """True for an address on the web, which is read and never listed or written."""
        return self.scheme in WEB_SCHEMES

    @property
    def name(self) -> str:
        """The last part of the key."""
        last = self.key.rstrip("/").rpartition("/")[2]
        return re.sub(r"[/\\\x00-\x1f]", "_", unquote(last)) if self.is_web else last

    @property
    def suffix(self) -> str:
        """The suffix of the name."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> Remote:
        """The folder that holds it."""
        return replace(self, key=self.key.rstrip("/").rpartition("/")[0], query="")

    def __truediv__(self, name: str) -> Remote:
        return replace(self, key=f"{self.key.rstrip('/')}/{name}" if self.key else name, query="")

    def with_name(self, name: str) -> Remote:
        """Another one in the same folder. Raises `OutputError` on the web, where nothing is written."""
        if self.is_web:
            raise OutputError(f"Nothing can be written beside {self}.", "Choose a folder with `output_dir`.")
        return self.parent / name

    def parts_below(self, root: Remote) -> tuple[str, ...]:
        """The folders between `root` and this one. Raises `ValueError` where it is not below."""
        if (self.scheme, self.container) != (root.scheme, root.container):
            raise ValueError(f"{self} is not below {root}")
        start, own = root.key.rstrip("/"), self.parent.key
        if own == start:
            return ()
        if start and not own.startswith(start + "/"):
            raise ValueError(f"{self} is not below {root}")
        return tuple(own[len(start) + 1 if start else 0 :].split("/"))


Place = Path | Remote
"""Where an image is or goes."""


def place_of(text: str, from_remote_list: bool = False) -> Place:
    """A path, or an address where the text is one. Raises `RequestError` for an address that is not allowed.

    An entry of a list that was fetched may be an address of another storage or a public host, and nothing else.
    """
    match = _SCHEME.match(text)
    if match is None:
        if from_remote_list:
            raise RequestError("A list that is fetched may name addresses only, not files of this machine.", _ALLOWED)
        return Path(text)
    scheme, rest = match[1].lower(), text[match.end() :]
    if _CONTROL.search(text) or (scheme not in (*OBJECT_SCHEMES, *WEB_SCHEMES, "file")):
        raise RequestError(f"{_shown(scheme)}:// is not an address that images are read from.", _ALLOWED)
    if scheme == "file":
        return _local(text, from_remote_list)
    if scheme in WEB_SCHEMES:
        return _web(text, from_remote_list)
    container, _, key = rest.partition("/")
    if scheme == "hf":
        container, key = _hub_bucket(rest)
    if not container or "@" in container or ":" in container:
        raise RequestError(
            f"An address of {scheme}:// begins with the name of a bucket alone.",
            "Credentials are found where the storage's own programs find them, such as the environment.",
        )
    return Remote(scheme, container, key)


def _hub_bucket(rest: str) -> tuple[str, str]:
    """The container and the key of hf://buckets/OWNER/NAME/KEY. Raises `RequestError` for other parts of the Hub."""
    match = re.fullmatch(rf"({_HUB_BUCKETS}[^/]+/[^/]+)(?:/(.*))?", rest)
    if match is None:
        raise RequestError("hf:// names a bucket of the Hub.", "Write hf://buckets/OWNER/NAME/KEY.")
    return match[1], match[2] or ""


_ALLOWED = f"Allowed are {', '.join(f'{scheme}://' for scheme in OBJECT_SCHEMES)} and https://."


def folder_below(folder: Place, source: Place, root: Place) -> Place:
    """The folder under `folder` that stands as `source` does under `root`.

    Raises `ValueError` where `source` is not under `root`, `OutputError` where a key is not the name of a local folder.
    """
    if isinstance(source, Path) and isinstance(root, Path):
        parts = source.parent.relative_to(root).parts
    elif isinstance(source, Remote) and isinstance(root, Remote):
        parts = source.parts_below(root)
        if isinstance(folder, Path) and any(part in ("", ".", "..") or re.search(r"[\\:]", part) for part in parts):
            raise OutputError(f"{source} has a name that no file can have.", "Name it alone, with `output`.")
    else:
        raise ValueError(f"{source} is not below {root}")
    for part in parts:
        folder = folder / part
    return folder


def _local(text: str, from_remote_list: bool) -> Path:
    parts = urlsplit(text)
    if from_remote_list or parts.netloc not in ("", "localhost"):
        raise RequestError("file:// names a file of this machine, which is not allowed here.", _ALLOWED)
    return Path(unquote(parts.path))


def _web(text: str, from_remote_list: bool) -> Remote:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if not host:
        raise RequestError("An address on the web is damaged.", "It has the form https://HOST/PATH.")
    if parts.scheme == "http" and (from_remote_list or not is_loopback(host)):
        raise RequestError(f"http://{host} is not encrypted.", "Use https://; plain http:// is for this machine alone.")
    shown = f"[{host}]" if ":" in host else host
    credentials = parts.netloc.rpartition("@")[0]
    return Remote(
        parts.scheme, shown + (f":{port}" if port else ""), parts.path.lstrip("/"), parts.query, unquote(credentials),
        is_trusted=not from_remote_list,
    )  # fmt: skip


def is_loopback(host: str) -> bool:
    """True for this machine by one of its own names."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(scheme: str) -> str:
    """A scheme without whatever a hostile one may hold."""
    return re.sub(r"[^a-z0-9+.:-]", "", scheme)[:40]
