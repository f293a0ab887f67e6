"""When an anchor is worth its gas: after a while, after so many entries, after every event of a job, or when asked.

Knows how a policy is spelled and when one is due. Refuses to know chains. Headers and Anchored entries never make an
anchor due, or every anchor would call for the next one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

import msgspec

from tallystick.errors import UsageError
from tallystick.primitives.canonical import INTEGER_MAX

OFF: Final = "off"
EVENT: Final = "event"
_UNITS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_INTERVAL: Final = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)
_ENTRIES: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_HOW: Final = "an interval such as 90s, 30m, 1h or 1d, a number of entries such as 1000, `event` or `off`"


class Trigger(Enum):
    """What makes an anchor due."""

    INTERVAL = "interval"
    ENTRIES = "entries"
    EVENT = "event"
    MANUAL = "manual"


class AnchorPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``amount`` is the interval in ms, or the number of entries; 0 for the other triggers."""

    trigger: Trigger = Trigger.MANUAL
    amount: Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)] = 0

    def __str__(self) -> str:
        """Spell the policy as ``parse`` reads it."""
        match self.trigger:
            case Trigger.INTERVAL:
                unit = max((unit for unit, ms in _UNITS.items() if self.amount % ms == 0), key=_UNITS.__getitem__)
                return f"{self.amount // _UNITS[unit]}{unit}"
            case Trigger.ENTRIES:
                return str(self.amount)
            case Trigger.EVENT:
                return EVENT
            case Trigger.MANUAL:
                return OFF


def parse(text: str) -> AnchorPolicy:
    """Read a policy as people write it.

    Raises:
        UsageError: it is none.
    """
    if text == OFF:
        return AnchorPolicy()
    if text == EVENT:
        return AnchorPolicy(Trigger.EVENT)
    if found := _INTERVAL.fullmatch(text):
        return AnchorPolicy(Trigger.INTERVAL, int(found[1]) * _UNITS[found[2]])
    if _ENTRIES.fullmatch(text):
        return AnchorPolicy(Trigger.ENTRIES, int(text))
    raise UsageError(f"{text!r} is no anchoring policy: give {_HOW}")


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the newest anchor of a chain does not cover.

    ``entries`` counts neither headers nor Anchored entries; ``event`` tells whether an event of a job's lifecycle is
    among them; ``since`` is when the newest anchor was logged (ms UTC), None when there is none yet.
    """

    entries: int
    event: bool
    since: int | None


def due_in(policy: AnchorPolicy, backlog: Backlog, now: int) -> int | None:
    """Return in how many ms an anchor is due, 0 for at once, None while nothing but the log itself can make it due."""
    if not backlog.entries:
        return None
    match policy.trigger:
        case Trigger.INTERVAL:
            return 0 if backlog.since is None else max(0, backlog.since + policy.amount - now)
        case Trigger.ENTRIES:
            return 0 if backlog.entries >= policy.amount else None
        case Trigger.EVENT:
            return 0 if backlog.event else None
        case Trigger.MANUAL:
            return None
