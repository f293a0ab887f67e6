"""A trustless gateway: ``/ipfs/{cid}`` answers with one block or a CAR, which whoever asks holds against the CID.

Knows the IPFS Trustless Gateway specification in strict mode: no answer is ever a file put together. Refuses to know
who may read what: it asks ``may_read``, and what somebody may not read is not here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final

from litestar import HttpMethod, Request, Response, route
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation
from litestar.params import PathParameter
from litestar.response import Stream

from tallystick.api.aside import aside
from tallystick.api.callers import ConnectionScope, header
from tallystick.api.log_routes import IMMUTABLE, OPEN, also, bytes_by_range
from tallystick.api.ranges import answer_bytes, choose
from tallystick.errors import AbsentError, UsageError
from tallystick.node.blocks import Block, Blocks, Opener, Rights
from tallystick.primitives import car
from tallystick.primitives.cids import Cid

RAW_TYPE: Final = "application/vnd.ipld.raw"
CAR_TYPE: Final = "application/vnd.ipld.car"
CAR_ANSWER: Final = f"{CAR_TYPE}; version=1; order=dfs; dups=y"
PROBE: Final = "bafkqaaa"
"""The CID of no bytes at all, by which clients find out that this is a gateway."""
PROBE_BYTES: Final = b"\x01\x55\x00\x00"
PRIVATE: Final = "private, max-age=31536000, immutable"
BOTH: Final = f"add ?format=raw (one block) or ?format=car, or Accept: {RAW_TYPE} or {CAR_TYPE}"

MayRead = Callable[[Request[Any, Any, Any], bytes], bool]
"""Tells whether a request's caller may read a blob, by its SHA-256; called in a thread."""
FileOf = Callable[[Request[Any, Any, Any], Cid], Opener | None]
"""Gives the file of a UnixFS root where the request's caller may read it; called in a thread."""
CidText = Annotated[str, PathParameter(description="CIDv1 in base32", max_length=80)]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request wants of a block: itself, or a CAR of it and (``whole``) all below it."""

    car: bool
    whole: bool = True


@dataclass
class BlockOperation(Operation):
    """The operation of a route that answers with a block or a CAR."""

    def __post_init__(self) -> None:
        """Name the second form."""
        also(self, CAR_ANSWER)


def nobody(_request: Request[Any, Any, Any], _digest: bytes) -> bool:
    """Let nobody read what is not public."""
    return False


def no_file(_request: Request[Any, Any, Any], _root: Cid) -> None:
    """Know of no file."""


def ipfs_routes(blocks: Blocks, may_read: MayRead = nobody, file_of: FileOf = no_file) -> list[HTTPRouteHandler]:
    """Return the handler of the gateway."""

    @route(
        "/ipfs/{cid:str}",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        tags=["ipfs"],
        media_type=RAW_TYPE,
        responses={
            **bytes_by_range(RAW_TYPE, "The block, or a CAR."),
            406: ResponseSpec(bytes, description="No form of it that the request accepts."),
        },
        operation_class=BlockOperation,
    )
    async def ipfs(request: Request[Any, Any, Any], cid: CidText) -> Response[Any]:
        """Return a block or a CAR by CID, never a file put together: hold what you get against the CID."""
        facts: ConnectionScope = dict(request.scope)
        wish = read_wish(request)
        if cid == PROBE:
            return _probe(facts, wish)
        name = Cid.parse(cid)
        rights = Rights(partial(may_read, request), partial(file_of, request))
        found = await aside(partial(blocks.find, name, rights))
        if found is None:
            raise AbsentError(f"there is no block {cid} here, or not for these credentials")
        return _car(facts, found, wish) if wish.car else _raw(facts, found)

    return [ipfs]


def read_wish(request: Request[Any, Any, Any]) -> Wish:
    """Read format and parameters; ``format`` goes before Accept, as the specification has it.

    Raises:
        UsageError: it names no form, so a file put together would be the answer, or a parameter has no such value.
        HTTPException: it accepts no form that we have (406).
    """
    query = request.query_params
    accepted = header(dict(request.scope), b"accept")
    wanted = query.get("format")
    media, parameters = _media(wanted, accepted)
    if media == RAW_TYPE:
        return Wish(car=False)
    for name, values in (("version", {"1"}), ("order", {"dfs", "unk"}), ("dups", {"y"})):
        value = query.get(f"car-{name}", parameters.get(name))
        if value is not None and value not in values:
            raise _unacceptable(f"a CAR with {name}={value[:20]!r}: this gateway writes {CAR_ANSWER}")
    scope = query.get("dag-scope", "all")
    if scope not in {"block", "entity", "all"}:
        raise UsageError(f"dag-scope is block, entity or all, not {scope[:20]!r}")
    if "entity-bytes" in query:
        raise UsageError("entity-bytes is not offered: fetch the blocks that you need by ?format=raw")
    return Wish(car=True, whole=scope != "block")


def _media(wanted: str | None, accepted: str | None) -> tuple[str, dict[str, str]]:
    """Return the media type that is wanted, with its parameters in Accept."""
    offers = list(_accepted(accepted or ""))
    if wanted is not None:
        media = {"raw": RAW_TYPE, "car": CAR_TYPE}.get(wanted)
        if media is None:
            raise _unacceptable(f"the format {wanted[:20]!r}: {BOTH}")
        return media, next((parameters for name, parameters in offers if name == media), {})
    for name, parameters in offers:
        if name in {RAW_TYPE, CAR_TYPE}:
            return name, parameters
    if accepted is None or any(name in {"*/*", "application/*"} for name, _ in offers):
        raise UsageError(f"this gateway puts no files together: {BOTH}")
    raise _unacceptable(f"{accepted[:80]!r}: {BOTH}")


def _accepted(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the media types of an Accept header with their parameters, the most wanted first."""
    wishes = []
    for each in text.lower().split(","):
        name, *rest = (part.strip() for part in each.split(";"))
        parameters = {key.strip(): value.strip(' "') for key, _, value in (part.partition("=") for part in rest)}
        weight = parameters.pop("q", "1")
        if weight.strip("0.") or not weight:
            wishes.append((weight, name, parameters))
    wishes.sort(key=lambda wish: wish[0], reverse=True)
    return ((name, parameters) for _, name, parameters in wishes)


