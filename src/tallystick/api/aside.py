"""Work that may wait for the disk or the ledger, done in a thread so that nobody else waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread

T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """Run blocking work in a thread and return what it gives; a caller that goes away still lets it end."""
    return await anyio.to_thread.run_sync(work)
