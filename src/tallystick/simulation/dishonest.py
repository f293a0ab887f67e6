"""Dishonest workers. Each cheats in one way and is otherwise as honest as the rest, so that a test sees one cause.

All are deterministic, so a restarted job meets the same cheat again. Whatever they touch says ``simulated``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from tallystick.commitment import Opening, Output
from tallystick.node.worker import Assignment, Posted, RunBlock, Upload, Worker
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey


class Cheat(Enum):
    """The ways to cheat."""

    FORGE = "forge"
    WRONG_LENGTH = "wrong-length"
    SWAP_AFTER_COMMIT = "swap-after-commit"
    COPY_COMMITMENT = "copy-commitment"
    COPY_OPENINGS = "copy-openings"
    COPY_SIGNATURE = "copy-signature"
    COMMIT_LATE = "commit-late"
    VANISH_AFTER_COMMIT = "vanish-after-commit"
    NEVER_COMMIT = "never-commit"
    BREAK_DOWN = "break-down"
    UPLOAD_TOO_MANY = "upload-too-many"
    OPEN_WRONGLY = "open-wrongly"
    OPEN_ANOTHER_LEAF = "open-another-leaf"
    OPEN_TOO_FEW = "open-too-few"
    OPEN_NONSENSE = "open-nonsense"
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
class Loot:
    """What a thief saw of another worker's micro job, root and signature in hex."""

    root: str
    signature: str
    openings: tuple[Opening, ...]


@dataclass(frozen=True, slots=True)
class DishonestWorker:
    """A worker with one cheat; ``wait`` is called before a late commitment (tests move a clock, nothing sleeps)."""

    honest: Worker
    cheat: Cheat
    choose: Choose = every_slot
    wait: Callable[[], None] = field(default=lambda: None, repr=False)
    stolen: Callable[[], Loot | None] = field(default=lambda: None, repr=False)
    """Returns what was stolen for the micro job that is being worked on; nothing makes the thief honest."""
    _committed: dict[tuple[str, int, int], tuple[Opening, ...]] = field(default_factory=dict, repr=False)

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
        slots = range(len(assignment.microjob.slots))
        outputs = [self._compute(assignment, slot, run, upload) for slot in slots]
        if self.cheat is Cheat.BREAK_DOWN:
            raise MemoryError
        if self.cheat is Cheat.UPLOAD_TOO_MANY:
            for slot in (-1, len(slots), len(slots) + 1):
                upload(slot, b"nobody asked for this")
        if self.cheat is Cheat.COMMIT_LATE:
            self.wait()
        openings = self.honest.openings(assignment, outputs)
        posted = self.honest.post(assignment, [opening.leaf for opening in openings])
        return self._kept(assignment, posted, openings)

    def _kept(self, assignment: Assignment, posted: Posted, openings: tuple[Opening, ...]) -> Posted:
        """Remember what will be opened, and put stolen goods in the place of one's own."""
        loot = self.stolen()
        if loot is not None and self.cheat in {Cheat.COPY_COMMITMENT, Cheat.COPY_OPENINGS}:
            posted = self.honest.post_root(assignment, bytes.fromhex(loot.root))
        if loot is not None and self.cheat is Cheat.COPY_OPENINGS:
            openings = loot.openings
        if loot is not None and self.cheat is Cheat.COPY_SIGNATURE:
            payload = msgspec.structs.replace(posted.payload, result_hash=loot.root, signature=loot.signature)
            posted = Posted(payload, posted.meta)
        self._committed[self._name(assignment)] = openings
        return posted

    @staticmethod
    def _name(assignment: Assignment) -> tuple[str, int, int]:
        return assignment.spec.job_id, assignment.spec.attempt, assignment.microjob.index

    def _compute(self, assignment: Assignment, slot: int, run: RunBlock, upload: Upload) -> Output:
        """Compute a slot, and commit to or deliver something else where this worker cheats."""
        data = run(self.honest.region(assignment, slot))
        cheats = self.choose(assignment, slot)
        if cheats and self.cheat is Cheat.FORGE:
            data = forged(data)
        if cheats and self.cheat is Cheat.WRONG_LENGTH:
            data = data[:-1]
        if not cheats or self.cheat is not Cheat.VANISH_AFTER_COMMIT:
            upload(slot, forged(data) if cheats and self.cheat is Cheat.SWAP_AFTER_COMMIT else data)
        return Output(sha256(data), len(data), self.honest.meta(assignment))

    def open(self, assignment: Assignment, outputs: Sequence[bytes]) -> tuple[Opening, ...] | None:
        """Open, wrongly or not at all."""
        openings = self._committed.get(self._name(assignment)) or self.honest.open(assignment, outputs)
        if openings is None or self.cheat is Cheat.STAY_SILENT:
            return None
        first, rest = openings[0], openings[1:]
        if self.cheat is Cheat.OPEN_TOO_FEW:
            return rest
        wrong = {
            Cheat.OPEN_WRONGLY: Opening(sha256(first.salt), first.leaf),
            Cheat.OPEN_ANOTHER_LEAF: Opening(first.salt, sha256(first.leaf)),
            Cheat.OPEN_NONSENSE: Opening(b"", b"nonsense"),
        }
        return (wrong.get(self.cheat, first), *rest)
