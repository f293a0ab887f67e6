"""Where lines wait that did not say who they are: for a while only, and only so many of them.

A line costs the server about 150 kB. Whoever opens them without end pushes out nobody but the oldest that are still
silent: a worker that answers within a moment always comes in. Lives in the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

HELLO_SECONDS: Final = 10.0
WAITING_MAX: Final = 256


class Lobby:
    """The lines of one server that did not say hello."""

    def __init__(self, seconds: float = HELLO_SECONDS, most: int = WAITING_MAX) -> None:
        """Begin empty; ``most`` may wait at once, each for ``seconds``."""
        self._seconds, self._most = seconds, most
        self._waiting: OrderedDict[int, asyncio.Timeout] = OrderedDict()
        self._count = 0

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Wait for a line's first word.

        Raises:
            TimeoutError: its time is over, or too many came after it.
        """
        async with asyncio.timeout(self._seconds) as patience:
            self._count += 1
            number = self._count
            self._waiting[number] = patience
            if len(self._waiting) > self._most:
                self._waiting.popitem(last=False)[1].reschedule(asyncio.get_running_loop().time())
            try:
                yield
            finally:
                self._waiting.pop(number, None)
