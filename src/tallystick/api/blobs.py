"""Routes of blobs: bytes under their SHA-256, for whoever put them there, and for operators."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any, Final

from litestar import HttpMethod, Request, Response, put, route
from litestar.openapi.datastructures import ResponseSpec

from tallystick.api.aside import aside
from tallystick.api.bodies import BytesOperation
from tallystick.api.disk import check_disk
from tallystick.api.guard import Caller
from tallystick.api.house import Asker, Here, House
from tallystick.api.parameters import Digest
from tallystick.api.problems import Problem
from tallystick.api.ranges import OCTETS, answer_bytes, choose
from tallystick.errors import AbsentError, CommitmentError, LimitError, TooLargeError
from tallystick.node.leftovers import OWNER_PREFIX
from tallystick.node.room import ADDRESS_PREFIX, is_stranger
from tallystick.primitives.digests import sha256

TAG: Final = ["blobs"]
PATH: Final = "/api/v1/blobs/{digest:str}"


def _owner_key(digest: str, account: str) -> str:
    return f"{OWNER_PREFIX}{account}/{digest}"


def _read(house: House, caller: Caller, digest: str) -> bytes:
    """Return a blob that is the caller's business.

    Raises:
        AbsentError: there is none, or it is somebody else's.
    """
    known = caller.operates or house.ports.store.private(_owner_key(digest, caller.account)) is not None
    data = house.ports.blobs.get(bytes.fromhex(digest)) if known else None
    if data is None:
        raise AbsentError("there is no such blob")
    return data


def _keep(house: House, caller: Caller, digest: str, data: bytes) -> bool:
    """Keep a blob for an account and tell whether it is new to it.

    Raises:
        CommitmentError: the bytes have another SHA-256.
        LimitError: the account has too many, or the disk is nearly full.
    """
    actual = sha256(data)
    if actual.hex() != digest:
        raise CommitmentError("SHA-256 of the blob", expected=digest, actual=actual.hex())
    key = _owner_key(digest, caller.account)
    held = house.ports.store.private_keys(f"{OWNER_PREFIX}{caller.account}/")
    if key not in held and len(held) >= house.settings.bounds.blobs_per_account:
        raise LimitError(f"{len(held)} blobs of this account are here already")
    if key not in held and is_stranger(caller.account):
        _check_strangers(house)
    check_disk(house.settings.folder, len(data), house.settings.bounds.disk_reserve_bytes)
    house.ports.blobs.put(actual, data)
    house.ports.store.put_private([(key, b"1")])
    return key not in held


def _check_strangers(house: House) -> None:
    if len(house.ports.store.private_keys(OWNER_PREFIX + ADDRESS_PREFIX)) >= house.settings.bounds.strangers_blobs:
        raise LimitError("callers without a token have all the blobs here that they may have together")


def may_read(house: House, request: Request[Any, Any, Any], digest: bytes) -> bool:
    """Tell whether a request's caller may read a blob, for routes that are open to everybody."""
    caller: Caller | None = request.scope["state"].get("caller")
    if caller is None or not caller.buys:
        return False
    return caller.operates or house.ports.store.private(_owner_key(digest.hex(), caller.account)) is not None


@route(
    PATH,
    http_method=[HttpMethod.GET, HttpMethod.HEAD],
    tags=TAG,
    media_type=OCTETS,
    responses={
        200: ResponseSpec(bytes, media_type=OCTETS, description="The bytes."),
        206: ResponseSpec(bytes, media_type=OCTETS, description="The range that was asked for."),
        304: ResponseSpec(None, description="They are the ones that you have."),
        416: ResponseSpec(Problem, description="The blob has no such range; `size` is how many bytes it has."),
    },
)
async def fetch(house: Here, caller: Asker, digest: Digest, request: Request[Any, Any, Any]) -> Response[Any]:
    """Return a blob, or a range of it."""
    data = await aside(partial(_read, house, caller, digest))
    return answer_bytes(choose(dict(request.scope), len(data), digest), data)


@put(
    PATH,
    tags=TAG,
    status_code=HTTPStatus.CREATED,
    request_max_body_size=None,
    operation_class=BytesOperation,
    responses={200: ResponseSpec(None, description="It was here already.")},
)
async def keep(house: Here, caller: Asker, digest: Digest, request: Request[Any, Any, Any]) -> Response[None]:
    """Keep bytes under their SHA-256."""
    most, data = house.settings.bounds.blob_bytes, bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > most:
            raise TooLargeError("blob", f"more than {most} bytes: pictures go by /api/v1/uploads")
    new = await aside(partial(_keep, house, caller, digest, bytes(data)))
    return Response(None, status_code=HTTPStatus.CREATED if new else HTTPStatus.OK)


ROUTES: Final = (fetch, keep)
