"""Routes of tokens, for operators: make one, list them, shut one."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from litestar import delete, get, post

from tallystick.api.aside import aside
from tallystick.api.house import Here
from tallystick.api.parameters import TokenPath
from tallystick.api.times import from_datetime, rfc3339
from tallystick.node.tokens import ID_BYTES, SECRET_BYTES, AccountName, Scope, TokenRecord

TAG: Final = ["tokens"]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class TokenForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made."""

    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1, max_length=4)]
    account: AccountName
    expires: Moment | None = None


class TokenView(msgspec.Struct, frozen=True):
    """A token without its secret."""

    id: str
    scopes: tuple[Scope, ...]
    account: str
    created: str
    expires: str | None
    revoked: str | None
    valid: bool


class NewToken(msgspec.Struct, frozen=True):
    """A new token; ``token`` is shown this once."""

    token: str
    id: str


class TokenList(msgspec.Struct, frozen=True):
    """All tokens, oldest first."""

    tokens: tuple[TokenView, ...]


def view(token_id: str, record: TokenRecord, now: int) -> TokenView:
    """Return what may be told of a token."""
    return TokenView(
        id=token_id,
        scopes=record.scopes,
        account=record.account,
        created=rfc3339(record.created),
        expires=None if record.expires is None else rfc3339(record.expires),
        revoked=None if record.revoked is None else rfc3339(record.revoked),
        valid=record.is_valid(now),
    )


@post("/api/v1/tokens", tags=TAG, status_code=HTTPStatus.CREATED)
async def create(house: Here, data: TokenForm) -> NewToken:
    """Make a token; its secret is in this answer and nowhere else."""
    expires = None if data.expires is None else from_datetime(data.expires)
    entropy = house.entropy.token(ID_BYTES + SECRET_BYTES)
    make = partial(house.tokens.create, entropy, data.scopes, data.account, house.now(), expires)
    return NewToken(await aside(make), entropy[:ID_BYTES].hex())


@get("/api/v1/tokens", tags=TAG)
async def list_tokens(house: Here) -> TokenList:
    """List the tokens of this node."""
    now = house.now()
    return TokenList(tuple(view(token_id, record, now) for token_id, record in house.tokens.every()))


@delete("/api/v1/tokens/{token_id:str}", tags=TAG, status_code=HTTPStatus.OK)
async def revoke(house: Here, token_id: TokenPath) -> TokenView:
    """Shut a token for ever; doing it again changes nothing."""
    record = await aside(partial(house.tokens.revoke, token_id, house.now()))
    return view(token_id, record, house.now())


ROUTES: Final = (create, list_tokens, revoke)
