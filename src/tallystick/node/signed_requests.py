"""HTTP requests signed by an account's own key: one ``Authorization`` header, checked without any table of users.

``Tally-Key key=<66 hex>, time=<ms>, nonce=<32 hex>, signature=<128 hex>`` over the ledger's chain_id, method, path with
query, and SHA-256 of the body (docs/spec/http.md). Pure: time is an argument. Knows nothing of HTTP libraries.
"""

from __future__ import annotations

import base64
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from tallystick.errors import AccessError, LimitError, MalformedError, SignatureError
from tallystick.primitives.canonical import encode, parse_base64
from tallystick.primitives.digests import Tag, sha256, tagged
from tallystick.primitives.keys import SigningKey, check_signature

SCHEME: Final = "Tally-Key"
SKEW_MS: Final = 60_000
REMEMBERED_MAX: Final = 100_000
EMPTY_DIGEST: Final = sha256(b"")
_FIELDS: Final = re.compile(
    r"key=(0[23][0-9a-f]{64}), ?time=(0|[1-9][0-9]{0,15}), ?nonce=([0-9a-f]{32}), ?signature=([0-9a-f]{128})"
)
_DIGEST_FIELD: Final = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, as the signature covers it; ``body`` is the SHA-256 of the body's bytes."""

    method: str
    target: str
    body: bytes = EMPTY_DIGEST


def _digest(chain_id: str, asked: Asked, time: int, nonce: str) -> bytes:
    covered = {
        "chain_id": chain_id,
        "content_digest": asked.body.hex(),
        "method": asked.method,
        "nonce": nonce,
        "path": asked.target,
        "time": time,
    }
    return tagged(Tag.REQUEST, encode(covered))


def sign_request(key: SigningKey, chain_id: str, asked: Asked, *, now: int, nonce: bytes) -> str:
    """Return the ``Authorization`` header; ``nonce`` is 16 bytes that are used once."""
    signature = key.sign(_digest(chain_id, asked, now, nonce.hex()))
    return f"{SCHEME} key={key.public.hex()}, time={now}, nonce={nonce.hex()}, signature={signature.hex()}"


def content_digest(body: bytes) -> str:
    """Return the ``Content-Digest`` header of a body (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(sha256(body)).decode()}:"


def parse_content_digest(text: str) -> bytes:
    """Return the SHA-256 that a ``Content-Digest`` header names.

    Raises:
        MalformedError: it is no such header, or names another algorithm.
    """
    found = _DIGEST_FIELD.fullmatch(text.strip())
    if found is None:
        raise MalformedError("Content-Digest", "write sha-256=:<base64>: and nothing else")
    return parse_base64(found[1], "Content-Digest")


class Gatekeeper:
    """Checks signed requests of one ledger and remembers their nonces for as long as they could be replayed.

    A request from before the start is refused: its nonce may have been used in the life before.
    """

    def __init__(self, chain_id: str, started: int) -> None:
        """Begin at ``started``, UTC milliseconds."""
        self._chain_id, self._started = chain_id, started
        self._seen: OrderedDict[str, int] = OrderedDict()

    def check(self, credentials: str, asked: Asked, now: int) -> bytes:
        """Return the compressed key of whoever signed this request.

        Raises:
            AccessError: the header does not parse, its time is not now, the signature is another's, or it was used.
            LimitError: too many signed requests came within two minutes.
        """
        found = _FIELDS.fullmatch(credentials)
        if found is None:
            raise AccessError(f"{SCHEME} needs key=, time=, nonce= and signature=, in this order")
        public, time, nonce = bytes.fromhex(found[1]), int(found[2]), found[3]
        if abs(now - time) > SKEW_MS:
            raise AccessError(f"the request was signed at {time}, it is {now} here: set the clock and sign again")
        if time < self._started:
            raise AccessError("the request was signed before this node started: sign it again")
        try:
            check_signature(public, _digest(self._chain_id, asked, time, nonce), bytes.fromhex(found[4]))
        except (SignatureError, MalformedError) as error:
            raise AccessError("the signature is not this key's over this request and this ledger") from error
        self._remember(f"{found[1]}/{nonce}", time + SKEW_MS, now)
        return public

    def _remember(self, name: str, until: int, now: int) -> None:
        """Take a nonce, once; those that no clock could replay any more are forgotten, oldest first."""
        while self._seen and next(iter(self._seen.values())) < now:
            self._seen.popitem(last=False)
        if name in self._seen:
            raise AccessError("this request was made before: every request needs a nonce of its own")
        if len(self._seen) >= REMEMBERED_MAX:
            raise LimitError("too many signed requests within two minutes: try again later")
        self._seen[name] = until
