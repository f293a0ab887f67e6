"""Drives one attempt of one job to its delivery: coordinator's instructions out, facts back in.

The calling thread owns the coordinator. Workers and the referee are a team, here or on other machines; everything that
waits to be logged is committed together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from tallystick.commitment import Output
from tallystick.errors import BlockFullError, DuplicateError, StoreError
from tallystick.ledger.payloads import JobSettled, MicroJobReassigned, Payload
from tallystick.ledger.transactions import Draft
from tallystick.node import coordinator as say
from tallystick.node.book import Book
from tallystick.node.crew import (
    Broken,
    BuyerSpoke,
    Delivered,
    Fact,
    Gone,
    Refereed,
    Revealed,
    Rooted,
    Unanswered,
    Worked,
)
from tallystick.node.deliveries import delivery_key, openings_key, spell_delivery, spell_openings
from tallystick.node.ports import Picture, Ports
from tallystick.node.sequencer import Accepted, Block, Outcome, Submission
from tallystick.node.settling import check_settlement
from tallystick.node.team import Team
from tallystick.node.worker import Posted
from tallystick.primitives.digests import sha256
from tallystick.slicing import MicroJob, block_region
from tallystick.verification.judge import judge

GATHER_MS = 500
"""How long an entry waits for others to share its block, while blocks are being computed."""

Note = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A submission that waits for a block, and what to do when its outcome is known."""

    submission: Submission
    told: Callable[[Outcome, Block | None], None]


