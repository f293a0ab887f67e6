"""What stays open: sockets and streams. They end together when the node stops, before the server does.

A server that waits for its clients waits for ever; so each open line waits for ``closing`` beside its own business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
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

    async def wait_closing(self) -> None:
        """Wait until the node stops."""
        await self._closing.wait()

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

    async def unless_closing(self, business: Awaitable[T]) -> T | None:
        """Return what a business gives, or None when the node stops first; the business is cancelled then."""
        task, stop = asyncio.create_task(_awaited(business)), asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, stop):
                each.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)


async def _awaited(business: Awaitable[T]) -> T:
    """Make a coroutine of whatever can be awaited: the server's own futures are none that asyncio could gather."""
    return await business
