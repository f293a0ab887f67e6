"""A worker's line as the exchange speaks into it: from any thread, and written by a task that lives while there is any.

Knows spelling and patience with slow readers. Refuses to know what a worker says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec
from litestar import WebSocket

from tallystick import wire
from tallystick.api.lines import run_out
from tallystick.api.post import Post
from tallystick.errors import AuthorityError
from tallystick.job import JobSpec
from tallystick.ledger.transactions import Transaction
from tallystick.node.floor import Piece
from tallystick.node.pieces import Out

QUEUE_MAX: Final = 512
"""Messages that wait for a slow worker; one more and its line is closed."""
IDLE_WORDS: Final = 400
"""Heartbeats, progress and refused words that a line may say at once."""
IDLE_WORDS_PER_SECOND: Final = 20.0
"""How fast they come back."""
ASSIGNMENTS: Final = "/api/v1/assignments"


@dataclass(slots=True)
class Patience:
    """How much idle talk is left to a line: a bucket that fills with time."""

    left: float = IDLE_WORDS
    since: float = field(default_factory=time.monotonic)

    def spend(self) -> None:
        """Take one word.

        Raises:
            AuthorityError: there were too many.
        """
        now = time.monotonic()
        self.left = min(IDLE_WORDS, self.left + (now - self.since) * IDLE_WORDS_PER_SECOND) - 1
        self.since = now
        if self.left < 0:
            raise AuthorityError("too many messages that lead nowhere")


@dataclass(slots=True)
class SocketLine:
    """One worker's line; ``limit`` is what its reader keeps to, and runs out when the line is to end."""

    socket: WebSocket[Any, Any, Any]
    post: Post
    limit: asyncio.Timeout
    patience: Patience = field(default_factory=Patience)
    reason: str = ""
    _ended: bool = False
    _waiting: list[str] = field(default_factory=list)
    _writer: asyncio.Task[None] | None = None

    def piece(self, out: Out, lease: int) -> None:
        """Send a micro job."""
        self._say(lambda: wire.Job(name_of(out.piece), out.piece.job_id, payload_of(out, lease)))

    def challenge(self, out: Out) -> None:
        """Ask for openings."""
        outputs = tuple(digest.hex() for digest in out.asked)
        self._say(lambda: wire.Challenge(name_of(out.piece), out.challenge.hex(), outputs, payload_of(out, 0)))

    def receipt(self, piece: Piece, transaction: Transaction, index: int) -> None:
        """Say that a commitment is durable."""
        self._say(lambda: wire.Receipt(name_of(piece), index, transaction.nid, transaction.tx_hash))

    def refused(self, piece: Piece, reason: str, nonce: int) -> None:
        """Say why something does not count; whoever makes the node say so again and again is cut off."""
        self._say(lambda: wire.Refused(name_of(piece), reason[:1000], nonce))
        self.post(self._idle)

    def cancel(self, piece: Piece, reason: str) -> None:
        """Call a piece back."""
        self._say(lambda: wire.Cancel(name_of(piece), reason))

    def hang_up(self, reason: str) -> None:
        """Close."""
        self.post(lambda: self.end(reason))

    def end(self, reason: str) -> None:
        """Say nothing more, and let the reader go; the first reason counts. Only for the loop's own thread."""
        if not self._ended:
            self.reason, self._ended = reason, True
            self._waiting.clear()
            run_out(self.limit)

    async def close(self) -> None:
        """Return when nothing is being written any more."""
        self._ended = True
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)

    def _say(self, make: Callable[[], wire.FromNode]) -> None:
        self.post(lambda: self._put(make))

    def _put(self, make: Callable[[], wire.FromNode]) -> None:
        if self._ended:
            return
        if len(self._waiting) >= QUEUE_MAX:
            self.end("it reads too slowly")
            return
        self._waiting.append(wire.spell(make()))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
            self._writer.add_done_callback(self._wrote)

    def _idle(self) -> None:
        try:
            self.patience.spend()
        except AuthorityError as error:
            self.end(str(error))

    async def _write(self) -> None:
        """Send what waits; the first of it goes before it is taken off, so that it counts while it is being sent."""
        while self._waiting:
            await self.socket.send({"type": "websocket.send", "bytes": None, "text": self._waiting[0]})
            del self._waiting[:1]

    def _wrote(self, writer: asyncio.Task[None]) -> None:
        self._writer = None
        if not writer.cancelled() and writer.exception() is not None:
            self.end("the line broke")


def payload_of(out: Out, lease: int) -> wire.JobPayload:
    """Return what a worker has to know of a piece, to be spelled: its order is spelled already."""
    base = f"{ASSIGNMENTS}/{out.ticket}"
    return wire.JobPayload(
        spec=cast("JobSpec", msgspec.Raw(out.spelled)),
        attempt=out.piece.attempt,
        microjob=out.piece.microjob,
        macrojob=out.microjob.macrojob,
        blocks=tuple(slot.block for slot in out.microjob.slots),
        input=wire.InputPart(f"{base}/input", out.source.length, out.source.digest.hex(), out.source.salt.hex()),
        output=wire.OutputPart(f"{base}/output", out.length),
        lease_ends=lease,
    )


def name_of(piece: Piece) -> str:
    """Return the wire's name of a piece."""
    return wire.piece_id(piece.job_id, piece.attempt, piece.microjob)
