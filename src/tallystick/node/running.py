"""Drives one attempt of one job to its delivery: coordinator's instructions out, facts back in.

The calling thread owns the ledger. Workers and the referee run in a crew; everything that waits to be logged is
committed together. What a worker hands over is held to its form here, so that nothing it says can stop the job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from tallystick.commitment import Opening, Output
from tallystick.errors import BlockFullError, DuplicateError, MalformedError, StoreError
from tallystick.kernels.lanczos import Region
from tallystick.ledger.payloads import JobSettled, Payload, SubmitResult
from tallystick.ledger.transactions import Draft
from tallystick.node import coordinator as say
from tallystick.node.book import Book
from tallystick.node.crew import Act, Broken, Crew, Fact, Refereed, ThreadCrew, Worked
from tallystick.node.deliveries import delivery_key, openings_key, spell_delivery, spell_openings
from tallystick.node.ports import Picture, Ports
from tallystick.node.sequencer import Accepted, Block, Outcome, Submission
from tallystick.node.settling import check_settlement
from tallystick.node.worker import Assignment, Laborer, Posted, Worker
from tallystick.primitives import canonical
from tallystick.primitives.digests import sha256
from tallystick.slicing import MicroJob, block_region
from tallystick.verification.judge import judge

GATHER_MS = 500
"""How long an entry waits for others to share its block, while blocks are being computed."""

_DIGEST_BYTES = 32
_P = ParamSpec("_P")
_T = TypeVar("_T")


class _OursError(Exception):
    """A failure of this home while it served a worker: never the worker's fault."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A submission that waits for a block, and what to do when its outcome is known."""

    submission: Submission
    told: Callable[[Outcome, Block | None], None]


