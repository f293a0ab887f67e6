"""What a ticket is good for: the job's input, and the place for one piece's output bytes.

A ticket is an unguessable right to one piece; it dies with the assignment. A broken connection goes on where it
stopped, and nobody's upload fills the memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import MediaType, Request, Response, get, head, patch
from litestar.openapi.datastructures import ResponseSpec

from tallystick.api.bodies import BytesOperation
from tallystick.api.house import Here
from tallystick.api.parameters import LENGTH, OFFSET, Offset, Ticket
from tallystick.api.parcels import stands
from tallystick.api.problems import Problem
from tallystick.api.ranges import answer_file, choose
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


def view_of(out: Out) -> OutputView:
    """Tell how far the bytes of a piece are."""
    return OutputView(stands(out), out.length, complete=out.digests is not None)


@get(INPUT, tags=TAG)
async def fetch(house: Here, ticket: Ticket, request: Request[Any, Any, Any]) -> Response[Any]:
    """Return the raw samples of the job's decoded input, or a range of them."""
    out = house.host.exchange.ticket(ticket)
    return answer_file(choose(dict(request.scope), out.source.length, out.source.digest.hex()), Path(out.source.path))


@get(OUTPUT, tags=TAG)
async def stand(house: Here, ticket: Ticket) -> OutputView:
    """Tell where the output stands."""
    return view_of(house.host.exchange.ticket(ticket))


@head(OUTPUT, tags=TAG)
async def stand_shortly(house: Here, ticket: Ticket) -> Response[None]:
    """Tell where the output stands, in headers."""
    view = view_of(house.host.exchange.ticket(ticket))
    return Response(None, headers={OFFSET: str(view.offset), LENGTH: str(view.length)}, media_type=MediaType.TEXT)


@patch(OUTPUT, tags=TAG, responses=CONFLICT, request_max_body_size=None, operation_class=BytesOperation)
async def deliver(
    house: Here, ticket: Ticket, upload_offset: Offset, request: Request[Any, Any, Any]
) -> Response[OutputView]:
    """Append the body's bytes at `Upload-Offset`: the blocks of all slots, one after the other."""
    out = house.host.exchange.ticket(ticket)
    house.meters.uploaded(await house.parcels.take(out, upload_offset, request.stream()))
    view = view_of(out)
    return Response(view, headers={OFFSET: str(view.offset)})


ROUTES: Final = (fetch, stand, stand_shortly, deliver)
