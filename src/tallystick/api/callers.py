"""Who asks: a token, a signed request, or, where the loopback is open, whoever works at this machine.

Knows the ``Authorization`` header, and the rules that keep a browser's other pages from an open loopback.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from tallystick.api.guard import Caller
from tallystick.errors import AccessError, AuthorityError
from tallystick.node.identity import HOME_ACCOUNT
from tallystick.node.signed_requests import EMPTY_DIGEST, SCHEME, Asked, Gatekeeper, parse_content_digest
from tallystick.node.tokens import Scope, Tokens, id_of
from tallystick.primitives.keys import address_of

BEARER: Final = "bearer"
OF_A_KEY: Final = frozenset({Scope.REPORTER, Scope.REQUESTER, Scope.PROVIDER})
OPEN: Final = Caller(HOME_ACCOUNT, frozenset({Scope.OPERATOR}), "open loopback")
FORWARDED: Final = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")
"""Headers by which a proxy says that somebody else asks."""
ConnectionScope = Mapping[str, Any]


def header(scope: ConnectionScope, name: bytes) -> str | None:
    """Return a header of a connection, None when it has none.

    Raises:
        AccessError: it stands there twice, so that two readers could differ about it.
    """
    found = [value for each, value in scope["headers"] if each.lower() == name]
    if len(found) > 1:
        raise AccessError(f"the header {name.decode()} stands there more than once")
    return bytes(found[0]).decode("latin-1") if found else None


def is_loopback(authority: str) -> bool:
    """Tell whether a Host header, or the authority of an origin, names this machine."""
    try:
        name = urlsplit(f"//{authority}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def check_browser(scope: ConnectionScope) -> None:
    """Keep a browser's other pages from an open loopback, by Host (DNS rebinding) and Origin, and proxies as well.

    Raises:
        AuthorityError: the request came by another name, from another site, or for somebody else.
    """
    host, origin = header(scope, b"host") or "", header(scope, b"origin")
    if not is_loopback(host):
        raise AuthorityError(
            "an open node answers to 127.0.0.1, [::1] and localhost only: start it with --require-auth"
        )
    if origin is not None and urlsplit(origin).netloc != host:
        raise AuthorityError("a page of another site may not ask an open node: start it with --require-auth")
    if any(each.lower() in FORWARDED for each, _ in scope["headers"]):
        raise AuthorityError("an open node does whatever this machine asks, and a proxy asks: use --require-auth")


def target_of(scope: ConnectionScope) -> str:
    """Return path and query as they stood in the request line."""
    path = bytes(scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
    query = bytes(scope.get("query_string", b"")).decode("latin-1")
    return f"{path}?{query}" if query else path


@dataclass(frozen=True, slots=True)
class Door:
    """Recognises callers; ``own`` are the compressed keys of the home, in hex, which may do everything."""

    tokens: Tokens
    gatekeeper: Gatekeeper
    own: frozenset[str]
    is_open: bool

    def recognise(self, scope: ConnectionScope, now: int) -> Caller | None:
        """Return who asks, None when nobody says so and the loopback is not open.

        Raises:
            AccessError: there are credentials, and they do not hold.
        """
        credentials = header(scope, b"authorization")
        if credentials is None:
            return OPEN if self.is_open else None
        scheme, _, rest = credentials.strip().partition(" ")
        if scheme.lower() == BEARER:
            record = self.tokens.check(rest.strip(), now)
            return Caller(record.account, frozenset(record.scopes), "token", token=id_of(rest.strip()))
        if scheme.lower() == SCHEME.lower():
            return self._of_key(scope, rest.strip(), now)
        raise AccessError(f"Authorization is neither Bearer nor {SCHEME}")

    def _of_key(self, scope: ConnectionScope, credentials: str, now: int) -> Caller:
        asked = Asked(scope.get("method", "GET"), target_of(scope), body_digest(scope) or EMPTY_DIGEST)
        public = self.gatekeeper.check(credentials, asked, now)
        if public.hex() in self.own:
            return Caller(HOME_ACCOUNT, frozenset({Scope.OPERATOR}), "home key")
        return Caller(address_of(public), OF_A_KEY, "key", public.hex())


def is_signed(scope: ConnectionScope) -> bool:
    """Tell whether a request claims to be signed."""
    return (header(scope, b"authorization") or "").lower().startswith(f"{SCHEME.lower()} ")


def body_digest(scope: ConnectionScope) -> bytes | None:
    """Return the SHA-256 that a request's body must have, None when it names none.

    Raises:
        MalformedError: the header does not parse.
    """
    text = header(scope, b"content-digest")
    return None if text is None else parse_content_digest(text)