@dataclass(slots=True)
class JobRun:
    """One attempt in progress; without a crew it hires the threads of its ports."""

    book: Book
    ports: Ports
    coordinator: say.Coordinator
    picture: Picture
    laborers: Sequence[Laborer]
    crew: Crew | None = None
    delivery: say.Deliver | None = None
    _pending: list[_Waiting] = field(default_factory=list)
    _running: int = 0
    _crew: Crew = field(init=False)

    def __post_init__(self) -> None:
        """Have a crew in any case."""
        self._crew = self.crew or ThreadCrew(self.ports.threads, self.ports.clock)

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
            self._crew.close()
        return self.delivery

    def _wait(self) -> None:
        """Wait for facts or for the coordinator's next deadline."""
        deadline = self.coordinator.next_deadline(self.ports.clock.now())
        facts = self._crew.wait(None if deadline is None else deadline + 1)
        for fact in facts:
            self._take(fact)
        if not facts:
            self._tell(say.Tick())

    def _gather(self) -> None:
        """Let what ends within a moment share the block: a block costs about as much for one entry as for many."""
        now = self.ports.clock.now()
        deadline, until = self.coordinator.next_deadline(now), now + GATHER_MS
        if deadline is not None and deadline < until + GATHER_MS:
            return
        while self._running and self.ports.clock.now() < until:
            facts = self._crew.wait(until)
            if not facts:
                return
            for fact in facts:
                self._take(fact)

    def _submit(self, act: Act) -> None:
        self._running += 1
        self._crew.submit(act)

    def _take(self, fact: Fact) -> None:
        self._running -= 1
        match fact:
            case Broken(error=error):
                raise error
            case Refereed(block=block, digest=digest):
                self._tell(say.Recomputed(block, digest))
            case Worked(microjob=microjob, posted=posted) if _fits(self.coordinator.spec.job_id, fact):
                self._worked(microjob, posted, _outputs(fact))
            case Worked(microjob=microjob):
                self._tell(say.RootLost(microjob.index))

    def _worked(self, microjob: MicroJob, posted: Posted | None, outputs: tuple[Output, ...] | None) -> None:
        """Queue a worker's root for the log; its bytes count once the root stands."""
        if posted is None:
            self._tell(say.RootLost(microjob.index))
            return
        note = () if outputs is None else ((self._delivery_key(microjob.index), spell_delivery(outputs)),)
        draft = Draft(self.laborers[microjob.seat].key, posted.payload)
        told = partial(self._root_told, microjob.index, outputs, note)
        self._pending.append(_Waiting(Submission((draft,), note), told))

    def _root_told(
        self,
        index: int,
        outputs: tuple[Output, ...] | None,
        note: Sequence[tuple[str, bytes]],
        outcome: Outcome,
        block: Block | None,
    ) -> None:
        """Tell the coordinator what became of a worker's root, and of the bytes that came with it."""
        if isinstance(outcome, Accepted) and block is not None:
            spec = self.coordinator.spec
            self._tell(say.RootPosted(*self.book.root(self.book.order(spec.job_id, spec.attempt), index)))
        elif isinstance(outcome, Accepted) or not isinstance(outcome.error, DuplicateError):
            self._tell(say.RootLost(index))
            return
        else:
            # The root was logged before a restart, the bytes come now: they count only once they are noted durably.
            self.ports.store.put_private(note)
        if outputs is not None:
            self._tell(say.Arrived(index, outputs))

    def _delivery_key(self, microjob: int) -> str:
        return delivery_key(self.coordinator.spec.job_id, self.coordinator.spec.attempt, microjob)

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
        self._follow(self.coordinator.handle(stimulus, self.ports.clock.now()))

    def _follow(self, instructions: Sequence[say.Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case say.Log(payloads=payloads):
                    self._pending.append(self._own(payloads))
                case say.Dispatch(microjobs=microjobs):
                    for microjob in microjobs:
                        self._submit(partial(self._work, microjob))
                case say.Reveal(microjobs=indices):
                    self._reveal(indices)
                case say.Recompute(blocks=blocks):
                    for block in blocks:
                        self._submit(partial(self._referee, block))
                case say.Deliver():
                    self.delivery = instruction

    def _own(self, payloads: tuple[Payload, ...]) -> _Waiting:
        """Queue the coordinator's own payloads; a settlement becomes durable together with the openings it rests on."""
        key, spec = self.book.engine.parameters.coordinator, self.coordinator.spec
        private: tuple[tuple[str, bytes], ...] = ()
        if isinstance(payloads[-1], JobSettled):
            private = ((openings_key(spec.job_id, spec.attempt), spell_openings(self.coordinator.opened)),)

        def told(outcome: Outcome, block: Block | None) -> None:
            if not isinstance(outcome, Accepted):
                raise outcome.error
            if block is None:
                raise StoreError("an entry was accepted without a block")
            self._tell(say.Logged(payloads[-1], block.header.digest, block.context.time))

        return _Waiting(Submission(tuple(Draft(key, payload) for payload in payloads), private), told)

    def _reveal(self, indices: tuple[int, ...]) -> None:
        for index in indices:
            self._tell(say.Opened(index, self._opened(index)))

    def _opened(self, index: int) -> tuple[Opening, ...] | None:
        """Ask a worker for its openings; one that fails, or answers in no form of ours, is silent."""
        machine = self.coordinator
        microjob = machine.plan.microjobs[index]
        laborer, digests = self.laborers[microjob.seat], [output.digest for output in machine.arrived[index]]
        try:
            openings = laborer.open(Assignment(machine.spec, microjob), digests)
            # One more than wanted is enough for the judge to see that there are too many.
            taken = None if openings is None else tuple(openings[: len(microjob.slots) + 1])
            formed = taken is not None and all(map(_is_opening, taken))
        except Exception:
            if isinstance(laborer, Worker):
                raise
            return None
        return taken if formed else None

    def _work(self, microjob: MicroJob) -> Worked:
        """Let a worker compute one micro job; the node hashes and keeps what is uploaded."""
        uploads, keep = dict[int, tuple[bytes, int]](), _ours(self.ports.blobs.put)

        def upload(slot: int, data: bytes) -> bytes:
            digest = sha256(data)
            if 0 <= slot < len(microjob.slots):
                keep(digest, data)
                uploads[slot] = (digest, len(data))
            return digest

        return Worked(microjob, self._labor(microjob, upload), uploads)

    def _labor(self, microjob: MicroJob, upload: Callable[[int, bytes], bytes]) -> Posted | None:
        """Run a worker's code; what it raises is its own failure, unless the code or the failure is this home's."""
        laborer = self.laborers[microjob.seat]
        try:
            return laborer.work(Assignment(self.coordinator.spec, microjob), _ours(self._computing()), upload)
        except _OursError as failure:
            raise failure.__cause__ or failure from None
        except Exception:
            if isinstance(laborer, Worker):
                raise  # our own code, so our own failure: nobody waits for a deadline because of it
            return None

    def compute(self, region: Region) -> bytes:
        """Run one region of the output."""
        return self._computing()(region)

    def _computing(self) -> Callable[[Region], bytes]:
        """Return the executor with everything but the region."""
        return partial(self.ports.executor.run, self.coordinator.spec, self.picture.raster.samples)

    def _referee(self, block: int) -> Refereed:
        """Compute one block with the reference kernel and keep the bytes."""
        machine = self.coordinator
        data = self.compute(block_region(machine.spec, machine.plan.layout, block))
        digest = sha256(data)
        if not self.ports.blobs.has(digest):
            self.ports.blobs.put(digest, data)
        return Refereed(block, digest)

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
        again = self.compute(block_region(machine.spec, machine.plan.layout, block))
        if sha256(again) == digest:
            return again
        found: dict[bytes, bytes] = {}

        def upload(_slot: int, data: bytes) -> bytes:
            found[sha256(data)] = data
            return sha256(data)

        for microjob in machine.plan.microjobs:
            if digest not in found and any(slot.block == block for slot in microjob.slots):
                self._labor(microjob, upload)
        if digest not in found:
            raise StoreError(f"the accepted bytes of block {block} were lost, and its worker does not give them again")
        return found[digest]


def _ours(act: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return the act with its failures marked as this home's."""

    def marked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return act(*args, **kwargs)
        except Exception as error:
            raise _OursError from error

    return marked


def _is_opening(opening: Opening) -> bool:
    return all(isinstance(part, bytes) and len(part) == _DIGEST_BYTES for part in (opening.salt, opening.leaf))


def _fits(job_id: str, fact: Worked) -> bool:
    """Tell whether a worker's answer has the form of one, for the micro job that it was given."""
    if fact.posted is None:
        return True
    payload, meta = fact.posted.payload, fact.posted.meta
    try:
        canonical.decode(canonical.encode(payload), SubmitResult, what="SUBMIT_RESULT")
    except (MalformedError, TypeError, ValueError):
        return False
    formed = isinstance(meta, bytes) and len(meta) == _DIGEST_BYTES
    return formed and (payload.task_id, payload.microjob) == (job_id, fact.microjob.index)


def _outputs(fact: Worked) -> tuple[Output, ...] | None:
    """Return the uploaded slots in order, None unless every one of them came."""
    slots = range(len(fact.microjob.slots))
    if fact.posted is None or any(slot not in fact.uploads for slot in slots):
        return None
    return tuple(Output(*fact.uploads[slot], fact.posted.meta) for slot in slots)
