"""`tally token`: made, listed and shut in the home itself, or through the node that runs in it, by the home's own key.

A secret is printed once and kept nowhere.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from tallystick.cli.exits import DONE, say
from tallystick.cli.home import home_path, load_master, open_home
from tallystick.cli.node_file import running
from tallystick.cli.screen import Screen
from tallystick.cli.words import command
from tallystick.errors import UsageError

if TYPE_CHECKING:
    from tallystick.client.answers import TokenInfo
    from tallystick.client.connected import Client
    from tallystick.node.tokens import Scope, Tokens

_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([dhm])")
_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000}


class Drawer(Protocol):
    """Where tokens are kept: the home's store, or its running node."""

    def create(self, scopes: tuple[Scope, ...], account: str, expires: int | None) -> tuple[str, str]:
        """Return the new token's id and its spelling."""
        ...

    def every(self) -> list[TokenInfo]:
        """Return all tokens, oldest first."""
        ...

    def revoke(self, token_id: str) -> TokenInfo:
        """Shut one."""
        ...


def create_token(scope: str, account: str, expires: str | None, *, as_json: bool) -> int:
    """Make a token and print it."""
    from tallystick.node.tokens import check_account

    scopes, span = read_scopes(scope), None if expires is None else read_span(expires)
    check_account(account)
    with _drawer() as drawer:
        token_id, token = drawer.create(scopes, account, None if span is None else _now() + span)
    screen = Screen(as_json=as_json)
    screen.result({"id": token_id, "token": token, "scopes": list(scopes), "account": account})
    if not as_json:
        screen.line(token)
        say(f"this is shown once; `{command('token', 'revoke', token_id)}` shuts it")
    return DONE


def list_tokens(*, as_json: bool) -> int:
    """Print all tokens."""
    with _drawer() as drawer:
        found = drawer.every()
    screen = Screen(as_json=as_json)
    screen.result({"tokens": [_as_json(each) for each in found]})
    if not as_json:
        if not found:
            screen.line(f"No tokens: `{command('token', 'create', '--scope', 'requester')}` makes one")
            return DONE
        rows = [[each.id, ",".join(each.scopes), each.account, each.expires or "never", _state(each)] for each in found]
        screen.table(("ID", "SCOPES", "ACCOUNT", "EXPIRES", "STATE"), rows)
    return DONE


def revoke_token(token_id: str, *, as_json: bool) -> int:
    """Shut a token."""
    from tallystick.node.tokens import check_id

    check_id(token_id)
    with _drawer() as drawer:
        shut = drawer.revoke(token_id)
    Screen(as_json=as_json).result(_as_json(shut))
    say(f"token {token_id} is shut")
    return DONE


def read_scopes(text: str) -> tuple[Scope, ...]:
    """Read ``requester,provider``.

    Raises:
        UsageError: a name is no scope.
    """
    from tallystick.node.tokens import Scope

    known = {scope.value: scope for scope in Scope}
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--scope {unknown[0]!r} is unknown: write {', '.join(known)}, comma between")
    return tuple(sorted({known[name] for name in names}))


def read_span(text: str) -> int:
    """Read ``30d``, ``12h`` or ``45m`` as milliseconds.

    Raises:
        UsageError: it is none of these.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise UsageError(f"--expires {text!r} is no span of time: write 30d, 12h or 45m")
    return int(found[1]) * _UNITS_MS[found[2]]


@contextmanager
def _drawer() -> Iterator[Drawer]:
    """Open the home, or speak to the node that has it open."""
    from tallystick.node.tokens import Tokens

    path = home_path()
    standing = running(path)
    if standing is None:
        with open_home(path) as home:
            yield InHome(Tokens(home.store))
        return
    from tallystick.client.connected import Client
    from tallystick.node.identity import Identity

    key = Identity(load_master(path)[0]).coordinator()
    with Client(standing.url, key=key, verify=standing.certificate) as client:
        yield AtNode(client)


class InHome:
    """Tokens of a home that nobody serves at the moment."""

    def __init__(self, tokens: Tokens) -> None:
        """Work on a store."""
        self._tokens = tokens

    def create(self, scopes: tuple[Scope, ...], account: str, expires: int | None) -> tuple[str, str]:
        """Return the new token's id and its spelling."""
        from tallystick.node.tokens import ID_BYTES, SECRET_BYTES

        entropy = secrets.token_bytes(ID_BYTES + SECRET_BYTES)
        return entropy[:ID_BYTES].hex(), self._tokens.create(entropy, scopes, account, _now(), expires)

    def every(self) -> list[TokenInfo]:
        """Return all tokens, oldest first."""
        from tallystick.api.token_routes import view

        return [_info(view(token_id, record, _now())) for token_id, record in self._tokens.every()]

    def revoke(self, token_id: str) -> TokenInfo:
        """Shut one."""
        from tallystick.api.token_routes import view

        return _info(view(token_id, self._tokens.revoke(token_id, _now()), _now()))


class AtNode:
    """Tokens of a home that a node serves."""

    def __init__(self, client: Client) -> None:
        """Ask a node."""
        self._client = client

    def create(self, scopes: tuple[Scope, ...], account: str, expires: int | None) -> tuple[str, str]:
        """Return the new token's id and its spelling."""
        from tallystick.api.times import rfc3339

        until = None if expires is None else rfc3339(expires)
        made = self._client.make_token({"scopes": list(scopes), "account": account, "expires": until})
        return made.id, made.token

    def every(self) -> list[TokenInfo]:
        """Return all tokens, oldest first."""
        return list(self._client.tokens())

    def revoke(self, token_id: str) -> TokenInfo:
        """Shut one."""
        return self._client.revoke_token(token_id)


def _info(found: object) -> TokenInfo:
    import msgspec

    from tallystick.client.answers import TokenInfo

    return msgspec.convert(found, TokenInfo, from_attributes=True)


def _as_json(token: TokenInfo) -> Any:  # noqa: ANN401 - a JSON document
    import msgspec

    return msgspec.to_builtins(token)


def _state(token: TokenInfo) -> str:
    if token.valid:
        return "valid"
    return "revoked" if token.revoked else "expired"


def _now() -> int:
    return time.time_ns() // 1_000_000
