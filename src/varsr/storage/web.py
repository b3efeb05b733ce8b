"""Files on the web: fetched by HTTPS to a file, within bounds of size and time.

Redirects are followed to the same host, or to a host with a global address; the address that counts is the one that
the connection has, checked before anything is sent.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urljoin

from varsr.errors import InputError, RequestError, describe
from varsr.storage.address import Remote, place_of
from varsr.storage.retry import with_retries

LARGEST_FILE = 1 << 30
"""Bytes."""
LONGEST_FETCH = 600.0
"""Seconds of one fetch in all."""
SECONDS_OF_SILENCE = 30.0
MOST_REDIRECTS = 5
_AS_THEY_ARE = "%/?:@!$&'()*+,;=[]~"
"""Characters of an address besides letters, digits and `-._`; what people type of others is encoded (RFC 3986)."""
_BLOCK = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)
_TRANSIENT = (408, 425, 429)


class _BusyError(OSError):
    """An answer that another try may not get."""


class _FinalError(ValueError):
    """An answer or a place that another try would meet too."""


def fetch(remote: Remote, path: Path) -> None:
    """Write a file on the web to one of this machine. Raises `InputError` where it cannot be had."""
    try:
        with_retries(lambda: _fetch_following(remote, path))
    except _FinalError as error:
        raise InputError(f"{remote} cannot be read: {error}.", "Check the address.") from None
    except (ValueError, http.client.HTTPException) as error:  # whose text may hold the query
        raise InputError(f"{remote} cannot be read ({type(error).__name__}).", "Check the address.") from None
    except OSError as error:
        raise InputError(
            f"{remote} cannot be read ({describe(error)}).", "Check the address and the network."
        ) from None


def _fetch_following(remote: Remote, path: Path) -> None:
    end, current = time.monotonic() + LONGEST_FETCH, remote
    for _ in range(MOST_REDIRECTS + 1):
        onward = _fetch_one(current, remote, path, end)
        if onward is None:
            return
        current = onward
    raise _FinalError(f"it redirects more than {MOST_REDIRECTS} times")


def _fetch_one(current: Remote, first: Remote, path: Path, end: float) -> Remote | None:
    """Fetch one address; return the next one where it redirects."""
    same_host = (current.scheme, current.container) == (first.scheme, first.container)
    connection = _connected(current, must_be_global=not (first.is_trusted and same_host))
    try:
        target = quote("/" + current.key + (f"?{current.query}" if current.query else ""), safe=_AS_THEY_ARE)
        headers = {"user-agent": "varsr", "accept": "image/*,*/*;q=0.5"}
        if first.credentials and same_host:
            headers["authorization"] = "Basic " + base64.b64encode(first.credentials.encode()).decode()
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        if answer.status in _REDIRECTS:
            return _onward(current, answer.getheader("location") or "")
        if answer.status >= 500 or answer.status in _TRANSIENT:
            raise _BusyError(f"the server answers {answer.status}")
        if answer.status != 200:
            raise _FinalError(f"the server answers {answer.status}")
        _save(answer, path, end)
        return None
    finally:
        connection.close()


def _onward(current: Remote, location: str) -> Remote:
    try:
        found = place_of(urljoin(f"{current}", location), from_remote_list=not _is_plain(current))
    except RequestError:
        raise _FinalError("it redirects to a place that is not allowed") from None
    if not isinstance(found, Remote) or not found.is_web:
        raise _FinalError("it redirects to a place that is not allowed")
    return replace(found, is_trusted=current.is_trusted)


def _is_plain(remote: Remote) -> bool:
    return remote.scheme == "http"


def _save(answer: http.client.HTTPResponse, path: Path, end: float) -> None:
    expected, size = answer.length, 0
    if expected is not None and expected > LARGEST_FILE:
        raise _FinalError(f"it is larger than {LARGEST_FILE >> 20} MiB")
    with path.open("wb") as file:
        while block := answer.read1(_BLOCK):
            size += len(block)
            if size > LARGEST_FILE:
                raise _FinalError(f"it is larger than {LARGEST_FILE >> 20} MiB")
            if time.monotonic() > end:
                raise _FinalError(f"it takes longer than {LONGEST_FETCH:.0f} s")
            file.write(block)
    if expected is not None and size < expected:
        raise _BusyError("the connection was cut")


def _connected(remote: Remote, must_be_global: bool) -> http.client.HTTPConnection:
    """A connection whose address is checked before anything is sent."""
    connection: http.client.HTTPConnection
    if remote.scheme == "http":
        connection = http.client.HTTPConnection(remote.container, timeout=SECONDS_OF_SILENCE)
    else:
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(remote.container, timeout=SECONDS_OF_SILENCE, context=context)
    reached = socket.create_connection((connection.host, connection.port), SECONDS_OF_SILENCE)
    address = ipaddress.ip_address(reached.getpeername()[0].partition("%")[0])
    if must_be_global and not address.is_global:
        reached.close()
        raise _FinalError("it leads to a host that is not public")
    if remote.scheme == "https":
        reached = context.wrap_socket(reached, server_hostname=connection.host)
    connection.sock = reached
    return connection