@dataclass(slots=True)
class JobRun:
    """One attempt in progress."""

    book: Book
    ports: Ports
    coordinator: say.Coordinator
    picture: Picture
    team: Team
    delivery: say.Deliver | None = None
    _pending: list[_Waiting] = field(default_factory=list)
    _counted: bool = False
    """Whether the log was asked for roots after the last moment at which it takes any."""

    def to_delivery(self) -> say.Deliver:
        """Go on until the judge's accepted blocks are known and settled."""
        try:
            self._follow(self.coordinator.begin(self.ports.clock.now()))
            while self.delivery is None:
                if self._pending:
                    self._gather()
                    self._commit()
                else:
                    self._wait()
        finally:
            self.team.close()
        return self.delivery

    def _wait(self) -> None:
        """Wait for facts or for the coordinator's next deadline."""
        deadline = self.coordinator.next_deadline(self.ports.clock.now())
        facts = self.team.wait(None if deadline is None else deadline + 1)
        self._take(facts)
        if not facts:
            self._tell(say.Tick())

    def _gather(self) -> None:
        """Let what ends within a moment share the block: a block costs about as much for one entry as for many."""
        now = self.ports.clock.now()
        deadline, until = self.coordinator.next_deadline(now), now + GATHER_MS
        if deadline is not None and deadline < until + GATHER_MS:
            return
        while self.team.busy and self.ports.clock.now() < until:
            facts = self.team.wait(until)
            if not facts:
                return
            self._take(facts)

    def _take(self, facts: Sequence[Fact]) -> None:
        """Take facts in order; deliveries that no restart would know are noted first, all at once."""
        unnoted = [fact for fact in facts if isinstance(fact, Delivered) and not fact.noted]
        if unnoted:
            self.ports.blobs.flush()
            self.ports.store.put_private([self._note(fact.microjob, fact.outputs) for fact in unnoted])
        for fact in facts:
            self._take_one(fact)

    def _take_one(self, fact: Fact) -> None:
        match fact:
            case Broken(error=error):
                raise error
            case Refereed(block=block, digest=digest):
                self._tell(say.Recomputed(block, digest))
            case Worked(microjob=microjob, posted=posted):
                self._worked(microjob, posted, _outputs(fact))
            case Rooted(microjob=index):
                self._rooted(index)
            case Delivered(microjob=index, outputs=outputs):
                self._tell(say.Arrived(index, outputs))
            case Revealed(microjob=index, openings=openings):
                self._tell(say.Opened(index, openings))
            case Gone(microjob=index, seats=seats):
                self._tell(say.HolderLost(index, seats))
            case Unanswered(microjob=index):
                self._tell(say.RootLost(index))
            case BuyerSpoke(secret=secret):
                self._tell(say.BuyerRevealed(secret))

    def _rooted(self, index: int) -> None:
        spec = self.coordinator.spec
        self._tell(say.RootPosted(*self.book.root(self.book.order(spec.job_id, spec.attempt), index)))

    def _worked(self, microjob: MicroJob, posted: Posted | None, outputs: tuple[Output, ...] | None) -> None:
        """Queue the root of a worker of this home for the log; its bytes count once the root stands."""
        key = self.team.key(microjob.seat)
        if posted is None or key is None:
            self._tell(say.RootLost(microjob.index))
            return
        note = () if outputs is None else (self._note(microjob.index, outputs),)
        told = partial(self._root_told, microjob.index, outputs, note)
        self._pending.append(_Waiting(Submission((Draft(key, posted.payload),), note), told))

    def _root_told(
        self, index: int, outputs: tuple[Output, ...] | None, note: Note, outcome: Outcome, block: Block | None
    ) -> None:
        """Tell the coordinator what became of a worker's root, and of the bytes that came with it."""
        if isinstance(outcome, Accepted) and block is not None:
            self._rooted(index)
        elif isinstance(outcome, Accepted) or not isinstance(outcome.error, DuplicateError):
            self._tell(say.RootLost(index))
            return
        else:
            # The root was logged before a restart, the bytes come now: they count only once they are noted durably.
            self.ports.store.put_private(note)
        if outputs is not None:
            self._tell(say.Arrived(index, outputs))

    def _note(self, microjob: int, outputs: tuple[Output, ...]) -> tuple[str, bytes]:
        spec = self.coordinator.spec
        return delivery_key(spec.job_id, spec.attempt, microjob), spell_delivery(outputs)

    def _commit(self) -> None:
        """Commit what waits, in one block, and tell the coordinator; what the block has no room for waits on."""
        pending, self._pending = self._pending, []
        outcomes, block = self.book.log([waiting.submission for waiting in pending], self._check_settlement)
        for waiting, outcome in zip(pending, outcomes, strict=True):
            if not isinstance(outcome, Accepted) and isinstance(outcome.error, BlockFullError):
                self._pending.append(waiting)
            else:
                waiting.told(outcome, block)

    def _check_settlement(self, claimed: JobSettled) -> None:
        """Recompute the verdicts from the evidence, as `process` must."""
        machine = self.coordinator
        evidence = machine.evidence()
        check_settlement(machine.settling(evidence, judge(evidence, machine.reference)), claimed)

    def _tell(self, stimulus: say.Stimulus) -> None:
        now = self.ports.clock.now()
        if now > self.coordinator.spec.deadlines.commit and not self._counted:
            self._counted = True
            self._count_roots(now)
        self._follow(self.coordinator.handle(stimulus, now))

    def _count_roots(self, now: int) -> None:
        """Tell of roots that came into the log by another way: the uploads close over all that stand there."""
        spec = self.coordinator.spec
        order = self.book.order(spec.job_id, spec.attempt)
        for index in self.book.roots(spec.job_id):
            if index not in self.coordinator.roots:
                self._follow(self.coordinator.handle(say.RootPosted(*self.book.root(order, index)), now))

    def _follow(self, instructions: Sequence[say.Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case say.Log(payloads=payloads):
                    self._pending.append(self._own(payloads))
                case say.Dispatch(microjobs=microjobs):
                    for microjob in microjobs:
                        self.team.hand(microjob)
                case say.Reveal(microjobs=indices):
                    self._reveal(indices)
                case say.Recompute(blocks=blocks):
                    for block in blocks:
                        self.team.referee(block)
                case say.Deliver():
                    self.delivery = instruction

    def _own(self, payloads: tuple[Payload, ...]) -> _Waiting:
        """Queue the coordinator's own payloads; a settlement becomes durable together with the openings it rests on."""
        key, spec = self.book.engine.parameters.coordinator, self.coordinator.spec
        private: Note = ()
        if isinstance(payloads[-1], JobSettled):
            private = ((openings_key(spec.job_id, spec.attempt), spell_openings(self.coordinator.opened)),)
        return _Waiting(
            Submission(tuple(Draft(key, payload) for payload in payloads), private), partial(self._own_told, payloads)
        )

    def _own_told(self, payloads: tuple[Payload, ...], outcome: Outcome, block: Block | None) -> None:
        """Tell the coordinator that its payloads stand; only a reassignment may be refused, when a root came first."""
        last = payloads[-1]
        if isinstance(outcome, Accepted) and block is not None:
            self._tell(say.Logged(last, block.header.digest, block.context.time))
        elif isinstance(outcome, Accepted):
            raise StoreError("an entry was accepted without a block")
        elif isinstance(last, MicroJobReassigned):
            self._tell(say.Refused(last))
        else:
            raise outcome.error

    def _reveal(self, indices: tuple[int, ...]) -> None:
        machine = self.coordinator
        for index in indices:
            delivered = [output.digest for output in machine.arrived[index]]
            self.team.ask(machine.plan.microjobs[index], delivered, machine.chal)

    def accepted_bytes(self, block: int, digest: bytes) -> bytes:
        """Return the accepted bytes of a block: kept, computed again, or asked again of a worker that holds it.

        A power cut may take what was uploaded. The kernel gives right bytes back; only the worker has wrong ones that
        nobody looked at.

        Raises:
            StoreError: nobody has them any more.
        """
        machine = self.coordinator
        kept = self.ports.blobs.get(digest)
        if kept is not None:
            return kept
        again = self.team.compute(block_region(machine.spec, machine.plan.layout, block))
        if sha256(again) == digest:
            return again
        for microjob in machine.plan.microjobs:
            if any(slot.block == block for slot in microjob.slots):
                found = self.team.again(microjob).get(digest)
                if found is not None:
                    return found
        raise StoreError(f"the accepted bytes of block {block} were lost, and its worker does not give them again")


def _outputs(fact: Worked) -> tuple[Output, ...] | None:
    """Return the uploaded slots in order, None unless every one of them came."""
    slots = range(len(fact.microjob.slots))
    if fact.posted is None or any(slot not in fact.uploads for slot in slots):
        return None
    return tuple(Output(*fact.uploads[slot], fact.posted.meta) for slot in slots)
