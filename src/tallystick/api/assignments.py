"""What a ticket is good for: the job's input, and the place for one piece's output bytes.

A ticket is an unguessable right to one piece; it dies with the assignment. Bytes gather in a file, so a broken
connection goes on where it stopped, and nobody's upload fills the memory.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import MediaType, Request, Response, get, head, patch
from litestar.openapi.datastructures import ResponseSpec

from tallystick.api.aside import aside
from tallystick.api.bodies import BytesOperation
from tallystick.api.house import Here
from tallystick.api.parameters import LENGTH, OFFSET, Offset, Ticket
from tallystick.api.problems import Problem
from tallystick.api.ranges import answer_file, choose
from tallystick.errors import AbsentError, ConflictError, StoreError, TooLargeError
from tallystick.node.exchange import Exchange
from tallystick.node.pieces import Out

INPUT: Final = "/api/v1/assignments/{ticket:str}/input"
OUTPUT: Final = "/api/v1/assignments/{ticket:str}/output"
TAG: Final = ["workers"]
CONFLICT: Final = {409: ResponseSpec(Problem, description="Other bytes stand there; `offset` is the right one.")}


class OutputView(msgspec.Struct, frozen=True):
    """How many bytes of a piece's output stand, of how many."""

    offset: int
    length: int
    complete: bool


def stands(out: Out) -> OutputView:
    """Tell how far the bytes of a piece are."""
    length = sum(out.lengths)
    if out.digests is not None:
        return OutputView(length, length, complete=True)
    path = Path(out.path)
    return OutputView(path.stat().st_size if path.exists() else 0, length, complete=False)


def append(exchange: Exchange, out: Out, offset: int, data: bytes) -> int:
    """Append bytes at an offset and return the new one.

    Raises:
        AbsentError: the piece was called back meanwhile.
        ConflictError: other bytes stand there.
        TooLargeError: the piece has fewer.
        StoreError: the disk refuses them.
    """
    with out.writing:
        exchange.ticket(out.ticket)
        view = stands(out)
        if view.complete or offset != view.offset:
            raise ConflictError(f"the output stands at {view.offset}: go on from there", offset=view.offset)
        if offset + len(data) > view.length:
            raise TooLargeError("output", f"the piece has {view.length} bytes")
        try:
            with Path(out.path).open("ab") as handle:
                handle.write(data)
        except OSError as error:
            raise StoreError(f"the disk refused an output: {error.strerror}") from error
        _check_wanted(exchange, out)
    return offset + len(data)


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


@get(INPUT, tags=TAG)
async def fetch(house: Here, ticket: Ticket, request: Request[Any, Any, Any]) -> Response[Any]:
    """Return the raw samples of the job's decoded input, or a range of them."""
    out = house.host.exchange.ticket(ticket)
    return answer_file(choose(dict(request.scope), out.source.length, out.source.digest.hex()), Path(out.source.path))


@get(OUTPUT, tags=TAG)
async def stand(house: Here, ticket: Ticket) -> OutputView:
    """Tell where the output stands."""
    return await aside(partial(stands, house.host.exchange.ticket(ticket)))


@head(OUTPUT, tags=TAG)
async def stand_shortly(house: Here, ticket: Ticket) -> Response[None]:
    """Tell where the output stands, in headers."""
    view = await aside(partial(stands, house.host.exchange.ticket(ticket)))
    return Response(None, headers={OFFSET: str(view.offset), LENGTH: str(view.length)}, media_type=MediaType.TEXT)


@patch(OUTPUT, tags=TAG, responses=CONFLICT, request_max_body_size=None, operation_class=BytesOperation)
async def deliver(
    house: Here, ticket: Ticket, upload_offset: Offset, request: Request[Any, Any, Any]
) -> Response[OutputView]:
    """Append the body's bytes at `Upload-Offset`: the blocks of all slots, one after the other."""
    exchange, offset = house.host.exchange, upload_offset
    out = exchange.ticket(ticket)
    if (await aside(partial(stands, out))).offset != offset:
        await aside(partial(append, exchange, out, offset, b""))
    async for data in request.stream():
        if data:
            offset = await aside(partial(append, exchange, out, offset, data))
            house.meters.uploaded(len(data))
    view = await aside(partial(_finish, exchange, out))
    return Response(view, headers={OFFSET: str(view.offset)})


def _finish(exchange: Exchange, out: Out) -> OutputView:
    """Keep the blocks once all bytes stand."""
    with out.writing:
        view = stands(out)
        if view.complete or view.offset != view.length:
            return view
        with Path(out.path).open("rb") as handle:
            exchange.received(out, handle.read)
        Path(out.path).unlink(missing_ok=True)
        return stands(out)


ROUTES: Final = (fetch, stand, stand_shortly, deliver)
