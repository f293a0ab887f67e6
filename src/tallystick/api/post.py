"""Errands from any thread into the event loop: however many come at one time, the loop is woken once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Post:
    """The way into one event loop."""

    def __init__(self) -> None:
        """Begin without a loop."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._errands: deque[Callable[[], None]] = deque()
        self._woken = False

    def open(self) -> None:
        """Deliver into the running loop from now on."""
        self._loop = asyncio.get_running_loop()

    def __call__(self, errand: Callable[[], None]) -> None:
        """Have an errand run in the loop, after those that came before it; where the loop has ended, nowhere."""
        self._errands.append(errand)
        # Whoever finds the loop woken is sure to be seen: it forgets the waking before it looks.
        if self._loop is not None and not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop has ended, and whom the errands were for with it
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        """Run what came so far; the rest, also behind an errand that fails, has its turn with the loop's other work."""
        self._woken = False
        try:
            for _ in range(len(self._errands)):
                self._errands.popleft()()
        finally:
            if self._errands and self._loop is not None and not self._woken:
                self._woken = True
                self._loop.call_soon(self._deliver)
