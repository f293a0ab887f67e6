"""A line that is spoken into from any thread: what is said arrives in order, slow readers and broken lines are let go.

Knows: a socket that takes messages, or does not. Refuses to know: HTTP, signatures, and the exchange.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tallystick import wire
from tallystick.api.lines import Lines
from tallystick.api.post import Post
from tallystick.api.socket_line import QUEUE_MAX, SocketLine, name_of, payload_of
from tallystick.node.floor import Piece
from tests.unit.test_api_parcels import SPEC, piece

HERE = Piece("job-1", 1, 3)


class Socket:
    """Takes what is sent as long as its door is open."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.door = asyncio.Event()
        self.door.set()
        self.failure: Exception | None = None

    async def send(self, message: dict[str, Any]) -> None:
        await self.door.wait()
        if self.failure is not None:
            raise self.failure
        assert message["type"] == "websocket.send"
        self.taken.append(message["text"])


def opened(socket: Socket) -> SocketLine:
    post = Post()
    post.open()
    anything: Any = socket
    return SocketLine(anything, post, asyncio.timeout(None))


async def ended(line: SocketLine, seconds: float = 5) -> bool:
    """Keep to the line's limit as its reader does; tell whether it ran out."""
    try:
        async with Lines().limited(line.limit):
            await asyncio.sleep(seconds)
    except TimeoutError:
        return True
    return False


def reasons(socket: Socket) -> list[str]:
    read = [wire.read_from_node(text) for text in socket.taken]
    return [message.reason for message in read if isinstance(message, wire.Cancel)]


async def until(ready: Callable[[], bool]) -> None:
    for _ in range(5000):
        if ready():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come")


def test_what_threads_say_arrives_in_order_and_nobody_writes_afterwards() -> None:
    async def run() -> list[str]:
        socket = Socket()
        line = opened(socket)
        speaker = threading.Thread(target=lambda: [line.cancel(HERE, str(number)) for number in range(300)])
        speaker.start()
        await until(lambda: len(socket.taken) == 300)
        line.cancel(HERE, "later")
        await until(lambda: len(socket.taken) == 301)
        await until(lambda: line._writer is None)
        return reasons(socket)

    assert asyncio.run(run()) == [*map(str, range(300)), "later"]


def test_a_piece_is_spelled_as_its_message_whatever_was_spelled_before(tmp_path: Path) -> None:
    out = piece(tmp_path, 2)
    payload = payload_of(out, 77)
    said = wire.spell(wire.Job(name_of(out.piece), out.piece.job_id, payload))
    read = wire.read_from_node(said)
    assert isinstance(read, wire.Job)
    assert read.payload.spec == SPEC
    assert (read.payload.lease_ends, read.payload.output.length, read.payload.microjob) == (77, out.length, 2)
    assert wire.spell(read) == said


def test_a_worker_that_reads_too_slowly_is_let_go_and_hears_nothing_more() -> None:
    async def run() -> tuple[bool, str, int]:
        socket = Socket()
        line = opened(socket)
        socket.door.clear()
        for number in range(QUEUE_MAX + 2):
            line.cancel(HERE, str(number))
        slow = await ended(line)
        line.cancel(HERE, "too late")
        line.hang_up("another reason")
        socket.door.set()
        await asyncio.sleep(0.01)
        await line.close()
        return slow, line.reason, len(socket.taken)

    assert asyncio.run(run()) == (True, "it reads too slowly", 0)


def test_a_queue_that_is_just_full_is_not_too_slow() -> None:
    async def run() -> tuple[bool, int]:
        socket = Socket()
        line = opened(socket)
        socket.door.clear()
        for number in range(QUEUE_MAX):
            line.cancel(HERE, str(number))
        slow = await ended(line, 0.05)
        socket.door.set()
        await until(lambda: len(socket.taken) == QUEUE_MAX)
        return slow, len(socket.taken)

    assert asyncio.run(run()) == (False, QUEUE_MAX)


@pytest.mark.parametrize("failure", [RuntimeError("closed"), OSError("reset")])
def test_a_line_that_breaks_lets_its_reader_go(failure: Exception) -> None:
    async def run() -> tuple[bool, str]:
        socket = Socket()
        line = opened(socket)
        socket.failure = failure
        line.cancel(HERE, "unheard")
        broke = await ended(line)
        await line.close()
        return broke, line.reason

    assert asyncio.run(run()) == (True, "the line broke")


def test_hanging_up_says_why_once() -> None:
    async def run() -> tuple[bool, str]:
        line = opened(Socket())
        line.hang_up("another line of this worker was opened")
        line.hang_up("no heartbeat in time")
        return await ended(line), line.reason

    assert asyncio.run(run()) == (True, "another line of this worker was opened")


def test_closing_waits_for_nobody_who_does_not_read() -> None:
    async def run() -> bool:
        socket = Socket()
        line = opened(socket)
        socket.door.clear()
        line.cancel(HERE, "unread")
        await asyncio.sleep(0.01)
        await asyncio.wait_for(line.close(), 1)
        return socket.taken == []

    assert asyncio.run(run())
