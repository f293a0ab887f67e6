"""Tokens: what a caller without a key shows. Only the hash of a secret is kept; scopes, expiry and revocation with it.

A token is ``tally_<id>_<secret>``: 12 and 64 lowercase hex digits. Time and randomness are arguments.
"""

from __future__ import annotations

import hmac
import re
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from tallystick.errors import AbsentError, AccessError, UsageError
from tallystick.node.ports import Store
from tallystick.primitives import canonical
from tallystick.primitives.canonical import Count, DigestHex
from tallystick.primitives.digests import sha256

TOKEN_PREFIX: Final = "token/"  # noqa: S105 - where the records stand, no secret
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
ACCOUNT_PATTERN: Final = r"^(?!cpc1)[a-z0-9][a-z0-9_.-]{0,63}(?![\s\S])"
_ACCOUNT: Final = re.compile(ACCOUNT_PATTERN)
_ID: Final = re.compile(r"[0-9a-f]{12}")
_SPELLING: Final = re.compile(r"tally_([0-9a-f]{12})_([0-9a-f]{64})")
_NOBODY: Final = bytes(32)

AccountName = Annotated[str, msgspec.Meta(pattern=ACCOUNT_PATTERN)]
"""An account kept by a node; names that begin with ``cpc1`` belong to whoever holds that address's key."""
TokenId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{12}(?![\s\S])")]


class Scope(StrEnum):
    """What a caller may do; an operator may do everything."""

    REPORTER = "reporter"
    REQUESTER = "requester"
    PROVIDER = "provider"
    OPERATOR = "operator"


class TokenRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node keeps of a token: the SHA-256 of its secret, never the secret. Times in UTC milliseconds."""

    hash: DigestHex
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1, max_length=4)]
    account: AccountName
    created: Count
    expires: Count | None = None
    revoked: Count | None = None

    def is_valid(self, now: int) -> bool:
        """Tell whether it opens anything at this moment."""
        return self.revoked is None and (self.expires is None or now < self.expires)


def spell(token_id: str, secret: bytes) -> str:
    """Return the token as its holder keeps it."""
    return f"tally_{token_id}_{secret.hex()}"


def id_of(text: str) -> str:
    """Return the id in a token's spelling, which was checked."""
    return text.split("_")[1]


def check_id(token_id: str) -> None:
    """Refuse what is no token's id, in the words for an id that is not known.

    Raises:
        AbsentError: no token can have it.
    """
    if _ID.fullmatch(token_id) is None:
        raise unknown(token_id)


def unknown(token_id: str) -> AbsentError:
    """Return the error of an id that no token has, well formed or not."""
    return AbsentError(f"there is no token {token_id[:80]}: `tally token list` shows them")


def check_account(name: str) -> None:
    """Refuse a name that is no account's.

    Raises:
        UsageError: it is too long, holds other characters, or looks like an address.
    """
    if _ACCOUNT.match(name) is None:
        rule = "1 to 64 of a-z 0-9 . _ -, a letter or digit first, and not an address"
        raise UsageError(f"{name[:80]!r} is no name of an account: use {rule}")


def check(record: TokenRecord | None, secret: bytes, now: int) -> TokenRecord:
    """Return the record that a secret opens; an unknown token takes as long as a wrong secret.

    Raises:
        AccessError: unknown, wrong, revoked or expired; the answer tells only those who know the secret which.
    """
    kept = _NOBODY if record is None else bytes.fromhex(record.hash)
    if not hmac.compare_digest(kept, sha256(secret)) or record is None:
        raise AccessError("this token is not known here: `tally token create` makes one")
    if not record.is_valid(now):
        why = "was revoked" if record.revoked is not None else "has expired"
        raise AccessError(f"this token {why}: `tally token create` makes a new one")
    return record


class Tokens:
    """The tokens of one home over its store; read once, since every request asks."""

    def __init__(self, store: Store) -> None:
        """Read what is kept."""
        self._store = store
        self._records: dict[str, TokenRecord] = {}
        for key in store.private_keys(TOKEN_PREFIX):
            kept = store.private(key)
            if kept is not None:
                self._records[key.removeprefix(TOKEN_PREFIX)] = canonical.decode(kept, TokenRecord, what="kept token")

    def create(self, entropy: bytes, scopes: tuple[Scope, ...], account: str, now: int, expires: int | None) -> str:
        """Keep a new token and return its spelling, which nobody can read again.

        Args:
            entropy: 38 unpredictable bytes: id and secret.
            scopes: What it may do.
            account: Whose it is.
            now: UTC milliseconds.
            expires: When it ends, None for never.

        Raises:
            UsageError: no scope, no account's name, or an end that has passed.
        """
        check_account(account)
        if not scopes:
            raise UsageError(f"a token needs a scope: {', '.join(Scope)}")
        if expires is not None and expires <= now:
            raise UsageError("the token would have expired already: name a later end")
        token_id, secret = entropy[:ID_BYTES].hex(), entropy[ID_BYTES : ID_BYTES + SECRET_BYTES]
        if token_id in self._records:
            raise UsageError(f"there is a token {token_id} already: try again")
        record = TokenRecord(sha256(secret).hex(), tuple(sorted(set(scopes))), account, now, expires)
        self._keep(token_id, record)
        return spell(token_id, secret)

    def revoke(self, token_id: str, now: int) -> TokenRecord:
        """Shut a token for ever; doing it twice changes nothing.

        Raises:
            AbsentError: there is none with this id.
        """
        record = self._records.get(token_id)
        if record is None:
            raise unknown(token_id)
        if record.revoked is None:
            record = msgspec.structs.replace(record, revoked=now)
            self._keep(token_id, record)
        return record

    def every(self) -> tuple[tuple[str, TokenRecord], ...]:
        """Return all tokens by id, oldest first."""
        return tuple(sorted(self._records.items(), key=lambda item: (item[1].created, item[0])))

    def any_valid(self, now: int) -> bool:
        """Tell whether somebody could come in with a token."""
        return any(record.is_valid(now) for record in list(self._records.values()))

    def check(self, text: str, now: int) -> TokenRecord:
        """Return the record that a token opens.

        Raises:
            AccessError: it opens nothing.
        """
        found = _SPELLING.fullmatch(text)
        if found is None:
            raise AccessError("this is no token: one looks like tally_<id>_<secret>")
        return check(self._records.get(found[1]), bytes.fromhex(found[2]), now)

    def stands(self, token_id: str, now: int) -> bool:
        """Tell whether a token that opened something opens it still."""
        record = self._records.get(token_id)
        return record is not None and record.is_valid(now)

    def _keep(self, token_id: str, record: TokenRecord) -> None:
        self._store.put_private([(TOKEN_PREFIX + token_id, canonical.encode(record))])
        self._records[token_id] = record
