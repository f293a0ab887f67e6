"""Routes of uploads: begin, ask where it stands, go on, give up. The bytes are a job's input later."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from litestar import MediaType, Request, Response, delete, get, head, patch, post
from litestar.openapi.datastructures import ResponseSpec

from tallystick.api.aside import aside
from tallystick.api.bodies import BytesOperation
from tallystick.api.guard import Caller
from tallystick.api.house import Asker, Here, House
from tallystick.api.parameters import LENGTH, OFFSET, Offset, UploadPath
from tallystick.api.problems import Problem
from tallystick.api.times import rfc3339
from tallystick.api.upload_desk import ID_BYTES, Upload
from tallystick.errors import AbsentError, AccessError, ConflictError, UsageError
from tallystick.primitives.canonical import DigestHex

PATH: Final = "/api/v1/uploads/{upload_id:str}"
CONFLICT: Final = {409: ResponseSpec(Problem, description="Other bytes stand there; `offset` is the right one.")}
TAG: Final = ["uploads"]


class UploadForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What will be uploaded: how many bytes, with which SHA-256."""

    length: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    sha256: DigestHex


class UploadView(msgspec.Struct, frozen=True):
    """Where an upload stands."""

    upload_id: str
    offset: int
    length: int
    sha256: str
    complete: bool
    expires: str


def _view(house: House, upload: Upload) -> UploadView:
    offset = upload.length if upload.complete else house.uploads.desk.offset(upload)
    return UploadView(upload.upload_id, offset, upload.length, upload.sha256, upload.complete, rfc3339(upload.expires))


def _own(house: House, caller: Caller, upload_id: str) -> Upload:
    upload = house.uploads.desk.get(upload_id, house.now())
    if not caller.owns(upload.account):
        raise AbsentError("there is no such upload: it may have expired")
    return upload


@post("/api/v1/uploads", tags=TAG)
async def begin(house: Here, caller: Asker, data: UploadForm) -> Response[UploadView]:
    """Begin an upload; its bytes follow by PATCH."""
    make = partial(
        house.uploads.desk.begin, caller.account, data.length, data.sha256, house.now(), house.entropy.token(ID_BYTES)
    )
    upload = await aside(make)
    where = f"/api/v1/uploads/{upload.upload_id}"
    return Response(_view(house, upload), status_code=HTTPStatus.CREATED, headers={"location": where})


@get(PATH, tags=TAG)
async def stand(house: Here, caller: Asker, upload_id: UploadPath) -> UploadView:
    """Tell where an upload stands."""
    return _view(house, _own(house, caller, upload_id))


@head(PATH, tags=TAG)
async def stand_shortly(house: Here, caller: Asker, upload_id: UploadPath) -> Response[None]:
    """Tell where an upload stands, in headers."""
    view = _view(house, _own(house, caller, upload_id))
    headers = {OFFSET: str(view.offset), LENGTH: str(view.length)}
    return Response(None, headers=headers, media_type=MediaType.TEXT)


@delete(PATH, tags=TAG)
async def give_up(house: Here, caller: Asker, upload_id: UploadPath) -> None:
    """Forget an upload."""
    await aside(partial(house.uploads.desk.remove, _own(house, caller, upload_id)))


@patch(PATH, tags=TAG, responses=CONFLICT, request_max_body_size=None, operation_class=BytesOperation)
async def go_on(
    house: Here, caller: Asker, upload_id: UploadPath, upload_offset: Offset, request: Request[Any, Any, Any]
) -> Response[UploadView]:
    """Append the body's bytes at `Upload-Offset`; the last ones complete the upload if the digest is right."""
    upload = _own(house, caller, upload_id)
    stands = upload.length if upload.complete else await aside(partial(house.uploads.desk.offset, upload))
    if upload_offset != stands:
        raise ConflictError(f"the upload stands at {stands}: go on from there", offset=stands)
    if upload.complete:
        raise UsageError("the upload is complete: nothing can be added")
    mine = house.uploads.take(upload)
    try:
        offset = await _append(house, upload, mine, stands, request)
        if offset == upload.length:
            upload = await aside(partial(house.uploads.desk.finish, upload))
    finally:
        house.uploads.leave(upload, mine)
    return Response(_view(house, upload), headers={OFFSET: str(offset)})


async def _append(house: House, upload: Upload, mine: object, begin: int, request: Request[Any, Any, Any]) -> int:
    """Write what comes; a body that is not the signed one leaves nothing behind."""
    offset = begin
    try:
        async for data in request.stream():
            if data:
                offset = await house.uploads.write(upload, mine, offset, data)
                house.meters.uploaded(len(data))
    except AccessError:
        await aside(partial(house.uploads.desk.cut, upload, begin))
        raise
    return offset


ROUTES: Final = (begin, stand, stand_shortly, give_up, go_on)
