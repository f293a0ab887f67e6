"""The answer of an audit: numbered findings, and the one result that follows from them.

Knows the four results and how an error becomes a finding. Refuses to know what any step looks at.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

import msgspec

from tallystick.errors import RuleError, TallyError, VerificationError

TEXT_MAX: Final = 400


class Result(Enum):
    """What a step found; ``NOTE`` says something that neither holds nor fails."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does-not-hold"
    CANNOT_TELL = "cannot-tell"
    NOTE = "note"


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the answer. ``actual`` says what was found, ``expected`` what was due where that is another thing."""

    step: int
    name: str
    result: Result
    expected: str | None
    actual: str | None


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole answer, in the order of the plan."""

    result: Result
    findings: tuple[Finding, ...]


def report(findings: Iterable[Finding]) -> Report:
    """Return the answer: one finding that does not hold decides, then one that cannot tell, else it holds."""
    lines = tuple(findings)
    results = {line.result for line in lines}
    for worst in (Result.DOES_NOT_HOLD, Result.CANNOT_TELL):
        if worst in results:
            return Report(worst, lines)
    return Report(Result.HOLDS, lines)


def spell(answer: Report) -> bytes:
    """Return the report as JSON: ``{"result": …, "findings": [{"step", "name", "result", "expected", "actual"}]}``."""
    return msgspec.json.encode(answer)


def found(step: int, name: str, result: Result, actual: str, expected: str | None = None) -> Finding:
    """Return one finding, its texts made safe to print."""
    return Finding(step, name, result, None if expected is None else printable(expected), printable(actual))


def refused(step: int, name: str, error: TallyError) -> Finding:
    """Return the finding that an error stands for.

    A claim that is wrong and an entry that breaks a rule do not hold; what is malformed or incomplete cannot be judged.
    """
    if isinstance(error, VerificationError) and not (error.expected is None and error.actual is None):
        return found(step, name, Result.DOES_NOT_HOLD, f"{error.actual}", f"{error.what}: {error.expected}")
    if isinstance(error, VerificationError | RuleError):
        return found(step, name, Result.DOES_NOT_HOLD, str(error))
    return found(step, name, Result.CANNOT_TELL, str(error))


def printable(text: str) -> str:
    """Return text of at most 400 characters on one line; evidence comes from strangers, and may hold terminal codes."""
    line = "".join(each if each.isprintable() else "?" for each in text[: TEXT_MAX + 1])
    return line if len(line) <= TEXT_MAX else line[: TEXT_MAX - 1] + "…"
