"""A request's body on its way in: bounded in size and time, and held to the digest that its header names."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tallystick.api.lines import Lines
from tallystick.api.settings import Bounds
from tallystick.errors import AccessError, ClosingError, DelayError, MalformedError, TooLargeError

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
REQUEST: Final = "http.request"


class Intake:
    """Stands for an ASGI ``receive`` until the body ended; afterwards it only passes on.

    A whole body must arrive within ``body_seconds``; a streamed one at ``rate_bytes`` a second, never pausing longer
    than ``chunk_seconds``, and its size is the handler's business. When the node stops, whoever still sends is let go.
    """

    def __init__(
        self, receive: Receive, bounds: Bounds, lines: Lines, *, streamed: bool, digest: bytes | None = None
    ) -> None:
        """Take over ``receive``; ``digest`` is the SHA-256 that the whole body must have."""
        self._receive, self._bounds, self._lines = receive, bounds, lines
        self._streamed, self._digest = streamed, digest
        self._hash = hashlib.sha256()
        self._began = time.monotonic()
        self._ended = False
        self.size = 0

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            TooLargeError: a whole body is larger than its bound.
            DelayError: it comes too slowly.
            MalformedError: the connection ended before the body did.
            AccessError: the body is not the one that the digest names.
            ClosingError: the node stops.
        """
        if self._ended:
            return await self._receive()
        message = await self._next()
        if message["type"] != REQUEST:
            self._ended = True
            raise MalformedError("body", "the connection ended before it did")
        self._take(message.get("body", b""))
        if not message.get("more_body", False):
            self._ended = True
            if self._digest is not None and self._hash.digest() != self._digest:
                raise AccessError("the body is not the one that Content-Digest names")
        return message

    async def _next(self) -> Message:
        """Wait for a message as long as its sender may take."""
        left = self._began + self._bounds.body_seconds - time.monotonic()
        patience = self._bounds.chunk_seconds if self._streamed else left
        try:
            async with asyncio.timeout(max(0.0, patience)):
                message = await self._lines.unless_closing(self._receive())
        except TimeoutError as error:
            raise DelayError("the body comes too slowly: send it again, or go on from where it stands") from error
        if message is None:
            raise ClosingError("the node stops")
        return message

    def _take(self, data: bytes) -> None:
        self.size += len(data)
        if self._digest is not None:
            self._hash.update(data)
        if not self._streamed:
            if self.size > self._bounds.body_bytes:
                raise TooLargeError("body", f"more than {self._bounds.body_bytes} bytes")
            return
        late = time.monotonic() - self._began - self._bounds.grace_seconds
        if late > 0 and self.size < late * self._bounds.rate_bytes:
            raise DelayError(f"fewer than {self._bounds.rate_bytes} bytes a second: go on from where it stands")
