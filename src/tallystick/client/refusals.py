"""From an answer to a value or an error: bounded, typed, and with the node's own words where it refused.

Knows problem details (RFC 9457) and which error of the tree each code stands for (docs/spec/http.md). Refuses to
believe a media type that was not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Final, TypeVar

import msgspec

from tallystick import errors
from tallystick.client.steps import JSON, Answer

T = TypeVar("T")

PROBLEM: Final = "application/problem+json"
PROBLEM_BYTES_MAX: Final = 1 << 16
WORDS_MAX: Final = 1000
ENTRY_TYPE_END: Final = " was recorded before"
Short = Annotated[str, msgspec.Meta(max_length=10_000)]


class First(msgspec.Struct, frozen=True):
    """The entry that took an event key first."""

    tx_hash: Short = ""
    nid: Short = ""


class Problem(msgspec.Struct, frozen=True):
    """What a node says when it refuses."""

    status: int = 0
    title: Short = ""
    detail: Short = ""
    code: Short = ""
    request_id: Short = ""
    first_receipt: First | None = None
    offset: int | None = None
    size: int | None = None
    expected: Short | None = None
    actual: Short | None = None


Make = Callable[[str, Problem], errors.TallyError]


def _plain(kind: type[errors.TallyError]) -> Make:
    return lambda words, _problem: kind(words)


def _conflict(words: str, problem: Problem) -> errors.TallyError:
    return errors.ConflictError(words, **({} if problem.offset is None else {"offset": problem.offset}))


def _duplicate(words: str, problem: Problem) -> errors.TallyError:
    first = problem.first_receipt.tx_hash if problem.first_receipt is not None else ""
    return errors.DuplicateError(words.partition(ENTRY_TYPE_END)[0], first)


CODES: Final[Mapping[str, Make]] = MappingProxyType(
    {
        "usage": _plain(errors.UsageError),
        "invalid": _plain(errors.UsageError),
        "malformed": _plain(errors.UsageError),
        "image": lambda words, _: errors.ImageError("picture", words.removeprefix("picture cannot be read: ")),
        "too-large": lambda words, _: errors.TooLargeError("request", words),
        "price": _plain(errors.PriceError),
        "not-found": _plain(errors.AbsentError),
        "conflict": _conflict,
        "range": lambda words, problem: errors.RangeError(words, problem.size or 0),
        "credentials": _plain(errors.AccessError),
        "limit": _plain(errors.LimitError),
        "too-slow": _plain(errors.DelayError),
        "incomplete": _plain(errors.IncompleteError),
        "does-not-hold": lambda words, _: errors.VerificationError(words),
        "refused": _plain(errors.RuleError),
        "transition": _plain(errors.RuleError),
        "duplicate": _duplicate,
        "nonce": _plain(errors.NonceError),
        "funds": _plain(errors.FundsError),
        "stake": _plain(errors.StakeError),
        "deadline": _plain(errors.DeadlineError),
        "not-allowed": _plain(errors.AuthorityError),
        "policy": _plain(errors.PolicyError),
        "unmatched": _plain(errors.UnmatchedError),
        "unsigned": _plain(errors.UnsignedError),
        "block-full": _plain(errors.NodeError),
        "unavailable": _plain(errors.NodeError),
        "closing": _plain(errors.NodeError),
        "node": _plain(errors.NodeError),
        "chain": _plain(errors.NodeError),
        "internal": _plain(errors.NodeError),
    }
)
"""What each code of a node's problem details becomes here."""

STATUSES: Final[Mapping[int, Make]] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: CODES["credentials"],
        HTTPStatus.FORBIDDEN: CODES["not-allowed"],
        HTTPStatus.NOT_FOUND: CODES["not-found"],
        HTTPStatus.METHOD_NOT_ALLOWED: CODES["not-found"],
        HTTPStatus.CONFLICT: CODES["conflict"],
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: CODES["too-large"],
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: CODES["range"],
        HTTPStatus.TOO_MANY_REQUESTS: CODES["limit"],
    }
)
"""What is made of an answer whose code nobody knows."""

_PROBLEM: Final = msgspec.json.Decoder(Problem)


def refusal(answer: Answer, where: str) -> errors.TallyError:
    """Return the error that an answer means; ``where`` names the node for answers that are not a node's."""
    problem = _read_problem(answer)
    if problem is None:
        if answer.status in STATUSES:
            return STATUSES[answer.status](f"{where} answers {answer.status}", Problem())
        return errors.NodeError(f"{where} answers {answer.status} {answer.media_type!r}, which no node of ours says")
    words = (problem.detail or problem.title or f"{where} answers {answer.status}")[:WORDS_MAX]
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and problem.request_id:
        words = f"{words} (request {problem.request_id[:80]})"
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and problem.code not in CODES:
        return errors.NodeError(words)
    make = CODES.get(problem.code) or STATUSES.get(answer.status) or CODES["usage"]
    return make(words, problem)


def read(answer: Answer, kind: type[T], where: str) -> T:
    """Read a good answer's JSON; unknown members are a newer node's business.

    Raises:
        NodeError: it is no JSON of this shape.
        TallyError: the node refused; the error is its.
    """
    check(answer, where)
    if answer.media_type != JSON:
        raise errors.NodeError(f"{where} answers with {answer.media_type or 'no media type'} instead of {JSON}")
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.NodeError(f"{where} answers what no node says: {error}") from None


def read_text(answer: Answer, where: str) -> str:
    """Read a good answer's text.

    Raises:
        NodeError: it is no text.
        TallyError: the node refused.
    """
    check(answer, where)
    if answer.media_type not in {"text/plain", "application/toml"}:
        raise errors.NodeError(f"{where} answers with {answer.media_type or 'no media type'} instead of text")
    try:
        return answer.body.decode()
    except UnicodeDecodeError:
        raise errors.NodeError(f"{where} answers with text that is not UTF-8") from None


def check(answer: Answer, where: str) -> None:
    """Raise what a refusal means."""
    if not answer.fits:
        raise refusal(answer, where)


def _read_problem(answer: Answer) -> Problem | None:
    if answer.media_type != PROBLEM or len(answer.body) > PROBLEM_BYTES_MAX:
        return None
    try:
        return _PROBLEM.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
