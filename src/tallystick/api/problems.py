"""Every error as problem details (RFC 9457): one table from the error tree to status codes, nothing of the inside.

Knows which errors explain themselves to strangers. Refuses to show stack, SQL, or where files lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from tallystick import errors
from tallystick.api.logs import Journal
from tallystick.primitives.cids import raw_cid

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:tallystick:problem:"
RETRY_AFTER_S: Final = "5"
BEARER: Final = 'Bearer realm="tallystick", Tally-Key realm="tallystick"'
NOT_JSON: Final = "Input data was truncated"


class FirstReceipt(msgspec.Struct, frozen=True):
    """The entry that took an event key first."""

    tx_hash: str
    nid: str


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with what was sent: where it stands, and why."""

    where: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong (RFC 9457); ``code`` is the stable name, the other members are evidence."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str = ""
    errors: tuple[Fault, ...] = ()
    first_receipt: FirstReceipt | None = None
    offset: int | None = None
    size: int | None = None
    expected: str | None = None
    actual: str | None = None


STATUSES: Final[Mapping[type[Exception], tuple[int, str]]] = MappingProxyType(
    {
        errors.TallyError: (500, "internal"),
        errors.UsageError: (400, "usage"),
        errors.PriceError: (422, "price"),
        errors.AbsentError: (404, "not-found"),
        errors.ConflictError: (409, "conflict"),
        errors.RangeError: (416, "range"),
        errors.HomeError: (503, "unavailable"),
        errors.MalformedError: (400, "malformed"),
        errors.TooLargeError: (413, "too-large"),
        errors.ImageError: (422, "image"),
        errors.AccessError: (401, "credentials"),
        errors.LimitError: (429, "limit"),
        errors.DelayError: (408, "too-slow"),
        errors.IncompleteError: (404, "incomplete"),
        errors.KeystoreError: (503, "unavailable"),
        errors.VerificationError: (422, "does-not-hold"),
        errors.RuleError: (422, "refused"),
        errors.TransitionError: (409, "transition"),
        errors.DuplicateError: (409, "duplicate"),
        errors.NonceError: (422, "nonce"),
        errors.FundsError: (422, "funds"),
        errors.StakeError: (422, "stake"),
        errors.DeadlineError: (422, "deadline"),
        errors.AuthorityError: (403, "not-allowed"),
        errors.BlockFullError: (503, "block-full"),
        errors.PolicyError: (422, "policy"),
        errors.StoreError: (503, "unavailable"),
        errors.NodeError: (502, "node"),
        errors.ClosingError: (503, "closing"),
        errors.UnmatchedError: (503, "unmatched"),
        errors.UnsignedError: (409, "unsigned"),
        errors.ChainError: (503, "chain"),
        OSError: (503, "unavailable"),
        MemoryError: (503, "unavailable"),
    }
)
"""Status and code of every error, the machine's own included; a class that is not listed has its parent's."""

QUIET: Final = "the node cannot do this now; nothing was acknowledged"
INTERNAL: Final = "a bug in this node; its log tells more under the request_id"
_EXPECTED: Final = (errors.ClosingError, errors.BlockFullError, errors.UnmatchedError)
_UNEXPLAINED: Final = (
    errors.HomeError,
    errors.KeystoreError,
    errors.StoreError,
    errors.ChainError,
    OSError,
    MemoryError,
)


def classify(error: Exception) -> tuple[int, str]:
    """Return status and code of an error; what nobody expected is 500."""
    if isinstance(error, ValidationException):
        return HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"
    if isinstance(error, HTTPException):
        return error.status_code, HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    found = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), None)
    return found or (HTTPStatus.INTERNAL_SERVER_ERROR, "internal")


def explain(error: Exception, secrets: tuple[str, ...] = ()) -> str:
    """Return what a stranger may read about an error; ``secrets`` (folders of the home) are blotted out."""
    status, _ = classify(error)
    if isinstance(error, _UNEXPLAINED):
        text = QUIET
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, _EXPECTED):
        text = INTERNAL
    elif isinstance(error, HTTPException):
        text = "the body is not JSON" if error.detail == NOT_JSON else error.detail
    else:
        text = str(error)
    for secret in secrets:
        text = text.replace(secret, "HOME")
    return text[:1000]


def describe(error: Exception, request_id: str, secrets: tuple[str, ...] = ()) -> Problem:
    """Write an error as problem details, with the evidence it carries."""
    status, code = classify(error)
    facts: dict[str, Any] = {}
    if isinstance(error, errors.DuplicateError):
        facts["first_receipt"] = FirstReceipt(error.first, raw_cid(bytes.fromhex(error.first.removeprefix("0x"))))
    elif isinstance(error, errors.ConflictError):
        facts |= {name: value for name, value in error.fact.items() if name in Problem.__struct_fields__}
    elif isinstance(error, errors.RangeError):
        facts["size"] = error.size
    elif isinstance(error, errors.VerificationError):
        facts |= {
            name: str(value)[:200] for name in ("expected", "actual") if (value := getattr(error, name)) is not None
        }
    elif isinstance(error, ValidationException):
        facts["errors"] = tuple(_faults(error))
    title = HTTPStatus(status).phrase
    return Problem(TYPE_PREFIX + code, title, status, explain(error, secrets), code, request_id, **facts)


def _faults(error: ValidationException) -> list[Fault]:
    found = []
    for each in error.extra if isinstance(error.extra, list) else []:
        source = getattr(each.get("source"), "value", each.get("source", ""))
        found.append(Fault(f"{source}.{each.get('key', '')}"[:200], str(each.get("message", ""))[:500]))
    return found


def headers_of(error: Exception) -> dict[str, str]:
    """Return the headers that an error's answer needs."""
    status, _ = classify(error)
    if status == HTTPStatus.UNAUTHORIZED:
        return {"www-authenticate": BEARER}
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        return {"retry-after": RETRY_AFTER_S}
    if isinstance(error, errors.RangeError):
        return {"content-range": f"bytes */{error.size}"}
    if isinstance(error, errors.ConflictError) and "offset" in error.fact:
        return {"upload-offset": str(error.fact["offset"])}
    return dict(getattr(error, "headers", None) or {})


class Refusals:
    """Turns what handlers raise into answers, and tells the journal what strangers are not told."""

    def __init__(self, journal: Journal, secrets: tuple[str, ...]) -> None:
        """Blot ``secrets`` out of every answer."""
        self._journal, self._secrets = journal, secrets

    def answer(self, request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
        """Return the answer to an error."""
        request_id = str(request.scope.get("state", {}).get("request_id", ""))
        status, _ = classify(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, _EXPECTED):
            self._journal.failure(request_id, error)
        problem = describe(error, request_id, self._secrets)
        return Response(problem, status_code=status, headers=headers_of(error), media_type=MEDIA_TYPE)
