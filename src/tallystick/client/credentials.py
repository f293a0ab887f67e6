"""Who asks: nobody in particular, a token, or an account's own key, which signs every request anew.

Knows the ``Authorization`` header. Refuses to know where secrets are kept, what time it is, and randomness.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from tallystick.client.steps import Request, body_digest
from tallystick.errors import UsageError
from tallystick.node.signed_requests import EMPTY_DIGEST, Asked, content_digest, sign_request
from tallystick.primitives.keys import SigningKey

_TOKEN: Final = re.compile(r"[!-~]{1,500}")


class Credentials(Protocol):
    """How requests say who makes them."""

    @property
    def signs(self) -> bool:
        """Whether it must know the ledger before it can speak."""
        ...

    def headers(self, request: Request, chain_id: str, now: int, nonce: bytes) -> Mapping[str, str]:
        """Return the headers for one request at UTC milliseconds; ``nonce`` are 16 bytes that are used once."""
        ...


@dataclass(frozen=True, slots=True)
class Nobody:
    """No credentials: an open loopback, or public things only."""

    signs: bool = False

    def headers(self, request: Request, chain_id: str, now: int, nonce: bytes) -> Mapping[str, str]:
        """Return nothing."""
        _ = (request, chain_id, now, nonce)
        return {}


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token."""

    text: str = field(repr=False)
    signs: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a header."""
        if _TOKEN.fullmatch(self.text) is None:
            raise UsageError("the token is no token: it has blanks or letters outside ASCII")

    def headers(self, request: Request, chain_id: str, now: int, nonce: bytes) -> Mapping[str, str]:
        """Return the token."""
        _ = (request, chain_id, now, nonce)
        return {"authorization": f"Bearer {self.text}"}


@dataclass(frozen=True, slots=True)
class OwnKey:
    """An account's key."""

    key: SigningKey = field(repr=False)
    signs: bool = True

    def headers(self, request: Request, chain_id: str, now: int, nonce: bytes) -> Mapping[str, str]:
        """Return the signature over this one request, and the digest of its body."""
        asked = Asked(request.method, request.path, body_digest(request) if request.body else EMPTY_DIGEST)
        named = {"content-digest": content_digest(request.body)} if request.body else {}
        return {"authorization": sign_request(self.key, chain_id, asked, now=now, nonce=nonce), **named}
