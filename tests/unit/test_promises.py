"""Idempotency keys are used by one request after the other, whenever they come."""

from __future__ import annotations

import asyncio

from tallystick.adapters.local import SystemEntropy
from tallystick.api.promises import Promises
from tests.private_store import PrivateStore

NAME = ("ann", "key")


def test_nobody_slips_in_between_one_request_and_the_next() -> None:
    """The lock of a key must outlive the first holder while somebody waits for it."""
    promises, inside, most = Promises(PrivateStore(), SystemEntropy()), 0, 0

    async def use() -> None:
        nonlocal inside, most
        async with promises.held(NAME):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    async def comes_when_the_first_leaves(first: asyncio.Task[None]) -> None:
        await asyncio.wait((first,))
        await use()

    async def all_three() -> None:
        first = asyncio.create_task(use())
        await asyncio.sleep(0)
        second = asyncio.create_task(use())
        await asyncio.sleep(0)
        late = [asyncio.create_task(comes_when_the_first_leaves(first)) for _ in range(3)]
        await asyncio.gather(first, second, *late)

    asyncio.run(all_three())
    assert most == 1
    assert not promises._locks, "keys are forgotten once nobody uses them"
