"""How a numbered plan is walked: each step runs if what it builds on was told, and becomes one finding.

Knows numbers, names and what builds on what. Refuses to know what any step looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tallystick.audit.findings import Finding, Result, found, refused
from tallystick.errors import TallyError

A = TypeVar("A")


class Remark(str):
    """What a step says when it neither holds nor fails."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Step(Generic[A]):
    """One step: its number, its name, the steps whose results it builds on, and what it does."""

    number: int
    name: str
    needs: tuple[int, ...]
    run: Callable[[A], str]


def walk(plan: Sequence[Step[A]], audit: A) -> Iterator[Finding]:
    """Run the steps in order; one that fails leaves those that build on it untold."""
    untold: set[int] = set()
    for step in plan:
        finding = _run(step, audit, untold)
        if finding.result in {Result.DOES_NOT_HOLD, Result.CANNOT_TELL}:
            untold.add(step.number)
        yield finding


def _run(step: Step[A], audit: A, untold: set[int]) -> Finding:
    missing = sorted(untold.intersection(step.needs))
    if missing:
        return found(step.number, step.name, Result.CANNOT_TELL, f"not looked at, because of step {missing[0]}")
    try:
        said = step.run(audit)
    except TallyError as error:
        return refused(step.number, step.name, error)
    return found(step.number, step.name, Result.NOTE if isinstance(said, Remark) else Result.HOLDS, said)
