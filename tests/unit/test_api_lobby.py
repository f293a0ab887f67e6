"""The lobby: whoever is silent goes in time, the oldest first when too many came, and nobody else.

Knows: the lobby alone. Refuses to know: sockets.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from tallystick.api.lobby import Lobby


async def wait(lobby: Lobby, word: asyncio.Event) -> str:
    try:
        async with lobby.waiting():
            await word.wait()
    except TimeoutError:
        return "gone"
    return "heard"


def test_a_silent_line_goes_when_its_time_is_over() -> None:
    async def scene() -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with Lobby(seconds=0.05).waiting():
                await asyncio.Event().wait()
        assert 0.04 < time.monotonic() - began < 5

    asyncio.run(scene())


def test_one_too_many_pushes_out_the_oldest_that_is_still_silent() -> None:
    async def scene() -> None:
        lobby, word = Lobby(seconds=60, most=3), asyncio.Event()
        spoken, said = asyncio.Event(), asyncio.create_task(wait(lobby, word))
        word.set()
        assert await said == "heard"
        lines = []
        for _ in range(5):
            lines.append(asyncio.create_task(wait(lobby, spoken)))
            await asyncio.sleep(0.01)
        assert [line.done() for line in lines] == [True, True, False, False, False]
        spoken.set()
        assert await asyncio.gather(*lines) == ["gone", "gone", "heard", "heard", "heard"]
        assert not lobby._waiting

    asyncio.run(scene())
