"""Drives one attempt of one job to its delivery: coordinator's instructions out, facts back in.

The calling thread owns the ledger. Workers and the referee run in a pool and answer through one queue; everything that
waits to be logged is committed together.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from tallystick.commitment import Output
from tallystick.errors import DuplicateError, StoreError
from tallystick.kernels.lanczos import Region
from tallystick.ledger.payloads import JobSettled, Payload
from tallystick.ledger.transactions import Draft
from tallystick.node import coordinator as say
from tallystick.node.book import Book
from tallystick.node.deliveries import delivery_key, spell_delivery
from tallystick.node.ports import Picture, Ports
from tallystick.node.sequencer import Accepted, Block, Outcome, Submission
from tallystick.node.settling import check_settlement
from tallystick.node.worker import Assignment, Laborer, Posted
from tallystick.primitives.digests import sha256
from tallystick.slicing import MicroJob, block_region
from tallystick.verification.judge import judge


@dataclass(frozen=True, slots=True)
class _Worked:
    """A worker ended a micro job: what it posts, and what it uploaded."""

    microjob: MicroJob
    posted: Posted | None
    uploads: dict[int, tuple[bytes, int]]


@dataclass(frozen=True, slots=True)
class _Refereed:
    """The referee computed some blocks."""

    digests: dict[int, bytes]


@dataclass(frozen=True, slots=True)
class _Broken:
    """A thread of ours failed; the job stays where it is and can be resumed."""

    error: BaseException


_Fact = _Worked | _Refereed | _Broken


@dataclass(slots=True)
class JobRun:
    """One attempt in progress."""

    book: Book
    ports: Ports
    coordinator: say.Coordinator
    picture: Picture
    laborers: Sequence[Laborer]
    delivery: say.Deliver | None = None
    _facts: queue.SimpleQueue[_Fact] = field(default_factory=queue.SimpleQueue)
    _pending: list[tuple[Submission, Callable[[Outcome, Block | None], None]]] = field(default_factory=list)

    def to_delivery(self) -> say.Deliver:
        """Go on until the judge's accepted blocks are known and settled."""
        pool = ThreadPoolExecutor(self.ports.threads, thread_name_prefix="tally")
        try:
            self._follow(self.coordinator.begin(self.ports.clock.now()), pool)
            while self.delivery is None:
                if self._pending:
                    self._commit()
                else:
                    self._wait(pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return self.delivery

    def _wait(self, pool: ThreadPoolExecutor) -> None:
        """Wait for a fact or for the coordinator's next deadline, then take everything that is there."""
        now = self.ports.clock.now()
        deadline = self.coordinator.next_deadline(now)
        try:
            fact = self._facts.get(timeout=None if deadline is None else max(0.0, (deadline + 1 - now) / 1000))
        except queue.Empty:
            self._tell(say.Tick(), pool)
            return
        self._take(fact, pool)
        while not self._facts.empty():
            self._take(self._facts.get(), pool)

    def _take(self, fact: _Fact, pool: ThreadPoolExecutor) -> None:
        match fact:
            case _Broken(error=error):
                raise error
            case _Refereed(digests=digests):
                for block, digest in digests.items():
                    self._tell(say.Recomputed(block, digest), pool)
            case _Worked():
                self._worked(fact, pool)

    def _worked(self, fact: _Worked, pool: ThreadPoolExecutor) -> None:
        """Queue a worker's root for the log; its bytes count once the root stands."""
        index = fact.microjob.index
        if fact.posted is None:
            self._tell(say.RootLost(index), pool)
            return
        posted, outputs = fact.posted, _outputs(fact)
        laborer = self.laborers[fact.microjob.seat]
        private = () if outputs is None else ((self._delivery_key(index), spell_delivery(outputs)),)

        def logged(outcome: Outcome, block: Block | None) -> None:
            if isinstance(outcome, Accepted) and block is not None:
                spec = self.coordinator.spec
                standing = self.book.root(self.book.order(spec.job_id, spec.attempt), index)
                self._tell(say.RootPosted(*standing), pool)
            elif isinstance(outcome, Accepted) or not isinstance(outcome.error, DuplicateError):
                self._tell(say.RootLost(index), pool)
            if outputs is not None:
                self._tell(say.Arrived(index, outputs), pool)

        self._pending.append((Submission((Draft(laborer.key, posted.payload),), private), logged))

    def _delivery_key(self, microjob: int) -> str:
        return delivery_key(self.coordinator.spec.job_id, self.coordinator.spec.attempt, microjob)

    def _commit(self) -> None:
        """Commit everything that waits, in one block, and tell the coordinator."""
        pending, self._pending = self._pending, []
        outcomes, block = self.book.log([submission for submission, _ in pending], self._check_settlement)
        for (_, logged), outcome in zip(pending, outcomes, strict=True):
            logged(outcome, block)

    def _check_settlement(self, claimed: JobSettled) -> None:
        """Recompute the verdicts from the evidence, as `process` must."""
        machine = self.coordinator
        evidence = machine.evidence()
        check_settlement(machine.settling(evidence, judge(evidence, machine.reference)), claimed)

    def _tell(self, stimulus: say.Stimulus, pool: ThreadPoolExecutor) -> None:
        self._follow(self.coordinator.handle(stimulus, self.ports.clock.now()), pool)

    def _follow(self, instructions: Sequence[say.Instruction], pool: ThreadPoolExecutor) -> None:
        for instruction in instructions:
            match instruction:
                case say.Log(payloads=payloads):
                    self._pending.append(self._own(payloads, pool))
                case say.Dispatch(microjobs=microjobs):
                    for microjob in microjobs:
                        pool.submit(self._guard, partial(self._work, microjob))
                case say.Reveal(microjobs=indices):
                    self._reveal(indices, pool)
                case say.Recompute(blocks=blocks):
                    for block in blocks:
                        pool.submit(self._guard, partial(self._referee, block))
                case say.Deliver():
                    self.delivery = instruction

    def _own(
        self, payloads: tuple[Payload, ...], pool: ThreadPoolExecutor
    ) -> tuple[Submission, Callable[[Outcome, Block | None], None]]:
        key = self.book.engine.parameters.coordinator

        def logged(outcome: Outcome, block: Block | None) -> None:
            if not isinstance(outcome, Accepted):
                raise outcome.error
            if block is None:
                raise StoreError("an entry was accepted without a block")
            stands = say.Logged(payloads[-1], block.header.digest, block.context.time)
            self._tell(stands, pool)

        return Submission(tuple(Draft(key, payload) for payload in payloads)), logged

    def _reveal(self, indices: tuple[int, ...], pool: ThreadPoolExecutor) -> None:
        machine = self.coordinator
        for index in indices:
            microjob = machine.plan.microjobs[index]
            assignment = Assignment(machine.spec, microjob)
            digests = [output.digest for output in machine.arrived[index]]
            openings = self.laborers[microjob.seat].open(assignment, digests)
            self._tell(say.Opened(index, openings), pool)

    def _guard(self, act: Callable[[], _Fact]) -> None:
        """Run in a thread of the pool: every outcome, failure included, becomes a fact."""
        try:
            fact = act()
        except BaseException as error:  # noqa: BLE001 - the owner of the queue raises it again
            fact = _Broken(error)
        self._facts.put(fact)

    def _work(self, microjob: MicroJob) -> _Worked:
        """Let a worker compute one micro job; the node hashes and keeps what is uploaded."""
        spec, uploads = self.coordinator.spec, dict[int, tuple[bytes, int]]()

        def upload(slot: int, data: bytes) -> bytes:
            digest = sha256(data)
            if slot < len(microjob.slots):
                self.ports.blobs.put(digest, data)
                uploads[slot] = (digest, len(data))
            return digest

        laborer = self.laborers[microjob.seat]
        posted = laborer.work(Assignment(spec, microjob), self.compute, upload)
        return _Worked(microjob, posted, uploads)

    def compute(self, region: Region) -> bytes:
        """Run one region of the output."""
        return self.ports.executor.run(self.coordinator.spec, self.picture.raster.samples, region)

    def _referee(self, block: int) -> _Refereed:
        """Compute one block with the reference kernel and keep the bytes."""
        machine = self.coordinator
        data = self.compute(block_region(machine.spec, machine.plan.layout, block))
        digest = sha256(data)
        if not self.ports.blobs.has(digest):
            self.ports.blobs.put(digest, data)
        return _Refereed({block: digest})


def _outputs(fact: _Worked) -> tuple[Output, ...] | None:
    """Return the uploaded slots in order, None unless every one of them came."""
    if fact.posted is None or len(fact.uploads) != len(fact.microjob.slots):
        return None
    return tuple(Output(*fact.uploads[slot], fact.posted.meta) for slot in range(len(fact.microjob.slots)))
