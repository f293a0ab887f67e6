"""What a worker holds of a piece while it works on it, and what it remembers of one it signed for.

Knows one piece. Refuses to know the line and the other pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from tallystick.client.stages import Stage, forward
from tallystick.commitment import Opening, Output
from tallystick.errors import MalformedError
from tallystick.ledger.transactions import Transaction
from tallystick.node.worker import Assignment, Posted, Worker
from tallystick.slicing import block_length
from tallystick.wire import JobPayload, OpenedLeaf


@dataclass(slots=True)
class Known:
    """What a worker signed: the order's digest and the root; ``logged`` once the node said that it is durable."""

    order: bytes
    root: bytes
    logged: bool = False


@dataclass(slots=True)
class Piece:
    """A piece in hand; ``sent`` are its entries that were not answered yet, oldest first."""

    name: str
    payload: JobPayload
    assignment: Assignment
    line: int = 0
    """The line over which the node last spoke of it."""
    stage: Stage = Stage.COMPUTING
    outputs: tuple[Output, ...] = ()
    posted: Posted | None = None
    sent: list[Transaction] = field(default_factory=list)
    tries: int = 0
    told: int = 0
    begun: JobPayload = field(init=False)
    """The payload with which the last step began."""

    def __post_init__(self) -> None:
        """Begin with the payload as it came."""
        self.begun = self.payload

    @property
    def result(self) -> Posted:
        """Return what is posted.

        Raises:
            MalformedError: no root was made yet.
        """
        if self.posted is None:
            raise MalformedError(f"piece {self.name}", "it has no root yet")
        return self.posted

    def go(self, stage: Stage) -> None:
        """Go on to a stage.

        Raises:
            TransitionError: it does not follow.
        """
        self.stage = forward(self.stage, stage)

    @property
    def has_moved(self) -> bool:
        """Whether the node named other places since the last step began."""
        return (self.payload.input.path, self.payload.output.path) != (self.begun.input.path, self.begun.output.path)

    def is_same_work(self, payload: JobPayload) -> bool:
        """Tell whether a payload asks for the same, at whatever places and until whenever."""
        mine = msgspec.structs.replace(
            self.payload,
            input=msgspec.structs.replace(self.payload.input, path=payload.input.path),
            output=msgspec.structs.replace(self.payload.output, path=payload.output.path),
            lease_ends=payload.lease_ends,
        )
        return mine == payload


def delivered(worker: Worker, assignment: Assignment, digests: Sequence[bytes]) -> tuple[Output, ...]:
    """Return what stands in the leaves about the blocks of a piece, given their SHA-256 in order."""
    meta = worker.meta(assignment)
    lengths = [block_length(assignment.spec, assignment.counts, slot.block) for slot in assignment.microjob.slots]
    return tuple(Output(digest, length, meta) for digest, length in zip(digests, lengths, strict=True))


def spelled(openings: Sequence[Opening]) -> tuple[OpenedLeaf, ...]:
    """Return openings as they stand in a message."""
    return tuple(OpenedLeaf(opening.salt.hex(), opening.leaf.hex()) for opening in openings)
