"""The outermost layer: a name for every request, headers for every answer, one log line, one measurement.

Stands around the framework, so that its own 404 and 405 are treated like everything else.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import msgspec

from tallystick.api import problems
from tallystick.api.callers import check_browser, header
from tallystick.api.guard import SOCKET
from tallystick.api.lines import GOING_AWAY, Lines
from tallystick.api.logs import Journal, Served
from tallystick.api.meters import Meters
from tallystick.errors import ClosingError, TallyError

Scope = MutableMapping[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

START: Final = "http.response.start"
BODY: Final = "http.response.body"
ACCEPT: Final = "websocket.accept"
UNROUTED: Final = "(none)"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUEST_ID: Final = b"x-request-id"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"server", b"tallystick"),
)
"""What an answer has unless its handler said otherwise."""


@dataclass(slots=True)
class _Answer:
    """What became of one request so far."""

    send: Send
    request_id: str
    status: int = 0
    size: int = 0
    began: float = field(default_factory=time.perf_counter)

    async def __call__(self, message: Message) -> None:
        """Pass a message on; the first one gets what every answer has."""
        if message["type"] == START:
            self.status = message["status"]
            given = list(message.get("headers", ()))
            names = {bytes(name).lower() for name, _ in given}
            given += [pair for pair in HEADERS if pair[0] not in names]
            given.append((REQUEST_ID, self.request_id.encode()))
            message = {**message, "headers": given}
        elif message["type"] == BODY:
            self.size += len(message.get("body", b""))
        elif message["type"] == ACCEPT:
            self.status = HTTPStatus.SWITCHING_PROTOCOLS
        await self.send(message)


@dataclass(frozen=True, slots=True)
class Edge:
    """Wraps an ASGI application; ``is_open`` says that callers without credentials are let in from this machine."""

    application: Application
    journal: Journal
    meters: Meters
    lines: Lines
    secrets: tuple[str, ...]
    is_open: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        scope["state"] = {**scope.get("state", {}), "request_id": _name(scope)}
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._connect(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send, scope["state"]["request_id"])
        try:
            self._check(scope)
            await self.application(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - the last stop: whatever it is becomes an answer, told without its inside
            await self._refuse(answer, error)
        finally:
            self._note(scope, answer)

    def _check(self, scope: Scope) -> None:
        if self.lines.closing:
            raise ClosingError("the node stops")
        if self.is_open:
            check_browser(scope)

    async def _refuse(self, answer: _Answer, error: Exception) -> None:
        status, _ = problems.classify(error)
        if not isinstance(error, TallyError):
            self.journal.failure(answer.request_id, error)
        if answer.status:
            raise error
        problem = msgspec.json.encode(problems.describe(error, answer.request_id, self.secrets))
        extra = [(name.encode(), value.encode()) for name, value in problems.headers_of(error).items()]
        fixed = [(b"content-type", problems.MEDIA_TYPE.encode()), (b"content-length", str(len(problem)).encode())]
        await answer({"type": START, "status": status, "headers": fixed + extra})
        await answer({"type": BODY, "body": problem, "more_body": False})

    def _note(self, scope: Scope, answer: _Answer) -> None:
        seconds = time.perf_counter() - answer.began
        method = scope["method"] if scope["method"] in METHODS else "(other)"
        route = str(scope.get("path_template") or UNROUTED)
        self.meters.served(method, route, answer.status, seconds)
        self.journal.served(_served(scope, answer, method, route, seconds))

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket; one that may not come in is refused before it is accepted."""
        answer = _Answer(send, scope["state"]["request_id"])
        try:
            self._check(scope)
        except TallyError:
            await receive()
            await send({"type": "websocket.close", "code": GOING_AWAY, "reason": ""})
            return
        try:
            await self.application(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - answer.began
            route = str(scope.get("path_template") or UNROUTED)
            self.journal.served(_served(scope, answer, SOCKET, route, seconds))


def _name(scope: Scope) -> str:
    """Return the caller's name for its request where it is a modest one, else a new one."""
    try:
        given = header(scope, REQUEST_ID)
    except TallyError:
        given = None
    return given if given is not None and _NAME.fullmatch(given) else secrets.token_hex(8)


def _served(scope: Scope, answer: _Answer, method: str, route: str, seconds: float) -> Served:
    caller, intake = scope["state"].get("caller"), scope["state"].get("intake")
    return Served(
        request_id=answer.request_id,
        account="" if caller is None else caller.account,
        method=method,
        route=route,
        status=answer.status,
        ms=round(seconds * 1000, 3),
        bytes_in=0 if intake is None else intake.size,
        bytes_out=answer.size,
    )
