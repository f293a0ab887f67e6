"""Routes of orders: what it would cost, order it, where it stands, its entries, its files, cancel it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache, partial
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec
from litestar import HttpMethod, Request, Response, get, post, route
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter

from tallystick.api.aside import aside
from tallystick.api.disk import check_disk
from tallystick.api.entries import EntryView, view_entry
from tallystick.api.guard import Caller
from tallystick.api.house import Asker, Here, House
from tallystick.api.parameters import IdempotencyKey, JobPath, JobQuery, Limit, Position
from tallystick.api.problems import Problem
from tallystick.api.ranges import OCTETS, Part, answer_file, choose
from tallystick.errors import AbsentError, UsageError
from tallystick.node.host import BUNDLE, OUTPUT, SIDECAR
from tallystick.node.views import JobState, JobView, OrderForm, PriceView
from tallystick.primitives.canonical import format_base64

TAG: Final = ["jobs"]
JOB: Final = "/api/v1/jobs/{job_id:str}"
MEDIA_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {OUTPUT: "image/png", SIDECAR: "application/c2pa", BUNDLE: "application/json"}
)
Kind = Annotated[str, PathParameter(pattern=f"^({OUTPUT}|{SIDECAR}|{BUNDLE})$")]
State = Annotated[JobState | None, QueryParameter(name="state")]
CONFLICT: Final = {409: ResponseSpec(Problem, description="It contradicts what stands.")}
REPEATED: Final = {
    200: ResponseSpec(JobView, description="The first answer to this Idempotency-Key, again."),
    409: ResponseSpec(Problem, description="The Idempotency-Key came with another body, or the bytes are others."),
}


class JobPage(msgspec.Struct, frozen=True):
    """Orders, newest first; ``cursor`` is where the next page begins, null on the last."""

    jobs: tuple[JobView, ...]
    cursor: str | None


class EntryPage(msgspec.Struct, frozen=True):
    """Entries in the order of the log; ``cursor`` is where the next page begins, null on the last."""

    entries: tuple[EntryView, ...]
    cursor: int | None


def own(house: House, caller: Caller, job_id: str) -> JobView:
    """Return a job that is the caller's business.

    Raises:
        AbsentError: it is not, or there is none.
    """
    job = house.host.job(job_id)
    if job is None or not caller.owns(job.account):
        raise AbsentError(f"there is no job {job_id}")
    return job


def signer(caller: Caller, form: OrderForm) -> str:
    """Return the key in hex that must sign an order; empty where this home signs for the account.

    Raises:
        UsageError: the buyer's own key shall sign, and the request is not signed with one.
    """
    if form.own_key and not caller.key:
        raise UsageError("own_key is for requests that are signed with a key of one's own, not of this node's home")
    return "" if form.own_key is False else caller.key


async def uploaded(house: House, caller: Caller, digest: str) -> bytes:
    """Return the bytes of a complete upload of the caller.

    Raises:
        AbsentError: there is none with this SHA-256.
    """
    upload = house.uploads.desk.find(caller.account, digest, house.now())
    if upload is None:
        raise AbsentError("no complete upload has this SHA-256: POST /api/v1/uploads first")
    return await aside(partial(house.uploads.desk.read, upload))


@post("/api/v1/quotes", tags=TAG, status_code=HTTPStatus.OK, responses=CONFLICT)
async def ask_price(house: Here, caller: Asker, data: OrderForm) -> PriceView:
    """Tell what an order of an uploaded picture would lock; nothing is kept."""
    async with house.decoding:
        picture = await uploaded(house, caller, data.input)
        return await aside(partial(house.host.quote, caller.account, data, picture, signer(caller, data)))


@post("/api/v1/jobs", tags=TAG, status_code=HTTPStatus.ACCEPTED, responses=REPEATED)
async def order(
    house: Here,
    caller: Asker,
    data: OrderForm,
    request: Request[Any, Any, Any],
    idempotency_key: IdempotencyKey = None,
) -> Response[JobView]:
    """Order a job over an uploaded picture; it is durable when this answers."""
    if idempotency_key is None:
        job = await _submit(house, caller, data, None)
        return _ordered(job, HTTPStatus.ACCEPTED)
    name = (caller.account, idempotency_key)
    async with house.promises.held(name):
        promise = await aside(partial(house.promises.make, name, await request.body(), house.now()))
        if promise.answer is not None:
            return _ordered(msgspec.json.decode(promise.answer, type=JobView), HTTPStatus.OK)
        stands = await aside(partial(house.host.job, promise.job_id))
        job = await _submit(house, caller, data, promise.job_id) if stands is None else stands
        await aside(partial(house.promises.keep, name, promise, msgspec.json.encode(job).decode()))
    return _ordered(job, HTTPStatus.ACCEPTED)


async def _submit(house: House, caller: Caller, form: OrderForm, job_id: str | None) -> JobView:
    async with house.decoding:
        picture = await uploaded(house, caller, form.input)
        check_disk(house.settings.folder, len(picture), house.settings.bounds.disk_reserve_bytes)
        return await aside(partial(house.host.submit, caller.account, form, picture, job_id, signer(caller, form)))


def _ordered(job: JobView, status: HTTPStatus) -> Response[JobView]:
    return Response(job, status_code=status, headers={"location": f"/api/v1/jobs/{job.job_id}"})


@get("/api/v1/jobs", tags=TAG)
async def list_jobs(
    house: Here, caller: Asker, cursor: JobQuery = None, limit: Limit = 50, where: State = None
) -> JobPage:
    """List orders, newest first: one's own, or all for an operator."""
    account = None if caller.operates else caller.account
    found = await aside(partial(house.host.jobs, account, cursor or "", limit + 1, where))
    page = found[:limit]
    return JobPage(page, page[-1].job_id if len(found) > limit else None)


