"""Output bytes on their way in: small pieces go from the body to the blobs in one turn, large ones gather in a file.

Knows how many bytes may wait in memory. Refuses to know what they are: whether they are right, the judge will say.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tallystick.api.aside import aside
from tallystick.api.together import Together
from tallystick.errors import AbsentError, ConflictError, StoreError, TallyError, TooLargeError
from tallystick.node.exchange import Exchange
from tallystick.node.pieces import Out

GATHER: Final = 1 << 19
"""Bytes of one body that wait in memory for the next write; a piece that has no more comes in without a file."""
ROOM: Final = 1 << 26
"""Bytes of all bodies together that may wait; beyond it every chunk goes to its file at once."""


@dataclass(slots=True)
class _Body:
    """What of one body waits in memory, and where in the piece it begins."""

    out: Out
    offset: int
    waiting: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class Parcels:
    """All bodies that come in at one server. Lives in the event loop's thread."""

    exchange: Exchange
    room: int = ROOM
    gather: int = GATHER
    _whole: Together[tuple[Out, bytes], None] = field(init=False)

    def __post_init__(self) -> None:
        """Take whole pieces in turns."""
        self._whole = Together(self._keep)

    async def take(self, out: Out, offset: int, chunks: AsyncIterator[bytes]) -> int:
        """Add a body to a piece at an offset, and return how many bytes came; what came before a break counts.

        Raises:
            AbsentError: the piece was called back meanwhile.
            ConflictError: other bytes stand there; `offset` is the right one.
            TooLargeError: the piece has fewer.
            StoreError: the disk refuses them.
        """
        check_offset(out, offset)
        body = _Body(out, offset)
        try:
            async for chunk in chunks:
                self.exchange.ticket(out.ticket)
                body.waiting += chunk
                self.room -= len(chunk)
                if len(body.waiting) >= self.gather or self.room < 0:
                    await self._write(body)
        except TallyError:
            await self._write(body)
            raise
        else:
            await self._end(body)
            return body.offset - offset
        finally:
            self.room += len(body.waiting)

    async def _write(self, body: _Body) -> None:
        """Let what waits go to the file."""
        data = bytes(body.waiting)
        if data:
            body.offset = await aside(partial(append, self.exchange, body.out, body.offset, data))
            del body.waiting[:]
            self.room += len(data)

    async def _end(self, body: _Body) -> None:
        """Keep the blocks once all bytes are there."""
        out, size = body.out, len(body.waiting)
        if body.offset == 0 and size == out.length:
            await self._whole((out, bytes(body.waiting)))
            body.offset = size
            return
        await self._write(body)
        if out.gathered == out.length:
            await aside(partial(self._finish, out))

    def _keep(self, pieces: Sequence[tuple[Out, bytes]]) -> Sequence[TallyError | None]:
        """Take pieces in that came whole; of two deliveries of one piece the first counts."""
        fresh: dict[str, tuple[Out, Callable[[int], bytes]]] = {}
        for out, data in pieces:
            if out.digests is None and not out.gathered:
                fresh.setdefault(out.ticket, (out, io.BytesIO(data).read))
        answers = dict(zip(fresh, self.exchange.received_all(list(fresh.values())), strict=True))
        return [answers.pop(out.ticket) if out.ticket in answers else _conflict(out) for out, _ in pieces]

    def _finish(self, out: Out) -> None:
        """Take in a piece whose file is complete, once."""
        with out.writing:
            if out.digests is None:
                path = Path(out.path)
                with path.open("rb") as handle:
                    self.exchange.received(out, handle.read)
                path.unlink(missing_ok=True)


def stands(out: Out) -> int:
    """Return how many bytes of a piece stand."""
    return out.gathered if out.digests is None else out.length


def check_offset(out: Out, offset: int) -> None:
    """Hold a body to the bytes that stand.

    Raises:
        ConflictError: it goes on elsewhere, or all bytes are there.
    """
    if out.digests is not None or offset != out.gathered:
        raise _conflict(out)


def append(exchange: Exchange, out: Out, offset: int, data: bytes) -> int:
    """Append bytes to a piece's file at an offset and return the new one.

    Raises:
        AbsentError: the piece was called back meanwhile.
        ConflictError: other bytes stand there.
        TooLargeError: the piece has fewer.
        StoreError: the disk refuses them; none of them counts.
    """
    with out.writing:
        exchange.ticket(out.ticket)
        check_offset(out, offset)
        if offset + len(data) > out.length:
            raise TooLargeError("output", f"the piece has {out.length} bytes")
        try:
            with Path(out.path).open("r+b" if offset else "wb") as handle:
                handle.seek(offset)
                handle.write(data)
        except OSError as error:
            raise StoreError(f"the disk refused an output: {error.strerror}") from error
        out.gathered = offset + len(data)
        _check_wanted(exchange, out)
        return out.gathered


def _check_wanted(exchange: Exchange, out: Out) -> None:
    """Delete again what was written while the piece was called back.

    Raises:
        AbsentError: it was.
    """
    try:
        exchange.ticket(out.ticket)
    except AbsentError:
        Path(out.path).unlink(missing_ok=True)
        raise


def _conflict(out: Out) -> ConflictError:
    return ConflictError(f"the output stands at {stands(out)}: go on from there", offset=stands(out))
