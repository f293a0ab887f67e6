"""What the coordinator hears and what it says: stimuli are past facts, instructions are imperatives; all are frozen."""

from __future__ import annotations

from dataclasses import dataclass, field

from tallystick.commitment import Commitment, Opening, Output
from tallystick.ledger import payloads
from tallystick.slicing import MicroJob
from tallystick.verification.verdict import Evidence, Judgement


@dataclass(frozen=True, slots=True)
class Logged:
    """A payload of this coordinator stands in the log, in the block with this header, at this block time."""

    payload: payloads.Payload
    header: bytes
    time: int


@dataclass(frozen=True, slots=True)
class RootPosted:
    """A worker's root stands in the log."""

    commitment: Commitment
    time: int

    @property
    def microjob(self) -> int:
        """The micro job that the root is for."""
        return self.commitment.place.microjob


@dataclass(frozen=True, slots=True)
class RootLost:
    """A worker ended without a root that the ledger accepts."""

    microjob: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """All bytes of a micro job arrived; these are their digests as the node computed them."""

    microjob: int
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A worker revealed its salts, or stays silent (None)."""

    microjob: int
    openings: tuple[Opening, ...] | None


@dataclass(frozen=True, slots=True)
class Recomputed:
    """The referee computed a block."""

    block: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class HolderLost:
    """The holder of a micro job is gone; these seats of the pool could take over now, best first."""

    microjob: int
    seats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The ledger did not take a reassignment: the root came first, or the new holder's stake was gone."""

    payload: payloads.MicroJobReassigned


@dataclass(frozen=True, slots=True)
class BuyerRevealed:
    """The buyer said its secret, after the uploads closed."""

    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Stimulus = Logged | Refused | RootPosted | RootLost | HolderLost | Arrived | Opened | Recomputed | BuyerRevealed | Tick


@dataclass(frozen=True, slots=True)
class Log:
    """Sign these payloads and log them in one block."""

    payloads: tuple[payloads.Payload, ...]


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Hand these micro jobs to the workers of their seats."""

    microjobs: tuple[MicroJob, ...]


@dataclass(frozen=True, slots=True)
class Reveal:
    """Ask for the openings of these micro jobs."""

    microjobs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recompute:
    """Run these blocks with the reference kernel and keep the bytes."""

    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Deliver:
    """Assemble the output from the accepted blocks; the judgement says which bytes are accepted."""

    judgement: Judgement
    evidence: Evidence


Instruction = Log | Dispatch | Reveal | Recompute | Deliver
