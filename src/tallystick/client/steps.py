"""What is asked of a node and what comes back, as data; a call is a script of such steps that any driver can perform.

A script is a generator: it yields a step, and is sent the answer or thrown the failure. So the same script serves the
client that waits and the one that awaits, and every retry can be tested without a socket. Knows HTTP's words; refuses
to know sockets, clocks and httpx.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

from tallystick.errors import NodeError, UnreachableError
from tallystick.primitives.digests import sha256

T = TypeVar("T")

JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"
ANSWER_BYTES_MAX: Final = 4 << 20
PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 2.5)
"""Seconds between the tries of a call that may be made twice; a driver adds its jitter."""
RETRY_AFTER_MAX: Final = 30
LATER: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Answers that mean: not now."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``repeatable`` when it may be made twice and do its work once."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    repeatable: bool = True
    public: bool = False
    answer_bytes_max: int = ANSWER_BYTES_MAX

    def with_header(self, name: str, value: str) -> Request:
        """Return the same request with one more header."""
        return replace(self, headers={**self.headers, name: value})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are lowercase."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def fits(self) -> bool:
        """Whether it is what was asked for."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


class Sink(Protocol):
    """Takes the body of an answer as it comes."""

    def begin(self, answer: Answer) -> None:
        """Look at status and headers; raises what ends the transfer."""
        ...

    def write(self, data: bytes) -> None:
        """Take the next bytes; raises what ends the transfer."""
        ...


@dataclass(frozen=True, slots=True)
class Receive:
    """One request whose good answer goes into a sink piece by piece."""

    request: Request
    sink: Sink


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for about so many seconds."""

    seconds: float


Step = Request | Receive | Pause
Script = Generator[Step, Answer | None, T]
"""A call: yields steps, returns its result."""


def ask(step: Request | Receive) -> Script[Answer]:
    """Make one call, again and again with pauses where that is safe and may help.

    Raises:
        UnreachableError: no answer came, every time.
        NodeError: the driver was asked for an answer and gave none.
    """
    request = step.request if isinstance(step, Receive) else step
    for pause in (*PAUSES, None):
        last = pause is None or not request.repeatable
        wait = pause or 0.0
        try:
            answer = yield step
        except UnreachableError:
            if last:
                raise
        else:
            if answer is None:
                raise NodeError(f"{request.method} {request.path} was left without an answer")
            if last or answer.status not in LATER:
                return answer
            wait = max(wait, retry_after(answer))
        yield Pause(wait)
    raise NodeError(f"{request.method} {request.path} was never made")


def retry_after(answer: Answer) -> float:
    """Return how many seconds a node wants to be left alone, within reason."""
    text = answer.headers.get("retry-after", "")
    return float(min(int(text), RETRY_AFTER_MAX)) if re.fullmatch(r"[0-9]{1,6}", text) else 0.0


def content_range(answer: Answer) -> tuple[int, int] | None:
    """Return where a partial answer begins and how many bytes the whole has; None where it does not say."""
    found = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})", answer.headers.get("content-range", ""))
    return None if found is None else (int(found[1]), int(found[2]))


def body_digest(request: Request) -> bytes:
    """Return the SHA-256 of a request's body."""
    return sha256(request.body)
