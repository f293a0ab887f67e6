"""Bytes by range (RFC 9110 §14): one range, ETag, 206, 304 and 416, for files and for bytes in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from litestar import Response
from litestar.response import Stream

from tallystick.api.aside import aside
from tallystick.api.callers import ConnectionScope, header
from tallystick.api.upload_desk import pieces
from tallystick.errors import RangeError

PIECE_BYTES: Final = 256 * 1024
OCTETS: Final = "application/octet-stream"
_ONE: Final = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``start`` to before ``stop`` of ``size``; ``partial`` where somebody asked for a part."""

    start: int
    stop: int
    size: int
    partial: bool


def read_range(text: str | None, size: int) -> Span:
    """Return what a Range header asks for; what is no single range of bytes is ignored, as RFC 9110 says.

    Raises:
        RangeError: nothing of the range is there.
    """
    found = None if text is None else _ONE.fullmatch(text.strip())
    if found is None:
        return Span(0, size, size, partial=False)
    first, last, suffix = found.groups()
    if suffix is not None:
        start, stop = max(0, size - int(suffix)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return Span(0, size, size, partial=False)
    if start >= stop:
        raise RangeError(f"there are {size} bytes, none of them in this range", size)
    return Span(start, stop, size, partial=True)


@dataclass(frozen=True, slots=True)
class Part:
    """What to answer: status, span and headers; no body for 304 and HEAD."""

    status: int
    span: Span
    headers: Mapping[str, str]
    empty: bool


def choose(scope: ConnectionScope, size: int, etag: str, extra: Mapping[str, str] | None = None) -> Part:
    """Read the conditions and the range of a GET or HEAD for something with a strong ``etag`` (unquoted).

    Raises:
        RangeError: the range has no bytes.
    """
    quoted = f'"{etag}"'
    headers = {"etag": quoted, "accept-ranges": "bytes", **(extra or {})}
    known = header(scope, b"if-none-match")
    if known is not None and (known.strip() == "*" or quoted in [each.strip() for each in known.split(",")]):
        return Part(HTTPStatus.NOT_MODIFIED, Span(0, 0, size, partial=False), headers, empty=True)
    condition = header(scope, b"if-range")
    wanted = header(scope, b"range") if condition is None or condition.strip() == quoted else None
    span = read_range(wanted, size)
    headers["content-length"] = str(span.stop - span.start)
    if span.partial:
        headers["content-range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    status = HTTPStatus.PARTIAL_CONTENT if span.partial else HTTPStatus.OK
    return Part(status, span, headers, empty=scope["method"] == "HEAD")


def answer_bytes(part: Part, data: bytes, media_type: str = OCTETS) -> Response[Any]:
    """Answer with a part of bytes in memory."""
    body = b"" if part.empty else data[part.span.start : part.span.stop]
    return Response(body, status_code=part.status, headers=dict(part.headers), media_type=media_type)


def answer_file(part: Part, path: Path, media_type: str = OCTETS) -> Response[Any]:
    """Answer with a part of a file, read piece by piece as the reader takes it."""
    if part.empty:
        return Response(b"", status_code=part.status, headers=dict(part.headers), media_type=media_type)
    headers = {**part.headers, "content-type": media_type}  # the framework would name the route's instead
    return Stream(_pieces(path, part.span), status_code=part.status, headers=headers)


async def _pieces(path: Path, span: Span) -> AsyncIterator[bytes]:
    found = pieces(path, span.start, span.stop, PIECE_BYTES)
    while (data := await aside(lambda: next(found, None))) is not None:
        yield data
