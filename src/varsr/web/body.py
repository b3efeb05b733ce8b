"""Bodies of requests, read into the spool within limits: raw images, and forms with one file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from varsr.errors import RequestError
from varsr.web.limits import Limits

RAW = ("application/octet-stream",)
_MOST_FIELDS = 100


class BodyError(RequestError):
    """A body that is not taken, and the status of the answer."""

    def __init__(self, status: int, sentence: str, advice: str) -> None:
        super().__init__(sentence, advice)
        self.status = status


@dataclass
class Body:
    """A file in the spool, the client's name for it, and the fields beside it."""

    path: Path
    name: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    bytes: int = 0


async def read_body(request: Request, path: Path, limits: Limits) -> Body:
    """Read the body of a request into the file at `path`, which is gone where that fails. Raises `BodyError`."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    media = kind.decode("latin-1").lower()
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.body_bytes + limits.field_bytes:
        raise _too_large(limits)
    body = Body(path)
    try:
        with path.open("wb") as file:
            reader: Callable[[bytes], None]
            if media == "multipart/form-data":
                reader = _Form(body, file, options.get(b"boundary", b""), limits).read
            elif media.startswith("image/") or media in RAW:
                reader = _raw_reader(body, file, limits)
            else:
                raise BodyError(
                    415, f"A body of type {media[:60] or 'none'} is not taken.", "Send an image, or a form."
                )
            await asyncio.wait_for(_feed(request.stream(), reader), limits.body_seconds)
        if not body.bytes:
            raise BodyError(
                400, "The request holds no image.", "Send it as the body, or as the field `file` of a form."
            )
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
            raise BodyError(408, "The body came too slowly.", "Send it again.") from error
        if isinstance(error, ClientDisconnect):
            raise BodyError(400, "The body ended early.", "Send it again.") from error
        raise
    return body


async def _feed(chunks: AsyncIterator[bytes], reader: Callable[[bytes], None]) -> None:
    async for chunk in chunks:
        if chunk:
            reader(chunk)


def _raw_reader(body: Body, file: BinaryIO, limits: Limits) -> Callable[[bytes], None]:
    def read(chunk: bytes) -> None:
        _count(body, len(chunk), limits)
        file.write(chunk)

    return read


class _Form:
    """A parser of a form: the part with a file name goes into the file, plain fields are kept."""

    def __init__(self, body: Body, file: BinaryIO, boundary: bytes, limits: Limits) -> None:
        self._body, self._file, self._limits = body, file, limits
        self._part = _Part()
        self._fields_read = 0
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_ended,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._data,
                    "on_part_end": self._part_ended,
                },
            )
        except Exception as error:
            raise BodyError(400, "The form has no boundary.", "Send it as multipart/form-data.") from error

    def read(self, chunk: bytes) -> None:
        """Read on. Raises `BodyError`."""
        try:
            self._parser.write(chunk)
        except BodyError:
            raise
        except Exception as error:  # the parser's own
            raise BodyError(400, "The form is damaged.", "Send it as multipart/form-data.") from error

    def _header_name(self, chunk: bytes, start: int, end: int) -> None:
        self._part.header_name = (self._part.header_name + chunk[start:end])[: self._limits.field_bytes]

    def _header_value(self, chunk: bytes, start: int, end: int) -> None:
        self._part.header_value = (self._part.header_value + chunk[start:end])[: self._limits.field_bytes]

    def _header_ended(self) -> None:
        part = self._part
        if part.header_name.lower() == b"content-disposition":
            _, part.options = parse_options_header(part.header_value)
        part.header_name = part.header_value = b""

    def _headers_finished(self) -> None:
        part = self._part
        part.is_file = b"filename" in part.options
        if part.is_file and self._body.bytes:
            raise BodyError(400, "The form holds several files.", "Send one at a time.")
        if part.is_file:
            self._body.name = part.options[b"filename"].decode("utf-8", "replace")

    def _data(self, chunk: bytes, start: int, end: int) -> None:
        if self._part.is_file:
            _count(self._body, end - start, self._limits)
            self._file.write(chunk[start:end])
            return
        self._fields_read += end - start
        if self._fields_read > self._limits.field_bytes:
            raise BodyError(413, "The fields of the form are too long.", "Send the image as its file.")
        self._part.value += chunk[start:end]

    def _part_ended(self) -> None:
        part = self._part
        name = part.options.get(b"name", b"").decode("utf-8", "replace")
        if not part.is_file and name and len(self._body.fields) < _MOST_FIELDS:
            self._body.fields[name] = part.value.decode("utf-8", "replace")
        self._part = _Part()


@dataclass
class _Part:
    """The part of a form that is being read."""

    header_name: bytes = b""
    header_value: bytes = b""
    options: dict[bytes, bytes] = field(default_factory=dict)
    value: bytes = b""
    is_file: bool = False


def _count(body: Body, size: int, limits: Limits) -> None:
    body.bytes += size
    if body.bytes > limits.body_bytes:
        raise _too_large(limits)


def _too_large(limits: Limits) -> BodyError:
    return BodyError(413, f"The image is larger than {limits.body_bytes >> 20} MiB.", "Send a smaller one.")
