"""Dishonest workers. Each cheats in one way and is otherwise as honest as the rest, so that a test sees one cause.

All are deterministic, so a restarted job meets the same cheat again. Whatever they touch says ``simulated``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from tallystick.commitment import Opening, Output
from tallystick.node.worker import Assignment, Posted, RunBlock, Upload, Worker
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey


class Cheat(Enum):
    """The ways to cheat."""

    FORGE = "forge"
    SWAP_AFTER_COMMIT = "swap-after-commit"
    COPY_COMMITMENT = "copy-commitment"
    COMMIT_LATE = "commit-late"
    VANISH_AFTER_COMMIT = "vanish-after-commit"
    NEVER_COMMIT = "never-commit"
    OPEN_WRONGLY = "open-wrongly"
    STAY_SILENT = "stay-silent"


Choose = Callable[[Assignment, int], bool]
"""Tells which slots of an assignment a worker cheats on."""


def every_slot(_assignment: Assignment, _slot: int) -> bool:
    """Cheat everywhere."""
    return True


def first_slot(_assignment: Assignment, slot: int) -> bool:
    """Cheat on one slot of every micro job."""
    return slot == 0


def forged(data: bytes) -> bytes:
    """Return bytes of the same length that differ in the first one: what a cheat that skips work would deliver."""
    return bytes([data[0] ^ 1]) + data[1:]


@dataclass(frozen=True, slots=True)
class DishonestWorker:
    """A worker with one cheat; ``wait`` is called before a late commitment (tests move a clock, nothing sleeps)."""

    honest: Worker
    cheat: Cheat
    choose: Choose = every_slot
    wait: Callable[[], None] = field(default=lambda: None, repr=False)
    stolen: Callable[[], str | None] = field(default=lambda: None, repr=False)
    """Returns another worker's root, in hex, as a thief would have seen it."""
    _committed: dict[tuple[str, int], tuple[Opening, ...]] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> SigningKey:
        """Its own key: even a thief signs its own entries."""
        return self.honest.key

    @property
    def backend(self) -> str:
        """What it says it runs."""
        return self.honest.backend

    def work(self, assignment: Assignment, run: RunBlock, upload: Upload) -> Posted | None:
        """Do the work, or not, and commit, or not."""
        if self.cheat is Cheat.NEVER_COMMIT:
            return None
        outputs = [self._compute(assignment, slot, run, upload) for slot in range(len(assignment.microjob.slots))]
        openings = self.honest.openings(assignment, outputs)
        self._committed[assignment.spec.job_id, assignment.microjob.index] = openings
        posted = self.honest.post(assignment, [opening.leaf for opening in openings])
        if self.cheat is Cheat.COMMIT_LATE:
            self.wait()
        if self.cheat is Cheat.COPY_COMMITMENT:
            return self._copied(assignment, posted)
        return posted

    def _compute(self, assignment: Assignment, slot: int, run: RunBlock, upload: Upload) -> Output:
        """Compute a slot, and commit to or deliver something else where this worker cheats."""
        data = run(self.honest.region(assignment, slot))
        cheats = self.choose(assignment, slot)
        if self.cheat is Cheat.FORGE and cheats:
            data = forged(data)
        if self.cheat is not Cheat.VANISH_AFTER_COMMIT or not cheats:
            upload(slot, forged(data) if self.cheat is Cheat.SWAP_AFTER_COMMIT and cheats else data)
        return Output(sha256(data), len(data), self.honest.meta(assignment))

    def _copied(self, assignment: Assignment, posted: Posted) -> Posted:
        """Sign another worker's root as one's own."""
        root = self.stolen()
        return posted if root is None else self.honest.post_root(assignment, bytes.fromhex(root))

    def open(self, assignment: Assignment, outputs: Sequence[bytes]) -> tuple[Opening, ...] | None:
        """Open, wrongly or not at all."""
        remembered = self._committed.get((assignment.spec.job_id, assignment.microjob.index))
        openings = self.honest.open(assignment, outputs) if remembered is None else remembered
        if openings is None or self.cheat is Cheat.STAY_SILENT:
            return None
        if self.cheat is Cheat.OPEN_WRONGLY:
            first = openings[0]
            return (Opening(sha256(first.salt), first.leaf), *openings[1:])
        return openings
