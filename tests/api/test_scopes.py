"""Who may ask for what, over every route and every scope, on a real node."""

from __future__ import annotations

import re

import pytest
from litestar import Litestar, asgi, get
from litestar.types import Receive, Send
from litestar.types import Scope as Scope_

from tallystick.api.application import routes_of
from tallystick.api.guard import ANYBODY, OPERATOR, PUBLIC, SOCKET, TABLE, Rule, admit, check_routes
from tallystick.api.guard import Caller as Asking
from tallystick.errors import AccessError, AuthorityError, UsageError
from tallystick.node.tokens import Scope
from tests.api.askers import Guarded

PLACES = {"digest": "0" * 64, "upload_id": "0" * 32, "token_id": "0" * 12, "ticket": "0" * 48, "kind": "output"}
HTTP = [route for route in TABLE if route[0] != SOCKET]
REFUSED = {401, 403}


def filled(template: str) -> str:
    """A path that the template matches, naming nothing that is there."""
    return re.sub(r"\{(\w+)\}", lambda found: PLACES.get(found[1], "none"), template)


def asked(guarded: Guarded, route: tuple[str, str], headers: dict[str, str]) -> int:
    method, template = route
    with guarded.http.stream(method, filled(template), headers=headers) as answer:
        return answer.status_code


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("route", HTTP, ids=" ".join)
def test_a_token_does_the_work_of_its_scopes_and_no_other(
    guarded: Guarded, route: tuple[str, str], scope: Scope
) -> None:
    rule = TABLE[route]
    status = asked(guarded, route, guarded.bearer(scope))
    assert status != 401
    assert (status != 403) == (rule.public or scope in rule.scopes)
    assert status < 500


@pytest.mark.parametrize("route", HTTP, ids=" ".join)
def test_what_is_not_public_wants_credentials(guarded: Guarded, route: tuple[str, str]) -> None:
    status = asked(guarded, route, {})
    assert (status == 401) == (not TABLE[route].public)


@pytest.mark.parametrize("route", [each for each in HTTP if not TABLE[each].ticket], ids=" ".join)
def test_wrong_credentials_are_refused_everywhere(guarded: Guarded, route: tuple[str, str]) -> None:
    assert asked(guarded, route, {"authorization": f"Bearer tally_{'0' * 12}_{'0' * 64}"}) == 401


def test_every_row_of_the_table_is_a_route(guarded: Guarded) -> None:
    document = guarded.http.get("/schema").json()
    shown = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert shown == set(HTTP)


def test_every_operation_says_which_credentials_it_wants(guarded: Guarded) -> None:
    document = guarded.http.get("/schema").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "signed"}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            public = TABLE[method.upper(), path].public
            assert operation["security"] == ([] if public else [{"bearer": []}, {"signed": []}])


def test_a_route_without_a_row_keeps_the_application_from_starting() -> None:
    @get("/api/v1/forgotten")
    async def forgotten() -> None:
        """Nobody thought about who may call this."""

    check_routes(routes_of(Litestar([], openapi_config=None)))
    with pytest.raises(UsageError, match=r"GET.*/api/v1/forgotten"):
        check_routes(routes_of(Litestar([forgotten], openapi_config=None)))


def test_a_mounted_application_has_no_row_either() -> None:
    """An ASGI application below a path would escape the table whole."""
    mounted = Litestar([asgi("/mounted", is_mount=True, copy_scope=True)(_anything)], openapi_config=None)
    with pytest.raises(UsageError, match="mounted"):
        check_routes(routes_of(mounted))


async def _anything(scope: Scope_, receive: Receive, send: Send) -> None:
    """Answer nothing."""


def test_an_operator_may_do_everything_and_nobody_does_an_operators_work() -> None:
    for rule in TABLE.values():
        assert rule.public or Scope.OPERATOR in rule.scopes
    assert OPERATOR.scopes == {Scope.OPERATOR}


@pytest.mark.parametrize("scopes", [frozenset(), frozenset({Scope.REPORTER}), frozenset({Scope.PROVIDER})])
def test_a_rule_admits_by_its_scopes(scopes: frozenset[Scope]) -> None:
    caller = Asking("alice", scopes, "token")
    admit(PUBLIC, None)
    with pytest.raises(AccessError):
        admit(ANYBODY, None)
    rule = Rule(frozenset({Scope.REPORTER}))
    if Scope.REPORTER in scopes:
        admit(rule, caller)
    else:
        with pytest.raises(AuthorityError):
            admit(rule, caller)