def _unacceptable(what: str) -> HTTPException:
    return HTTPException(status_code=HTTPStatus.NOT_ACCEPTABLE, detail=f"there is no {what}")


def _headers(cid: str, form: str, suffix: str, *, public: bool) -> dict[str, str]:
    return {
        "cache-control": IMMUTABLE if public else PRIVATE,
        "content-disposition": f'attachment; filename="{cid}.{suffix}"',
        "content-location": f"/ipfs/{cid}?format={form}",
        "vary": "accept" if public else "accept, authorization",
        "x-content-type-options": "nosniff",
        "x-ipfs-path": f"/ipfs/{cid}",
        "x-ipfs-roots": cid,
        **(OPEN if public else {}),
    }


def _raw(scope: ConnectionScope, block: Block) -> Response[Any]:
    cid = str(block.cid)
    headers = _headers(cid, "raw", "bin", public=block.public)
    return answer_bytes(choose(scope, len(block.data), f"{cid}.raw", headers), block.data, RAW_TYPE)


def _car(scope: ConnectionScope, block: Block, wish: Wish) -> Response[Any]:
    """Answer with a CAR; its length is known beforehand, so that one that ends early is seen to."""
    cid = str(block.cid)
    sizes = block.sizes() if wish.whole else iter([len(block.data)])
    etag = f"{cid}.car" if wish.whole else f"{cid}.car.block"
    part = choose(
        _without_range(scope), car.length(block.cid, sizes), etag, _headers(cid, "car", "car", public=block.public)
    )
    headers = dict(part.headers) | {"accept-ranges": "none", "content-type": CAR_ANSWER}
    if part.empty:
        return Response(b"", status_code=part.status, headers=headers)
    pieces = block.car() if wish.whole else car.write(block.cid, [(block.cid, block.data)])
    return Stream(_flow(pieces), status_code=part.status, headers=headers)


def _without_range(scope: ConnectionScope) -> ConnectionScope:
    return {**scope, "headers": [pair for pair in scope["headers"] if bytes(pair[0]).lower() != b"range"]}


async def _flow(pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    """Read on as the asker takes it, and let go of the file when it leaves."""
    with closing(pieces):
        while (piece := await aside(lambda: next(pieces, None))) is not None:
            yield piece


def _probe(scope: ConnectionScope, wish: Wish) -> Response[Any]:
    form, data, media = ("car", car.header(PROBE_BYTES), CAR_ANSWER) if wish.car else ("raw", b"", RAW_TYPE)
    headers = _headers(PROBE, form, form if wish.car else "bin", public=True)
    return answer_bytes(choose(_without_range(scope), len(data), f"{PROBE}.{form}", headers), data, media)
