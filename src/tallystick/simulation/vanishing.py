"""A home some of whose workers vanish: what is handed to them is lost, or comes too late, and others take over.

The team stakes whoever could take over before it says so, as a home does with workers of its own. Nothing is random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from tallystick.kernels.lanczos import Region
from tallystick.node.coordinator import Coordinator
from tallystick.node.crew import Fact, Gone
from tallystick.node.moving import top_up
from tallystick.node.ordering import Wish
from tallystick.node.ports import Picture
from tallystick.node.sequencer import Submission
from tallystick.node.shell import Node
from tallystick.node.team import Team
from tallystick.primitives.keys import SigningKey
from tallystick.slicing import MicroJob


class Parting(Enum):
    """How a worker leaves."""

    SILENT = "silent"
    """Nothing comes of what it was handed."""
    LATE = "late"
    """It is given up, and works on: its root meets the reassignment on the way."""


@dataclass(frozen=True, slots=True)
class Leave:
    """A worker takes so many micro jobs, and then it is gone."""

    after: int = 0
    how: Parting = Parting.SILENT
    returns: bool = False
    """It is back whenever somebody is looked for, and gone again when it is handed anything."""


@dataclass(slots=True)
class DesertedTeam:
    """A team around another one, whose seats may be left; those still there could take over, the next in turn first."""

    team: Team
    node: Node
    wish: Wish
    leaves: Mapping[int, Leave]
    handed: dict[int, int] = field(default_factory=dict)
    _told: list[Fact] = field(default_factory=list)

    @property
    def busy(self) -> int:
        """How many pieces and referee's blocks are out."""
        return self.team.busy

    def hand(self, microjob: MicroJob) -> None:
        """Give a micro job to the worker of its seat, if there is one."""
        seat = microjob.seat
        gone = self._is_gone(seat)
        self.handed[seat] = self.handed.get(seat, 0) + 1
        if gone:
            self._told.append(Gone(microjob.index, self._ready(seat)))
        if not gone or self.leaves[seat].how is Parting.LATE:
            self.team.hand(microjob)

    def _is_gone(self, seat: int) -> bool:
        leave = self.leaves.get(seat)
        return leave is not None and self.handed.get(seat, 0) >= leave.after

    def _ready(self, seat: int) -> tuple[int, ...]:
        """Return who could take over, with stake for it."""
        turns = (turn % self.wish.workers for turn in range(seat + 1, seat + self.wish.workers))
        ready = tuple(turn for turn in turns if not self._is_gone(turn) or self.leaves[turn].returns)
        spec = self.node.book.order(self.wish.job_id, self._attempt()).spec
        for other in ready:
            key, faucet = self.node.identity.worker(self.wish.operators, other), self.node.identity.faucet()
            drafts = top_up(spec, key, faucet, self.node.book.engine.view, len(self._told) + 1)
            if drafts:
                self.node.book.must(Submission(drafts))
        return ready

    def _attempt(self) -> int:
        job = self.node.book.job(self.wish.job_id)
        return 1 if job is None else job.attempt

    def ask(self, microjob: MicroJob, outputs: Sequence[bytes], challenge: bytes) -> None:
        """Ask for openings; who was late answers all the same."""
        self.team.ask(microjob, outputs, challenge)

    def referee(self, block: int) -> None:
        """Have the home compute one block."""
        self.team.referee(block)

    def compute(self, region: Region) -> bytes:
        """Run one region of the output in the calling thread."""
        return self.team.compute(region)

    def again(self, microjob: MicroJob) -> Mapping[bytes, bytes]:
        """Return what the holder of a micro job gives once more."""
        return self.team.again(microjob)

    def key(self, seat: int) -> SigningKey | None:
        """Return the worker's key."""
        return self.team.key(seat)

    def wait(self, until: int | None) -> tuple[Fact, ...]:
        """Return who is gone, else what has ended."""
        if self._told:
            facts, self._told = tuple(self._told), []
            return facts
        return self.team.wait(until)

    def close(self) -> None:
        """Drop what has not arrived."""
        self.team.close()


class DesertedNode(Node):
    """A node whose own team is left by some of its seats."""

    leaves: Mapping[int, Leave] = MappingProxyType({})

    def team(self, wish: Wish, coordinator: Coordinator, picture: Picture) -> Team:
        """Return who works for an attempt, and who leaves."""
        inner = super().team(wish, coordinator, picture)
        return DesertedTeam(inner, self, wish, self.leaves) if self.leaves else inner
