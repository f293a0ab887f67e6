"""The log as it grows, as server-sent events: an event's id is its log index, so a reader goes on where it stopped.

A reader pulls from the log at its own pace: nobody keeps anything for a slow one. New entries wake it at once.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
from litestar import get
from litestar.response import Stream

from tallystick.api.aside import aside
from tallystick.api.guard import Caller
from tallystick.api.house import Asker, Here, House
from tallystick.api.parameters import After, JobQuery, LastEventId
from tallystick.errors import LimitError
from tallystick.node.ledger_thread import SharedBook
from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import sha256

MEDIA_TYPE: Final = "text/event-stream"
KEEP_ALIVE_S: Final = 15.0
BATCH: Final = 64
FIRST: Final = b"retry: 1000\n\n"
KEEP_ALIVE: Final = b": still here\n\n"
LAST: Final = b": the node stops\n\n"
SHUT: Final = b": these credentials have ended\n\n"


class _Peek(msgspec.Struct):
    type: str


class LogEvent(msgspec.Struct, frozen=True):
    """One entry of the log with its names."""

    index: int
    nid: str
    tx_hash: str
    entry: msgspec.Raw


_PEEK: Final = msgspec.json.Decoder(_Peek)


def spell(index: int, entry: bytes) -> bytes:
    """Return an entry as one event; an entry is one line, since JSON escapes every line break."""
    digest = sha256(entry)
    event = LogEvent(index, raw_cid(digest), f"0x{digest.hex()}", msgspec.Raw(entry))
    kind = _PEEK.decode(entry).type
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (index, kind.encode(), msgspec.json.encode(event))


def read(book: SharedBook, after: int, job: str | None) -> list[tuple[int, bytes]]:
    """Return the next entries behind an index, at most a batch, of one job or of all."""
    with book.lock:
        size = book.engine.tree.size
        if job is None:
            places = list(range(after + 1, min(size, after + 1 + BATCH)))
        else:
            known: Sequence[int] = book.engine.index.jobs.get(job, [])
            begin = bisect_right(known, after)
            places = list(known[begin : begin + BATCH])
        return [(place, book.engine.entry(place)) for place in places]


async def follow(house: House, caller: Caller, after: int, job: str | None) -> AsyncIterator[bytes]:
    """Yield events for as long as the node runs, somebody reads, and the reader's token is neither shut nor over."""
    wake, loop = asyncio.Event(), asyncio.get_running_loop()

    def heard() -> None:
        with suppress(RuntimeError):  # the loop ended between two blocks
            loop.call_soon_threadsafe(wake.set)

    unsubscribe = house.feed.subscribe(heard)
    house.streams[caller.account] += 1
    try:
        with house.lines.held():
            yield FIRST
            while not house.lines.closing:
                if caller.token and not house.tokens.stands(caller.token, house.now()):
                    yield SHUT
                    return
                wake.clear()
                found = await aside(partial(read, house.book, after, job))
                if found:
                    after = found[-1][0]
                    yield b"".join(spell(index, entry) for index, entry in found)
                elif not await _woken(house, wake):
                    yield KEEP_ALIVE
            yield LAST
    finally:
        house.streams -= Counter((caller.account,))  # an account without streams is forgotten
        unsubscribe()


async def _woken(house: House, wake: asyncio.Event) -> bool:
    """Wait for news, the end, or long enough that the line needs a sign of life: then False."""
    try:
        async with asyncio.timeout(KEEP_ALIVE_S):
            await house.lines.unless_closing(wake.wait())
    except TimeoutError:
        return False
    return True


@get("/api/v1/events", media_type=MEDIA_TYPE, tags=["log"])
async def events(
    house: Here,
    caller: Asker,
    job: JobQuery = None,
    after: After = None,
    last_event_id: LastEventId = None,
) -> Stream:
    """Follow the log from behind `Last-Event-ID` or `after`; else a job from its beginning, the log from its end."""
    bounds = house.settings.bounds
    if house.streams.total() >= bounds.streams or house.streams[caller.account] >= bounds.streams_per_account:
        raise LimitError("too many open streams: close one, or try again later")
    start = last_event_id if last_event_id is not None else after
    if start is None:
        start = -1 if job is not None else house.book.engine.tree.size - 1
    return Stream(follow(house, caller, start, job), media_type=MEDIA_TYPE, headers={"x-accel-buffering": "no"})


ROUTES: Final = (events,)
