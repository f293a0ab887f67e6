"""One line to a JSON-RPC node: a question out, at most one bounded answer back, within a deadline.

Knows HTTP and the JSON-RPC 2.0 envelope. Refuses to know what is asked. The node is nobody's friend: its answer is
bounded before it is parsed, its words are shortened and made printable, and the URL, which often carries a key, is
shown by scheme and host only.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, Final, Literal

import httpx
import msgspec

from tallystick.errors import ChainError, ChainRefusedError, UsageError

DEADLINE_S: Final = 10.0
REPLY_BYTES_MAX: Final = 4 * 1024 * 1024
WORDS_MAX: Final = 200

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes that are not what they should be."""

_OK: Final = 200
_HEADERS: Final = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "tallystick"}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class _RpcError(msgspec.Struct):
    code: int
    message: str = ""


class _Reply(msgspec.Struct):
    jsonrpc: Literal["2.0"]
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: _RpcError | None = None


class JsonRpc:
    """A node at a URL. Every call is a connection of its own, so that nothing of an earlier failure lingers.

    Calls block, for ``deadline_s`` seconds at most: they belong in a thread, never on an event loop.
    """

    def __init__(self, url: str, *, deadline_s: float = DEADLINE_S) -> None:
        """Take a URL; nothing is asked yet.

        Raises:
            UsageError: It is not http:// or https:// with a host.
        """
        self._url, self._deadline_s = _parsed(url), deadline_s
        self.where: Final = f"{self._url.scheme}://{self._url.netloc.decode('ascii')}"
        """The node, as it may be shown."""
        self._ids = itertools.count(1)
        # A proxy of the environment has no business between a program and its own machine.
        self._direct = self._url.host in _LOOPBACK
        self._tls = httpx.create_ssl_context() if self._url.scheme == "https" else False

    def call(self, method: str, *params: object) -> msgspec.Raw:
        """Ask; the answer's ``result`` as JSON bytes, unread.

        Raises:
            ChainError: The node cannot be reached, is too slow, says too much, or its answer is no JSON-RPC reply. What
                was asked may have happened all the same.
            ChainRefusedError: The node answered with an error.
        """
        asked = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            body = asyncio.run(self._post(msgspec.json.encode(asked)))
        except (httpx.HTTPError, OSError) as error:  # OSError covers TimeoutError
            reason = (
                "no answer in time" if isinstance(error, TimeoutError | httpx.TimeoutException) else printable(error)
            )
            raise ChainError(f"{self.where} does not answer {method}: {reason}") from error
        return self._result(method, asked["id"], body)

    async def _post(self, content: bytes) -> bytes:
        async with (
            asyncio.timeout(self._deadline_s),
            httpx.AsyncClient(verify=self._tls, trust_env=not self._direct, timeout=self._deadline_s) as client,
            client.stream("POST", self._url, content=content, headers=_HEADERS) as reply,
        ):
            if reply.status_code != _OK:
                raise ChainError(f"{self.where} answers with HTTP status {reply.status_code}")
            body = bytearray()
            async for piece in reply.aiter_raw():  # raw: nothing is unpacked, so nothing can grow
                body += piece
                if len(body) > REPLY_BYTES_MAX:
                    raise ChainError(f"{self.where} answers with more than {REPLY_BYTES_MAX} bytes")
            return bytes(body)

    def _result(self, method: str, number: object, body: bytes) -> msgspec.Raw:
        try:
            reply = msgspec.json.decode(body, type=_Reply)
        except UNREADABLE as error:
            raise ChainError(
                f"{self.where} answers {method} with what is no JSON-RPC reply: {printable(error)}"
            ) from error
        if reply.error is not None:
            code, words = reply.error.code, printable(reply.error.message)
            raise ChainRefusedError(f"{self.where} refuses {method}: {words} ({code})")
        if reply.id != number or not bytes(reply.result):
            raise ChainError(f"{self.where} answers {method} with the reply to something else")
        return reply.result


def printable(words: object) -> str:
    """Text of somebody else, short and without what a terminal would obey."""
    text = str(words)
    return "".join(c if c.isprintable() else " " for c in text[:WORDS_MAX]) + ("..." if len(text) > WORDS_MAX else "")


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise UsageError("the chain's URL cannot be read: it must be http:// or https:// with a host") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise UsageError("the chain's URL must be http:// or https:// with a host")
    return parsed


def read(raw: msgspec.Raw, type_: Any, what: str) -> Any:  # noqa: ANN401 - whatever ``type_`` says
    """Read an answer into a type that says everything about its form.

    Raises:
        ChainError: It is something else.
    """
    try:
        return msgspec.json.decode(raw, type=type_)
    except UNREADABLE as error:
        raise ChainError(f"{what} cannot be read: {printable(error)}") from error
