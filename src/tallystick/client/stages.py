"""Where a worker's line and its pieces stand, with the one table that says what may follow what.

Knows names and order. Refuses to know what is done on the way.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from tallystick.errors import TransitionError
from tallystick.wire import Auth, Cancel, Challenge, FromNode, Job, Ready, Receipt, Refused


class Line(Enum):
    """What was said on a line so far."""

    DOWN = "down"
    DIALED = "dialed"
    GREETED = "greeted"
    OPEN = "open"


class Stage(Enum):
    """How far a worker is with a piece."""

    COMPUTING = "computing"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    COMMITTED = "committed"
    DELIVERED = "delivered"


LINES: Final[dict[tuple[Line, type], Line]] = {
    (Line.DIALED, Auth): Line.GREETED,
    (Line.GREETED, Ready): Line.OPEN,
    (Line.OPEN, Job): Line.OPEN,
    (Line.OPEN, Receipt): Line.OPEN,
    (Line.OPEN, Refused): Line.OPEN,
    (Line.OPEN, Challenge): Line.OPEN,
    (Line.OPEN, Cancel): Line.OPEN,
}
"""Which message of the node is allowed when, and where the line stands after it."""

NEXT: Final[dict[Stage, frozenset[Stage]]] = {
    Stage.COMPUTING: frozenset({Stage.UPLOADING}),
    Stage.UPLOADING: frozenset({Stage.UPLOADED}),
    Stage.UPLOADED: frozenset({Stage.COMMITTED, Stage.COMPUTING}),
    Stage.COMMITTED: frozenset({Stage.DELIVERED, Stage.COMPUTING}),
    Stage.DELIVERED: frozenset(),
}
"""A piece goes forward, and back to the beginning only where the node lost what was delivered."""


def after(line: Line, message: FromNode) -> Line:
    """Return where a line stands after a message of the node.

    Raises:
        TransitionError: it may not come now.
    """
    following = LINES.get((line, type(message)))
    if following is None:
        raise TransitionError("line of the node", line.value, type(message).__name__.lower())
    return following


def forward(here: Stage, there: Stage) -> Stage:
    """Return the next stage of a piece.

    Raises:
        TransitionError: it does not follow.
    """
    if there not in NEXT[here]:
        raise TransitionError("piece", here.value, there.value)
    return there
