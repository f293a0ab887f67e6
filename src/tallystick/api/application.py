"""The application of one node: every route under one table of scopes, one shape of error, one edge.

Knows how the parts fit together. Refuses to know what any route does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, cast

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware
from litestar.routes import HTTPRoute, WebSocketRoute
from litestar.types import ControllerRouterHandler, ExceptionHandlersMap, Scope

from tallystick.api import (
    assignments,
    blobs,
    events,
    health,
    jobs,
    ledger,
    own_orders,
    token_routes,
    uploads,
    worker_socket,
)
from tallystick.api.edge import Application, Edge
from tallystick.api.gate import OPTIONS, Gate
from tallystick.api.guard import SOCKET, Caller, Route, check_routes
from tallystick.api.house import House
from tallystick.api.problems import Refusals
from tallystick.api.schema import document, schema_routes

OWN: Final[tuple[ControllerRouterHandler, ...]] = (
    *health.ROUTES,
    *ledger.ROUTES,
    *jobs.ROUTES,
    *own_orders.ROUTES,
    *uploads.ROUTES,
    *blobs.ROUTES,
    *events.ROUTES,
    *token_routes.ROUTES,
    *assignments.ROUTES,
    *worker_socket.ROUTES,
)


def application(house: House, others: Sequence[ControllerRouterHandler] = ()) -> Edge:
    """Return the ASGI application of a house; ``others`` are routes that need more than the house.

    Raises:
        UsageError: a route has no row in the table of scopes.
    """
    routes = [*OWN, *others]
    routes += schema_routes(lambda: document(routes))
    framework = build(house, routes)
    check_routes(routes_of(framework))
    return Edge(
        application=cast("Application", framework),
        journal=house.journal,
        meters=house.meters,
        lines=house.lines,
        secrets=(str(house.settings.home), str(house.settings.folder)),
        is_open=house.door.is_open,
    )


def build(house: House, routes: Sequence[ControllerRouterHandler]) -> Litestar:
    """Return the framework's application with our middleware, errors and bounds."""
    refusals = Refusals(house.journal, (str(house.settings.home), str(house.settings.folder)))
    handlers = cast("ExceptionHandlersMap", {Exception: refusals.answer, HTTPException: refusals.answer})
    return Litestar(
        list(routes),
        dependencies={
            "house": Provide(lambda: house, sync_to_thread=False),
            "caller": Provide(_caller, sync_to_thread=False),
        },
        middleware=[DefineMiddleware(Gate, house=house)],
        exception_handlers=handlers,
        openapi_config=None,
        request_max_body_size=house.settings.bounds.body_bytes,
        logging_config=None,
    )


def _caller(scope: Scope) -> Caller:
    """Return who asks; only routes that demand credentials may want to know."""
    return cast("Caller", scope["state"]["caller"])


def routes_of(framework: Litestar) -> Iterator[Route]:
    """Yield every mounted route as it stands in the table."""
    for route in framework.routes:
        if isinstance(route, HTTPRoute):
            yield from ((method, route.path_format) for method in route.methods if method != OPTIONS)
        elif isinstance(route, WebSocketRoute):
            yield SOCKET, route.path_format
        else:
            yield "ASGI", route.path_format
