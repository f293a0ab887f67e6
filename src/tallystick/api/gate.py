"""The middleware behind the router: recognises the caller, holds it to the table, bounds the body."""

from __future__ import annotations

from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from tallystick.api.callers import body_digest, is_signed
from tallystick.api.guard import SOCKET, TABLE, admit
from tallystick.api.house import House
from tallystick.api.intake import Intake
from tallystick.node.signed_requests import EMPTY_DIGEST

OPTIONS = "OPTIONS"


class Gate:
    """One per route of the application."""

    def __init__(self, app: ASGIApp, house: House) -> None:
        """Stand before ``app``."""
        self._application, self._house = app, house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or raise why not."""
        facts: dict[str, Any] = dict(scope)
        method = SOCKET if facts["type"] == "websocket" else facts["method"]
        if method == OPTIONS:
            await self._application(scope, receive, send)
            return
        house, rule = self._house, TABLE[method, facts["path_template"]]
        caller = None if rule.ticket else house.door.recognise(facts, house.now())
        admit(rule, caller)
        scope["state"]["caller"] = caller
        if method == SOCKET:
            await self._application(scope, receive, send)
            return
        digest = body_digest(facts)
        if digest is None and is_signed(facts):
            digest = EMPTY_DIGEST
        intake = Intake(receive, house.settings.bounds, house.lines, streamed=rule.streamed, digest=digest)  # type: ignore[arg-type]
        scope["state"]["intake"] = intake
        await self._application(scope, intake, send)  # type: ignore[arg-type]
