"""A body on its way in is bounded in size and time, is the one that was named, and is let go when the node stops."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tallystick.api.intake import Intake
from tallystick.api.lines import Lines
from tallystick.api.settings import Bounds
from tallystick.errors import AccessError, ClosingError, DelayError, MalformedError, TallyError, TooLargeError

QUICK = Bounds(body_bytes=10, body_seconds=0.15, chunk_seconds=0.1, grace_seconds=0.1, rate_bytes=1000)
Piece = tuple[float, bytes, bool]


def sender(*pieces: Piece) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Send pieces, each after so many seconds; then the connection ends."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"}
        wait, body, more = left.pop(0)
        await asyncio.sleep(wait)
        return {"type": "http.request", "body": body, "more_body": more}

    return receive


async def read(intake: Intake) -> bytes:
    return b"".join([piece async for piece in pieces(intake)])


async def pieces(intake: Intake) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await intake()
        yield message["body"]
        more = message["more_body"]


def taken(*sent: Piece, streamed: bool, digest: bytes | None = None) -> bytes:
    async def run() -> bytes:
        return await read(Intake(sender(*sent), QUICK, Lines(), streamed=streamed, digest=digest))

    return asyncio.run(run())


def test_a_body_in_bounds_arrives() -> None:
    assert taken((0, b"0123", True), (0, b"456789", False), streamed=False) == b"0123456789"


def test_a_named_body_arrives() -> None:
    assert taken((0, b"01", True), (0, b"2", False), streamed=False, digest=hashlib.sha256(b"012").digest()) == b"012"


@pytest.mark.parametrize(
    ("sent", "streamed", "error"),
    [
        (((0, b"0" * 11, False),), False, TooLargeError),
        (((0, b"0" * 6, True), (0, b"0" * 6, False)), False, TooLargeError),
        (((0.3, b"0", False),), False, DelayError),
        (((0.1, b"0", True), (0.1, b"0", False)), False, DelayError),
        (((0.2, b"0", False),), True, DelayError),
        (tuple((0.06, b"0", True) for _ in range(9)), True, DelayError),
        (((0, b"0", True),), False, MalformedError),
        (((0, b"0", True),), True, MalformedError),
        ((), False, MalformedError),
    ],
)
def test_a_body_out_of_bounds_does_not(sent: tuple[Piece, ...], error: type[TallyError], *, streamed: bool) -> None:
    with pytest.raises(error):
        taken(*sent, streamed=streamed)


def test_a_stream_may_be_long_as_long_as_it_flows() -> None:
    sent = [(0.04, bytes(100), True) for _ in range(8)]
    assert len(taken(*sent, (0, b"", False), streamed=True)) == 800


@pytest.mark.parametrize("streamed", [True, False])
def test_another_body_than_the_named_one_is_refused_with_its_last_piece(*, streamed: bool) -> None:
    with pytest.raises(AccessError):
        taken((0, b"01", True), (0, b"3", False), streamed=streamed, digest=hashlib.sha256(b"012").digest())


def test_after_the_body_messages_only_pass() -> None:
    async def run() -> str:
        intake = Intake(sender((0, b"", False)), QUICK, Lines(), streamed=False)
        await intake()
        await asyncio.sleep(0.2)
        kind: str = (await intake())["type"]
        return kind

    assert asyncio.run(run()) == "http.disconnect"


def test_whoever_still_sends_is_let_go_when_the_node_stops() -> None:
    async def run() -> None:
        lines = Lines()
        intake = Intake(sender((60, b"", False)), Bounds(), lines, streamed=True)
        reading = asyncio.create_task(read(intake))
        await asyncio.sleep(0.02)
        lines.close()
        await asyncio.wait_for(reading, 5)

    with pytest.raises(ClosingError):
        asyncio.run(run())


def test_lines_are_counted_and_end_together() -> None:
    async def hold(lines: Lines) -> None:
        with lines.held():
            await lines.wait_closing()

    async def run() -> tuple[int, int]:
        lines = Lines()
        tasks = [asyncio.create_task(hold(lines)) for _ in range(5)]
        await asyncio.sleep(0.01)
        before = lines.open
        assert not lines.closing
        lines.close()
        await asyncio.wait_for(lines.wait_idle(), 5)
        await asyncio.gather(*tasks)
        assert lines.closing
        return before, lines.open

    assert asyncio.run(run()) == (5, 0)


def test_business_is_done_unless_the_node_stops_first() -> None:
    async def answer() -> int:
        return 7

    async def run() -> tuple[int | None, int | None]:
        lines = Lines()
        done = await lines.unless_closing(answer())
        stuck = asyncio.create_task(lines.unless_closing(asyncio.sleep(60, 8)))
        await asyncio.sleep(0.01)
        lines.close()
        return done, await asyncio.wait_for(stuck, 5)

    assert asyncio.run(run()) == (7, None)