@get(JOB, tags=TAG)
async def show(house: Here, caller: Asker, job_id: JobPath) -> JobView:
    """Tell where an order stands."""
    return await aside(partial(own, house, caller, job_id))


@post(f"{JOB}/cancel", tags=TAG, status_code=HTTPStatus.OK, responses=CONFLICT)
async def cancel(house: Here, caller: Asker, job_id: JobPath) -> JobView:
    """Take an order out of the queue; one whose price is locked goes on."""
    await aside(partial(own, house, caller, job_id))
    return await aside(partial(house.host.cancel, job_id))


@get(f"{JOB}/entries", tags=TAG)
async def entries(
    house: Here,
    caller: Asker,
    job_id: JobPath,
    cursor: Position = None,
    limit: Limit = 100,
) -> EntryPage:
    """List the job's entries of the log."""
    await aside(partial(own, house, caller, job_id))
    return await aside(partial(_entries, house, job_id, cursor or 0, limit))


def _entries(house: House, job_id: str, cursor: int, limit: int) -> EntryPage:
    with house.book.lock:
        places = [place for place in house.book.engine.index.jobs.get(job_id, ()) if place >= cursor]
        found = tuple(view_entry(place, house.book.engine.entry(place)) for place in places[:limit])
    return EntryPage(found, places[limit] if len(places) > limit else None)


@route(
    f"{JOB}/files/{{kind:str}}",
    http_method=[HttpMethod.GET, HttpMethod.HEAD],
    tags=TAG,
    media_type=OCTETS,
    responses={
        **CONFLICT,
        200: ResponseSpec(bytes, media_type=OCTETS, description="The file."),
        206: ResponseSpec(bytes, media_type=OCTETS, description="The range that was asked for."),
        304: ResponseSpec(None, description="It is the one that you have."),
        416: ResponseSpec(Problem, description="The file has no such range; `size` is how many bytes it has."),
    },
)
async def file(
    house: Here, caller: Asker, job_id: JobPath, kind: Kind, request: Request[Any, Any, Any]
) -> Response[Any]:
    """Return a delivered file: `output`, `sidecar` (content credentials) or `bundle` (the evidence)."""
    await aside(partial(own, house, caller, job_id))
    path = await aside(partial(house.host.file, job_id, kind))
    part = await aside(partial(_choose, path, dict(request.scope)))
    return answer_file(part, path, MEDIA_TYPES[kind])


def _choose(path: Path, scope: dict[str, Any]) -> Part:
    """Read conditions and range; a file is replaced whole, so its size and time name its bytes."""
    stat = path.stat()
    name = path.name.replace('"', "")
    named = {
        "content-disposition": f'attachment; filename="{name}"',
        "repr-digest": _representation_digest(str(path), stat.st_size, stat.st_mtime_ns),
    }
    return choose(scope, stat.st_size, f"{stat.st_size:x}-{stat.st_mtime_ns:x}", named)


@lru_cache(maxsize=1024)
def _representation_digest(path: str, size: int, changed: int) -> str:
    """Return the ``Repr-Digest`` of a file (RFC 9530), read once as long as its size and time stay the same."""
    _ = (size, changed)
    with Path(path).open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").digest()
    return f"sha-256=:{format_base64(digest)}:"


ROUTES: Final = (ask_price, order, list_jobs, show, cancel, entries, file)
