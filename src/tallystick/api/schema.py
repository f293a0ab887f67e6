"""The OpenAPI document: what the framework reads off the handlers, completed from the table of scopes.

Every operation names the credentials that it wants and every problem that it may answer with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec
from litestar import Litestar, Response, get
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from tallystick import __version__
from tallystick.api.guard import TABLE
from tallystick.api.problems import MEDIA_TYPE, Problem

TITLE: Final = "Tallystick node"
DESCRIPTION: Final = (
    "Runs GPU jobs on machines you do not trust, pays only for work that verifies, and keeps a receipt of every step. "
    "Amounts are wei in decimal strings; times are RFC 3339 outside entries; errors are problem details (RFC 9457)."
)
OF_ALL: Final = (400, 401, 403, 404, 429, 503)
OF_PARAMETERS: Final = (422,)
OF_BODIES: Final = (408, 413, 422)
METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
SCHEMES: Final[dict[str, Any]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "tally_<id>_<secret>",
        "description": "A token of `tally token create`.",
    },
    "signed": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Tally-Key key=…, time=…, nonce=…, signature=…`: signed by an account's own key.",
    },
}


def document(routes: Sequence[ControllerRouterHandler]) -> dict[str, Any]:
    """Return the OpenAPI document of these routes."""
    config = OpenAPIConfig(
        title=TITLE, version=__version__, description=DESCRIPTION, use_handler_docstrings=True, path="/unused"
    )
    given = {"house": Provide(_no_house, sync_to_thread=False), "caller": Provide(_no_caller, sync_to_thread=False)}
    read: dict[str, Any] = Litestar(list(routes), openapi_config=config, dependencies=given).openapi_schema.to_schema()
    components = read.setdefault("components", {})
    components["securitySchemes"] = SCHEMES
    schemas, problem = _problem_schema()
    components.setdefault("schemas", {}).update(schemas)
    for path, item in read["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict) and "responses" in operation:
                _complete(path, method.upper(), operation, problem)
    return read


def _no_house() -> None:
    """Stand for the house: the document needs its name only."""


def _no_caller() -> None:
    """Stand for the caller: the framework wants another function for every name."""


def _problem_schema() -> tuple[dict[str, Any], dict[str, Any]]:
    (reference,), schemas = msgspec.json.schema_components([Problem], ref_template="#/components/schemas/{name}")
    return schemas, reference


def _complete(path: str, method: str, operation: dict[str, Any], problem: dict[str, Any]) -> None:
    rule = TABLE[method, path]
    operation["security"] = [] if rule.public else [{"bearer": []}, {"signed": []}]
    scopes = "anybody" if rule.public else ", ".join(sorted(rule.scopes))
    said = str(operation.get("description", ""))
    operation["summary"] = re.split(r"[.:;](?:\s|$)", said, maxsplit=1)[0]
    operation["description"] = f"{said}\n\nScopes: {scopes}."
    answers = set(OF_ALL)
    answers |= set(OF_PARAMETERS) if operation.get("parameters") else set()
    answers |= set(OF_BODIES) if method in METHODS_WITH_BODY else set()
    for status in sorted(answers):
        operation["responses"][str(status)] = _answer(status, problem)
    for status, given in operation["responses"].items():
        if int(status) >= HTTPStatus.BAD_REQUEST:
            operation["responses"][status] = _answer(int(status), problem, given.get("description"))


def _answer(status: int, problem: dict[str, Any], description: str | None = None) -> dict[str, Any]:
    return {
        "description": description or HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": problem}},
    }


def schema_routes(write: Callable[[], dict[str, Any]]) -> list[ControllerRouterHandler]:
    """Return the routes that hand out the document; it is written when somebody asks first."""
    kept: list[bytes] = []

    @get(["/schema", "/schema/openapi.json"], media_type="application/json", tags=["health"], sync_to_thread=False)
    def schema() -> Response[dict[str, Any]]:
        """Return the OpenAPI document."""
        if not kept:
            kept.append(msgspec.json.encode(write(), order="sorted"))
        return Response(cast("dict[str, Any]", kept[0]), media_type="application/json")

    return [schema]
