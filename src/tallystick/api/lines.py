"""What stays open: sockets and streams. They end together when the node stops, before the server does.

A server that waits for its clients waits for ever; so whoever waits for a client does it under a limit that runs out
when the node stops. A limit costs no task: thousands of idle lines are one sleeping task each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

T = TypeVar("T")

GOING_AWAY = 1001
"""The WebSocket close code of a server that stops (RFC 6455)."""


class Lines:
    """The open lines of one server; lives in the event loop's thread."""

    def __init__(self) -> None:
        """Begin open."""
        self._closing = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._count = 0
        self._limits: set[asyncio.Timeout] = set()

    @property
    def open(self) -> int:
        """How many lines are open."""
        return self._count

    @property
    def closing(self) -> bool:
        """Whether the node stops: nothing new begins."""
        return self._closing.is_set()

    def close(self) -> None:
        """Tell every line to end."""
        self._closing.set()
        for limit in tuple(self._limits):
            run_out(limit)

    async def wait_idle(self) -> None:
        """Wait until no line is open."""
        await self._idle.wait()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Count a line as open."""
        self._count += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._idle.set()

    @asynccontextmanager
    async def limited(self, limit: asyncio.Timeout) -> AsyncIterator[None]:
        """Hold what is inside to a limit, which also runs out when the node stops.

        Raises:
            TimeoutError: it ran out; ``closing`` says whether the node stops.
        """
        self._limits.add(limit)
        try:
            async with limit:
                if self.closing:
                    run_out(limit)
                yield
        finally:
            self._limits.discard(limit)

    async def unless_closing(self, business: Awaitable[T], seconds: float | None = None) -> T | None:
        """Return what a business gives, or None when the node stops first; the business is cancelled then.

        Raises:
            TimeoutError: it takes longer than so many seconds.
        """
        limit = asyncio.timeout(seconds)
        self._limits.add(limit)
        try:
            async with limit:
                if self.closing:
                    run_out(limit)
                return await business
        except TimeoutError:
            if self.closing:
                return None
            raise
        finally:
            self._limits.discard(limit)


def run_out(limit: asyncio.Timeout) -> None:
    """Let a limit that is being kept run out now."""
    if not limit.expired():
        limit.reschedule(asyncio.get_running_loop().time())
