"""A node made of scripted answers, in place of the network: it can lose replies, break off, lie and flood.

Knows what httpx asks of a transport. Refuses to know the real node.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from tallystick.node.signed_requests import content_digest

Reply = Callable[[httpx.Request], httpx.Response]
JSON = {"content-type": "application/json"}
PROBLEM = {"content-type": "application/problem+json"}


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that ends before its end."""

    def __init__(self, data: bytes, size: int = 7) -> None:
        self._data, self._size = data, size

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._data), self._size):
            yield self._data[start : start + self._size]
        raise httpx.ReadError("the connection broke")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), self._size):
            yield self._data[start : start + self._size]
        raise httpx.ReadError("the connection broke")


@dataclass
class ScriptedNode(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers by ``METHOD path``, each list of replies from first to last, the last one for ever."""

    script: dict[str, list[Reply]]
    asked: list[httpx.Request] = field(default_factory=list)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        request.read()
        return self._answer(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        await request.aread()
        return self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        name = f"{request.method} {request.url.path}"
        assert name in self.script, f"nobody expects {name}"
        replies = self.script[name]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        answer = reply(request)
        if isinstance(answer.stream, Broken):
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))

    def times(self, name: str) -> int:
        """How often something was asked for."""
        return sum(f"{each.method} {each.url.path}" == name for each in self.asked)


def json(value: Any, status: int = 200, **headers: str) -> Reply:  # noqa: ANN401 - any JSON
    """Answer with JSON."""
    body = msgspec.json.encode(value)
    return lambda _request: httpx.Response(status, headers={**JSON, **headers}, content=body)


def problem(status: int, code: str, detail: str = "it is so", **members: Any) -> Reply:  # noqa: ANN401 - any JSON
    """Refuse as a node does."""
    body = {"type": f"urn:tallystick:problem:{code}", "title": "x", "status": status, "detail": detail, "code": code}
    return lambda _request: httpx.Response(status, headers=PROBLEM, content=msgspec.json.encode(body | members))


def raw(status: int, body: bytes = b"", **headers: str) -> Reply:
    """Answer with anything."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _request: httpx.Response(status, headers=named, content=body)


def lost(_request: httpx.Request) -> httpx.Response:
    """Lose the reply."""
    raise httpx.ReadError("no reply came")


def refused(_request: httpx.Request) -> httpx.Response:
    """Take no connection."""
    raise httpx.ConnectError("connection refused")


@dataclass
class ServedFile:
    """A file that is given in ranges, and breaks off after ``step`` bytes, as a bad network does."""

    data: bytes
    step: int | None = None
    digest: str = ""
    etag: str = '"v1"'
    ranges: list[str] = field(default_factory=list)

    def head(self, _request: httpx.Request) -> httpx.Response:
        """Say what the whole is."""
        return httpx.Response(200, headers=self._named(len(self.data)))

    def get(self, request: httpx.Request) -> httpx.Response:
        """Give what is asked for, as far as the network goes."""
        wanted = request.headers.get("range", "")
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if request.headers.get("if-range", self.etag) != self.etag:
            start = 0
        part = self.data[start:]
        named = self._named(len(part))
        if start:
            named["content-range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        status = 206 if start else 200
        if self.step is not None and len(part) > self.step:
            return httpx.Response(status, headers=named, stream=Broken(part[: self.step]))
        return httpx.Response(status, headers=named, content=part)

    def _named(self, length: int) -> dict[str, str]:
        digest = self.digest or content_digest(self.data)
        return {"content-length": str(length), "etag": self.etag, "repr-digest": digest}


@dataclass
class TakenUpload:
    """A place for an upload that keeps what arrives and forgets to say so now and then."""

    length: int
    replies: list[str] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)

    def patch(self, request: httpx.Request) -> httpx.Response:
        """Append, or refuse as a node does."""
        offset = int(request.headers["upload-offset"])
        how = self.replies.pop(0) if self.replies else ""
        if offset != len(self.data):
            return problem(409, "conflict", "other bytes stand there", offset=len(self.data))(request)
        kept = request.content if how != "half" else request.content[: len(request.content) // 2]
        if how != "unreached":
            self.data += kept
        if how in {"lost", "half", "unreached"}:
            raise httpx.WriteError("the connection broke")
        return self.get(request)

    def get(self, request: httpx.Request) -> httpx.Response:
        """Say where it stands."""
        state = {"upload_id": "u1", "offset": len(self.data), "length": self.length}
        return json({**state, "complete": len(self.data) == self.length})(request)

    @property
    def sha256(self) -> str:
        """The digest of what arrived."""
        return hashlib.sha256(self.data).hexdigest()
