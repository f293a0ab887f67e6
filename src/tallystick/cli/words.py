"""How things are said to people: amounts, names that fit a column, what labels mean, commands that can be pasted.

Knows no command and no stream.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tallystick.cli.exits import one_line
from tallystick.primitives.amounts import Wei, format_cpc

DECIMALS_SHOWN: Final = 9
_ROUND: Final = 10 ** (18 - DECIMALS_SHOWN)

LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "independence: none": "the coordinator holds the buyer's key: nobody independent of it drew audits or judged",
        "deterrence: none": "one operator answers for all workers, so that audits find forgery but deter nobody",
        "copies: computed by the referee": "one operator cannot check itself: the node's referee computed the copies",
        "copies: hidden among the micro jobs": "who holds one knows what it checks, and may tell workers in league",
        "simulated: true": "several operators are played by one process, with play money",
        "challenge: operator-drawn": "the buyer stayed silent, so the coordinator's secret drew the audits",
    }
)


def cpc(wei: int) -> str:
    """Spell an amount for people: exact up to nine decimals, else rounded and marked with ``~``."""
    if wei % _ROUND == 0:
        return f"{format_cpc(Wei(wei))} CPC"
    rounded = (wei + _ROUND // 2) // _ROUND
    return f"~{format_cpc(Wei(rounded * _ROUND))} CPC" if rounded else f"{wei} wei"


def share(ppm: int) -> str:
    """Spell a rate: ``6.25 %``."""
    return f"{format_cpc(Wei(ppm * 10**14))} %"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Spell a number of things: ``1 block``, ``24 blocks``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def short(text: str, head: int = 12, tail: int = 0) -> str:
    """Cut a long name to its beginning and its end."""
    if len(text) <= head + tail + 1:
        return text
    return f"{text[:head]}…{text[-tail:] if tail else ''}"


def letter(index: int) -> str:
    """Name an operator: A, B, … Z, AA."""
    return (letter(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)  # noqa: PLR2004 - the alphabet


def near(path: str | Path) -> str:
    """Spell a path from here where that is shorter; never so that a command would take it for an option."""
    text = str(path)
    here = os.path.relpath(text)
    shorter = here if len(here) < len(text) else text
    return one_line(f"./{shorter}" if shorter.startswith("-") else shorter)


def command(*words: str | Path) -> str:
    """Spell a command that can be pasted here: `tally` where the shell would find this very program."""
    return " ".join([*_program(), *(shlex.quote(str(word)) for word in words)])


def _program() -> tuple[str, ...]:
    called = Path(sys.argv[0])
    if called.name != "tally":
        return (shlex.quote(near(sys.executable)), "-m", "tallystick")
    found = shutil.which("tally")
    if found is not None and Path(found).resolve() == called.resolve():
        return ("tally",)
    return (shlex.quote(near(called.absolute())),)


def served_words(number: int) -> str:
    """Say how jobs go on that were ordered from workers on other machines: no command does their work."""
    were = "1 job was" if number == 1 else f"{number} jobs were"
    return f"{were} ordered from workers on other machines: start the node: `{command('node', 'start')}`"


def hidden_words(size: int | None, *, one_operator: bool) -> str:
    """Say what a hidden placement does not protect against (docs/guides/what-can-slip.md).

    ``size`` is the blocks of a micro job, None where it is not known yet.
    """
    blocks = "b" if size is None else str(size)
    one = "one block of every micro job is sure to be computed twice, which meets m forged ones of"
    met = "every block is computed twice" if size == 1 else f"{one} {blocks} with m/{blocks}"
    if one_operator:
        return (
            f"one operator holds all workers, so nothing is hidden among them: the referee computes the copies; {met}"
        )
    league = (
        "workers in league with the holder of a hidden micro job know which of their blocks it checks and forge the "
        "rest unseen, a share c of their work where they hold a share c of all; who compares blocks with another "
        "recognises the hidden micro job"
    )
    return f"{league}; {met}. Audits alone see the rest; --placement spread leaves a league less at the same price"


def explained(labels: Iterable[str]) -> list[tuple[str, str]]:
    """Return each label with what it means."""
    return [(label, LABELS.get(label, "")) for label in labels]
