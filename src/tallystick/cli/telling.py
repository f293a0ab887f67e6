"""How `tally verify` answers: a report as lines for people or as JSON, what cannot be told as one line, exit codes.

Knows reports and errors. Refuses to know files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

import typer

from tallystick.errors import MalformedError, TallyError

if TYPE_CHECKING:
    from tallystick.audit.findings import Finding, Report, Result

BUNDLE: Final = "bundle"
NOT_LOOKED_AT: Final = "not looked at, because of step "
EXIT_HOLDS, EXIT_DOES_NOT_HOLD, EXIT_CANNOT_TELL = 0, 1, 2


def code(result: Result) -> int:
    """Return the exit code of a result."""
    from tallystick.audit.findings import Result

    return {Result.HOLDS: EXIT_HOLDS, Result.DOES_NOT_HOLD: EXIT_DOES_NOT_HOLD}.get(result, EXIT_CANNOT_TELL)


def show(answer: Report, heads: Sequence[str], name: str = "", *, json_: bool) -> None:
    """Print a report: JSON alone on stdout, or lines for people under what they must know first."""
    from tallystick.audit.findings import Result, printable, spell

    for head in heads:
        typer.echo(printable(head), err=json_)
    if json_:
        _print_document(spell(answer), name)
        return
    words = {result: result.value.replace("-", " ") for result in Result}
    last = answer.findings[-1].step
    causes = _causes(answer.findings)
    for lines in _runs(answer.findings):
        line, width = lines[0], len(str(last))
        due = "" if line.expected is None else f"expected {line.expected}; found "
        steps, said = f"{line.step:{width}}", f"{line.name}: {due}{line.actual}"
        if len(lines) > 1:
            began = ", ".join(dict.fromkeys(causes[each.step] for each in lines))
            steps, said = f"{steps}-{lines[-1].step}", f"{NOT_LOOKED_AT}{began}"
        typer.echo(f"[{steps}/{last}] {words[line.result]:<13}  {said}")
    steps = ", ".join(str(line.step) for line in answer.findings if line.result is answer.result)
    detail = "" if answer.result is Result.HOLDS else f" (step {steps})"
    typer.echo(f"{words[answer.result]}{detail}")


def _runs(findings: Sequence[Finding]) -> Iterator[list[Finding]]:
    """Yield the findings one by one, and together those in a row that were not looked at."""
    for idle, lines in groupby(findings, _idle):
        together = list(lines)
        yield from [together] if idle else ([line] for line in together)


def _idle(line: Finding) -> bool:
    from tallystick.audit.findings import Result

    return line.result is Result.CANNOT_TELL and str(line.actual).startswith(NOT_LOOKED_AT)


def _causes(findings: Sequence[Finding]) -> dict[int, str]:
    """Return, for every step that was not looked at, the step that failed at the beginning of its chain."""
    causes: dict[int, str] = {}
    for line in filter(_idle, findings):
        cause = str(line.actual).removeprefix(NOT_LOOKED_AT)
        causes[line.step] = causes.get(int(cause), cause) if cause.isdigit() else cause
    return causes


def _print_document(spelled: bytes, name: str) -> None:
    """Print a report as JSON; where several are printed, each says first what it is about."""
    if name:
        typer.echo(json.dumps({"path": name, **json.loads(spelled)}, separators=(",", ":"), ensure_ascii=False))
    else:
        typer.echo(spelled.decode())


def complain(error: TallyError, name: str = "", *, json_: bool) -> None:
    """Say one line on stderr; with --json also a document: the first finding, or the error every verb would print."""
    from tallystick.audit.findings import refused, report, spell

    tell(f"cannot tell: {name + ': ' if name else ''}{error}")
    if json_ and isinstance(error, MalformedError) and error.what == BUNDLE:
        _print_document(spell(report([refused(1, BUNDLE, error)])), name)
    elif json_:
        where = {"path": name} if name else {}
        typer.echo(json.dumps({**where, "error": {"type": type(error).__name__, "message": str(error)}}))


def tell(text: str) -> None:
    """Say one line on stderr."""
    from tallystick.audit.findings import printable

    typer.echo(printable(text), err=True)
