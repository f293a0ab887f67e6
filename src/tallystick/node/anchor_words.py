"""What is said to the machine that anchors a checkpoint, and what it wants done: states, stimuli, instructions.

Knows what each of them carries. Refuses to know what follows from what: that is the machine itself (anchorer).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from tallystick.anchoring.erc7053 import Erc7053Commit, anchor_commitment
from tallystick.errors import TransitionError
from tallystick.node.anchor_outbox import Outbox
from tallystick.node.chain import Landed, SignedCall

MACHINE: Final = "anchor"
SECOND: Final = 1_000


class Phase(Enum):
    """Where the one anchor in flight stands."""

    IDLE = "idle"
    LOOKING = "looking"
    SIGNING = "signing"
    KEEPING = "keeping"
    SENDING = "sending"
    WATCHING = "watching"
    LANDED = "landed"
    LOGGING = "logging"
    REVERTED = "reverted"


RESTING: Final = frozenset({Phase.IDLE, Phase.REVERTED})
"""In these nothing is in flight, and a new anchor may begin."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How patient to be, in ms, what is final, and what is too dear.

    ``confirmations`` blocks must stand on top; ``fee_cap`` (wei per gas) None leaves the fee open.
    """

    confirmations: int
    fee_cap: int | None = None
    poll: int = 2 * SECOND
    resend: int = 30 * SECOND
    patience: int = 180 * SECOND
    backoff_most: int = 60 * SECOND


@dataclass(frozen=True, slots=True)
class State:
    """One anchor on its way.

    ``nonce`` is the one being signed for; ``signed_at`` and ``sent_at`` tell when the newest variant was;
    ``landed`` where one of them stands; ``foreign`` the block (number, hash) in which the nonce was seen used by a
    transaction that is none of ours; ``gap`` the nonce below ours that lies open again since a reorganisation took
    somebody's transaction away; ``held_fee`` the fee that was too high; ``failures`` those in a row.
    """

    phase: Phase = Phase.IDLE
    outbox: Outbox | None = None
    nonce: int = 0
    signed_at: int = 0
    sent_at: int = 0
    landed: Landed | None = None
    foreign: tuple[int, bytes] | None = None
    gap: int | None = None
    held_fee: int | None = None
    failures: int = 0

    @property
    def calls(self) -> tuple[SignedCall, ...]:
        """Every variant, oldest first."""
        return () if self.outbox is None else tuple(each.call() for each in self.outbox.calls)

    @property
    def commit(self) -> Erc7053Commit:
        """What is to be written to the chain.

        Raises:
            TransitionError: nothing is in flight.
        """
        if self.outbox is None:
            raise TransitionError(MACHINE, self.phase.value, "commit")
        return anchor_commitment(self.outbox.checkpoint)


# What is told to the machine.


@dataclass(frozen=True, slots=True)
class Begin:
    """An anchor is due; the outbox holds the newest durable checkpoint and no call."""

    outbox: Outbox


@dataclass(frozen=True, slots=True)
class Woke:
    """Time passed."""


@dataclass(frozen=True, slots=True)
class Looked:
    """The next nonce, and our own commits of this very checkpoint, oldest first."""

    nonce: int
    own: tuple[Landed, ...]


@dataclass(frozen=True, slots=True)
class Signed:
    """A variant was signed; nobody else has seen it."""

    call: SignedCall


@dataclass(frozen=True, slots=True)
class Kept:
    """The outbox is durable."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The chain's node took a call."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The chain did not answer, or refused; whatever was asked may have happened."""

    reason: str


@dataclass(frozen=True, slots=True)
class Saw:
    """How the chain stands: its head, the next nonce, and where one of our calls landed.

    ``hash_there`` is the present hash of that call's block, ``hash_marked`` that of the block which ``Observe`` marked.
    """

    head: int
    head_hash: bytes | None
    nonce: int
    landed: Landed | None
    hash_there: bytes | None
    hash_marked: bytes | None


@dataclass(frozen=True, slots=True)
class Logged:
    """The Anchored entry is durable, and so is the outbox that says so."""


Stimulus = Begin | Woke | Looked | Signed | Kept | Sent | Failed | Saw | Logged


# What the machine wants done.


@dataclass(frozen=True, slots=True)
class Look:
    """Ask for the next nonce and for our own commits of this checkpoint."""

    commit: Erc7053Commit


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign the commit; with ``bump`` so that it replaces that call."""

    commit: Erc7053Commit
    nonce: int
    bump: SignedCall | None


@dataclass(frozen=True, slots=True)
class Keep:
    """Make the outbox durable."""

    outbox: Outbox


@dataclass(frozen=True, slots=True)
class Send:
    """Hand a call to the chain."""

    call: SignedCall


@dataclass(frozen=True, slots=True)
class Observe:
    """Ask how the chain stands, and whether any of these transactions landed; ``marked`` is a block to hash, too."""

    hashes: tuple[bytes, ...]
    marked: int | None


@dataclass(frozen=True, slots=True)
class Log:
    """Log the Anchored entry together with the outbox that says so."""

    outbox: Outbox
    landed: Landed


@dataclass(frozen=True, slots=True)
class Tell:
    """Say something that a person should know."""

    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing more for so many ms; None until something new is due."""

    ms: int | None


Instruction = Look | Sign | Keep | Send | Observe | Log | Tell | Wait
Turn = tuple[State, tuple[Instruction, ...]]
