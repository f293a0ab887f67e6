"""What a node knows of one micro job that is out: its ticket, its bytes, its root, and what the team was told of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tallystick.commitment import Output
from tallystick.job import JobSpec
from tallystick.node.crew import Delivered, Fact, Rooted
from tallystick.node.floor import Piece
from tallystick.slicing import Layout, MicroJob, block_length


@dataclass(frozen=True, slots=True)
class InputFile:
    """The raw samples of a job's decoded input as a file, and the opening of the order's commitment to their digest."""

    path: str
    length: int
    digest: bytes
    salt: bytes


@dataclass(slots=True)
class Out:
    """One piece and how far it is. ``ticket`` is what its worker fetches the input and delivers the bytes with."""

    piece: Piece
    spec: JobSpec
    counts: Layout
    microjob: MicroJob
    worker: str
    source: InputFile
    ticket: str = field(repr=False)
    path: str
    """Where the delivered bytes gather."""
    tell: Callable[[Fact], None]
    digests: tuple[tuple[bytes, int], ...] | None = None
    meta: bytes | None = None
    root: bytes = b""
    done: int = 0
    noted: bool = False
    arriving: set[bytes] = field(default_factory=set)
    """Digests of the blocks that came, also while others are still coming."""
    claimed: bool = False
    """Its worker said that everything is here."""
    asked: tuple[bytes, ...] = ()
    challenge: bytes = b""
    writing: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    """Held by the one request that writes its bytes."""
    _rooted: bool = False
    _delivered: bool = False

    @property
    def lengths(self) -> tuple[int, ...]:
        """Bytes of every slot, in order."""
        return tuple(block_length(self.spec, self.counts, slot.block) for slot in self.microjob.slots)

    @property
    def outputs(self) -> tuple[Output, ...] | None:
        """What was delivered, once all bytes are kept and the worker said what stands in its leaves."""
        if self.digests is None or self.meta is None:
            return None
        return tuple(Output(digest, length, self.meta) for digest, length in self.digests)

    @property
    def complete(self) -> bool:
        """Whether the team knows both the root and the bytes."""
        return self._rooted and self._delivered

    def rooted(self, root: bytes) -> None:
        """Tell the team once that the root stands, and of the bytes if they came before."""
        self.root = root
        if not self._rooted:
            self._rooted = True
            self.tell(Rooted(self.piece.microjob))
        self.advance()

    def advance(self) -> None:
        """Tell the team once of the bytes, after the root."""
        outputs = self.outputs
        if self._rooted and outputs is not None and not self._delivered:
            self._delivered = True
            self.tell(Delivered(self.piece.microjob, outputs, self.noted))
