"""What happens to a worker's session, and what the session wants done: stimuli in, instructions out.

Knows shapes only.
"""

from __future__ import annotations

from dataclasses import dataclass

from tallystick import wire
from tallystick.client.pieces import Piece


@dataclass(frozen=True, slots=True)
class Dialed:
    """A line to the node stands."""


@dataclass(frozen=True, slots=True)
class Broke:
    """The line is gone."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The node said something."""

    message: wire.FromNode


@dataclass(frozen=True, slots=True)
class Advanced:
    """So many blocks of a piece are computed."""

    piece: str
    done: int


@dataclass(frozen=True, slots=True)
class Computed:
    """A piece is computed; SHA-256 and length of every block, in order."""

    piece: str
    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """All bytes of a piece lie at the node."""

    piece: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing will come of a piece, for a reason of this machine or of the way to the node."""

    piece: str
    reason: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The worker is in the ledger as far as this machine could bring it there; its next entry has this nonce."""

    nonce: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no more; end what is in hand, and leave."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


Stimulus = Dialed | Broke | Heard | Advanced | Computed | Uploaded | Failed | Joined | Drain | Tick


@dataclass(frozen=True, slots=True)
class Send:
    """Say this on the line."""

    message: wire.FromWorker


@dataclass(frozen=True, slots=True)
class Join:
    """Bring the worker into the ledger: it is registered or not, and so many wei are missing from its bond."""

    nonce: int
    registered: bool
    missing: int


@dataclass(frozen=True, slots=True)
class Compute:
    """Fetch the input, check it, compute the blocks, hash them."""

    piece: Piece


@dataclass(frozen=True, slots=True)
class Upload:
    """Bring the computed bytes to the node."""

    piece: Piece


@dataclass(frozen=True, slots=True)
class Drop:
    """Stop whatever is done for a piece and forget its bytes."""

    piece: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Something that people want to read."""

    text: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """A root of ours stands in the log."""

    piece: str
    receipt: wire.Receipt


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing is left to be done: say goodbye."""


Instruction = Send | Join | Compute | Upload | Drop | Tell | Recorded | Leave
