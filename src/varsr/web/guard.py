"""The guard: who may talk to the server, from where, and what every answer says to a browser."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "varsr-session"
HEADER_BYTES = 16 << 10
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Middleware: refuses foreign hosts and origins, asks for the token where there is one, and adds headers.

    A token in the address of the page is exchanged for a cookie that scripts cannot read; programs send it as
    `Authorization: Bearer TOKEN`.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], token: str | None, root_path: str) -> None:
        self._app, self._hosts, self._token = app, {host.lower() for host in hosts}, token
        self._root_path = root_path
        self._session = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in headers.raw) > HEADER_BYTES:
            return _refused(431, "The headers of the request are too long.", "Send fewer.")
        host = headers.get("host", "").lower()
        if _name_of(host) not in self._hosts:
            return _refused(
                421, "This server does not answer to that name.", "Start it with this name among those allowed."
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin.lower()).netloc != host:
            return _refused(403, "Requests from other sites are refused.", "Use the server's own page.")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and scope["method"] != "GET":
            return _refused(403, "Requests from other sites are refused.", "Use the server's own page.")
        if self._token is None or self._path_of(scope) == "/healthz":
            return None
        return self._ask_for_token(scope, headers)

    def _ask_for_token(self, scope: Scope, headers: Headers) -> Response | None:
        assert self._token is not None
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        if cookie is not None and _equal(cookie.value, self._session):
            return None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _equal(given.strip(), self._token):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["method"] == "GET" and _equal(query.get("token", [""])[0], self._token):
            return self._with_cookie(scope, query)
        return _refused(401, "This server asks for a token.", "Open the address that it printed when it started.")

    def _with_cookie(self, scope: Scope, query: dict[str, list[str]]) -> Response:
        """The same address without its token, and the cookie in its place."""
        rest = urlencode([(name, value) for name, values in query.items() if name != "token" for value in values])
        path = self._root_path + "/" + self._path_of(scope).lstrip("/")  # of this server, not //elsewhere
        answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
        answer.set_cookie(COOKIE, self._session, httponly=True, samesite="strict", path="/")
        return answer

    def _path_of(self, scope: Scope) -> str:
        """The path below that of a proxy."""
        path: str = scope["path"].removeprefix(self._root_path)
        return path


def _name_of(host: str) -> str:
    """A host without its port."""
    name, _, port = host.rpartition(":")
    return name if port.isdigit() and name else host


def _equal(first: str, second: str) -> bool:
    return hmac.compare_digest(first.encode(), second.encode())


def _refused(status: int, sentence: str, advice: str) -> Response:
    return JSONResponse({"error": sentence, "advice": advice}, status)
