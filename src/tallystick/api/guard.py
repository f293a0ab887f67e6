"""Who may ask for what: one table over every route. An application with a route that is not in it refuses to start.

Knows routes by method and template, scopes, and which bodies are streams. Refuses to know how a caller proves itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tallystick.errors import AccessError, AuthorityError, UsageError
from tallystick.node.tokens import Scope

SOCKET: Final = "WS"
"""The method of a WebSocket in the table."""
Route = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """Scopes of which a caller needs one, none at all for a public route; a streamed body has bounds of its own.

    ``ticket``: the path itself carries an unguessable right, which the handler checks.
    """

    scopes: frozenset[Scope] = frozenset()
    public: bool = False
    ticket: bool = False
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the account, its scopes, and the key or token by which it is known.

    ``key`` is the caller's own, in hex, empty where this home holds the account's key; ``token`` is the id of one.
    """

    account: str
    scopes: frozenset[Scope]
    by: str
    key: str = ""
    token: str = ""

    @property
    def operates(self) -> bool:
        """Whether it may do everything."""
        return Scope.OPERATOR in self.scopes

    @property
    def buys(self) -> bool:
        """Whether its account's orders, files and blobs are its business: what a route open to everybody must ask."""
        return bool(self.scopes & {Scope.REQUESTER, Scope.OPERATOR})

    def owns(self, account: str) -> bool:
        """Tell whether something of an account is this caller's business."""
        return self.operates or account == self.account


def _rule(*scopes: Scope, streamed: bool = False) -> Rule:
    return Rule(frozenset(scopes) | {Scope.OPERATOR}, streamed=streamed)


PUBLIC: Final = Rule(public=True)
TICKET: Final = Rule(public=True, ticket=True)
TICKET_STREAM: Final = Rule(public=True, ticket=True, streamed=True)
OPERATOR: Final = _rule()
REPORTER: Final = _rule(Scope.REPORTER)
REQUESTER: Final = _rule(Scope.REQUESTER)
REQUESTER_STREAM: Final = _rule(Scope.REQUESTER, streamed=True)
PROVIDER: Final = _rule(Scope.PROVIDER)
WATCHER: Final = _rule(Scope.REPORTER, Scope.REQUESTER)
ANYBODY: Final = _rule(Scope.REPORTER, Scope.REQUESTER, Scope.PROVIDER)

TABLE: Final[Mapping[Route, Rule]] = MappingProxyType(
    {
        ("GET", "/health"): PUBLIC,
        ("GET", "/api/health"): PUBLIC,
        ("GET", "/livez"): PUBLIC,
        ("GET", "/readyz"): PUBLIC,
        ("GET", "/metrics"): REPORTER,
        ("GET", "/schema"): PUBLIC,
        ("GET", "/schema/openapi.json"): PUBLIC,
        ("GET", "/api/v1/node"): PUBLIC,
        ("GET", "/api/v1/trust"): PUBLIC,
        ("POST", "/api/v1/quotes"): REQUESTER,
        ("POST", "/api/v1/uploads"): REQUESTER,
        ("HEAD", "/api/v1/uploads/{upload_id}"): REQUESTER,
        ("GET", "/api/v1/uploads/{upload_id}"): REQUESTER,
        ("PATCH", "/api/v1/uploads/{upload_id}"): REQUESTER_STREAM,
        ("DELETE", "/api/v1/uploads/{upload_id}"): REQUESTER,
        ("POST", "/api/v1/jobs"): REQUESTER,
        ("GET", "/api/v1/jobs"): REQUESTER,
        ("GET", "/api/v1/jobs/{job_id}"): REQUESTER,
        ("POST", "/api/v1/jobs/{job_id}/cancel"): REQUESTER,
        ("GET", "/api/v1/jobs/{job_id}/offer"): REQUESTER,
        ("POST", "/api/v1/jobs/{job_id}/order"): REQUESTER,
        ("POST", "/api/v1/jobs/{job_id}/secret"): REQUESTER,
        ("GET", "/api/v1/jobs/{job_id}/entries"): REQUESTER,
        ("GET", "/api/v1/jobs/{job_id}/files/{kind}"): REQUESTER,
        ("HEAD", "/api/v1/jobs/{job_id}/files/{kind}"): REQUESTER,
        ("GET", "/api/v1/jobs/{job_id}/files/{kind}/cid"): REQUESTER,
        ("GET", "/api/v1/accounts/{address}"): PUBLIC,
        ("POST", "/api/v1/transactions"): ANYBODY,
        ("POST", "/api/v1/faucet"): PROVIDER,
        ("GET", "/api/v1/workers"): ANYBODY,
        ("GET", "/api/v1/events"): WATCHER,
        ("HEAD", "/api/v1/blobs/{digest}"): REQUESTER,
        ("GET", "/api/v1/blobs/{digest}"): REQUESTER,
        ("PUT", "/api/v1/blobs/{digest}"): REQUESTER_STREAM,
        ("GET", "/api/v1/assignments/{ticket}/input"): TICKET,
        ("HEAD", "/api/v1/assignments/{ticket}/output"): TICKET,
        ("GET", "/api/v1/assignments/{ticket}/output"): TICKET,
        ("PATCH", "/api/v1/assignments/{ticket}/output"): TICKET_STREAM,
        ("POST", "/api/v1/tokens"): OPERATOR,
        ("GET", "/api/v1/tokens"): OPERATOR,
        ("DELETE", "/api/v1/tokens/{token_id}"): OPERATOR,
        ("POST", "/api/v1/anchors"): OPERATOR,
        ("GET", "/api/v1/anchors"): OPERATOR,
        ("PUT", "/api/v1/anchors/policy"): OPERATOR,
        ("PUT", "/api/v1/anchors/target"): OPERATOR,
        (SOCKET, "/worker"): PUBLIC,
        # The log to the world: api/log_routes.py and api/ipfs_routes.py.
        ("GET", "/log/{path}"): PUBLIC,
        ("HEAD", "/log/{path}"): PUBLIC,
        ("GET", "/api/v1/log"): PUBLIC,
        ("GET", "/api/v1/log/consistency"): PUBLIC,
        ("GET", "/api/v1/receipts/{name}"): PUBLIC,
        ("GET", "/api/v1/receipts/{name}/proof"): PUBLIC,
        ("GET", "/ipfs/{cid}"): PUBLIC,
        ("HEAD", "/ipfs/{cid}"): PUBLIC,
    }
)


def check_routes(mounted: Iterable[Route]) -> None:
    """Refuse an application with a route whose callers nobody thought about.

    Raises:
        UsageError: a route has no row; it names all of them.
    """
    unknown = sorted(route for route in mounted if route not in TABLE)
    if unknown:
        raise UsageError(f"routes without a row in the table of scopes: {unknown}")


def admit(rule: Rule, caller: Caller | None) -> None:
    """Let a caller pass a route's rule.

    Raises:
        AccessError: nobody in particular asks for what is not public.
        AuthorityError: none of the caller's scopes may ask for this.
    """
    if rule.public:
        return
    if caller is None:
        raise AccessError("this needs credentials: Authorization: Bearer TOKEN, or a signed request")
    if not caller.scopes & rule.scopes:
        needed = ", ".join(sorted(rule.scopes))
        raise AuthorityError(f"this needs one of the scopes {needed}; these credentials have {_spell(caller)}")


def _spell(caller: Caller) -> str:
    return ", ".join(sorted(caller.scopes)) or "none"
