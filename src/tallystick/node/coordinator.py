"""The coordinator of one job: a machine of stimuli (past facts) and instructions (imperatives), without any I/O.

``handle(stimulus, now)`` is deterministic. The order of knowledge is kept here: all roots, then the uploads close, then
the challenge is drawn, then salts are revealed, then the judge speaks (DESIGN section 6). A stimulus that comes twice,
too late or unasked changes nothing. A restart builds the machine again from the ledger's records and goes on at the
same step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tallystick import commitment
from tallystick.commitment import Commitment, Opening, Output, buyer_commitment
from tallystick.errors import StoreError, VerificationError
from tallystick.job import JobSpec, spec_digest
from tallystick.ledger import payloads as say
from tallystick.ledger.holding import MOVES_MAX
from tallystick.ledger.states import JobPhase
from tallystick.node.settling import Settling, settle_job
from tallystick.node.stimuli import (
    Arrived,
    BuyerRevealed,
    Deliver,
    Dispatch,
    HolderLost,
    Instruction,
    Log,
    Logged,
    Opened,
    Recompute,
    Recomputed,
    Refused,
    Reveal,
    RootLost,
    RootPosted,
    Stimulus,
    Tick,
)
from tallystick.slicing import Move, Plan, plan, reassign
from tallystick.verification.challenge import challenge, challenged, missing_from, plan_seed
from tallystick.verification.judge import Case, judge, open_case, wanted
from tallystick.verification.separation import Separation, void_pairs
from tallystick.verification.verdict import Evidence, Judgement, Submission

__all__ = [
    "Arrived",
    "BuyerRevealed",
    "Coordinator",
    "Deliver",
    "Dispatch",
    "HolderLost",
    "Instruction",
    "Log",
    "Logged",
    "Opened",
    "Recompute",
    "Recomputed",
    "Refused",
    "Reveal",
    "RootLost",
    "RootPosted",
    "Secrets",
    "Stimulus",
    "Tick",
]


@dataclass(frozen=True, slots=True)
class Secrets:
    """The coordinator's and the buyer's 32-byte secrets of one attempt; ``buyer`` is None when the buyer is silent."""

    assign: bytes = field(repr=False)
    buyer: bytes | None = field(repr=False)


@dataclass(slots=True)
class Coordinator:
    """One attempt of one job, from the header over its order to its settlement."""

    spec: JobSpec
    secrets: Secrets
    header: bytes
    payees: Mapping[str, str]
    """Payout address of every worker of the pool, by public key in hex."""
    promise: bytes = b""
    """The buyer's commitment to its secret, where somebody else than this home knows that."""
    phase: JobPhase = JobPhase.SUBMITTED
    started: int = 0
    closing: bytes = b""
    roots_root: bytes = b""
    chal: bytes = b""
    roots: dict[int, Commitment] = field(default_factory=dict)
    root_times: dict[int, int] = field(default_factory=dict)
    arrived: dict[int, tuple[Output, ...]] = field(default_factory=dict)
    missing: tuple[int, ...] = ()
    opened: dict[int, tuple[Opening, ...] | None] = field(default_factory=dict)
    reference: dict[int, bytes] = field(default_factory=dict)
    progress: int = 0
    moves: Sequence[Move] = ()
    """Micro jobs that were given to another seat, in the order of the log."""
    job: bytes = b""
    plan: Plan = field(init=False)
    """Who holds what now; as it was drawn, but for the moves."""
    _there: set[int] = field(default_factory=set)
    _asked: frozenset[int] = frozenset()
    _due: set[int] = field(default_factory=set)
    _awaited: say.Payload | None = None
    """The last payload that was handed over to be logged and does not stand yet; reassignments stand beside it."""
    _moving: dict[int, tuple[say.MicroJobReassigned, Sequence[int]]] = field(default_factory=dict)
    """Reassignments that were handed over to be logged and do not stand yet, with the seats that come next."""
    _drawn: Plan = field(init=False)
    _separation: Separation | None = None
    """Made when the first holder is lost."""
    _case: Case | None = None
    _judgement: Judgement | None = None

    def __post_init__(self) -> None:
        """Draw the plan from the coordinator's secret and the header over the order."""
        self.job = spec_digest(self.spec)
        self._drawn = plan(self.spec, plan_seed(self.job, self.secrets.assign, self.header))
        self.plan = reassign(self._drawn, self.moves)
        for microjob in tuple(self.arrived):
            self._note_there(microjob)

    def begin(self, now: int) -> tuple[Instruction, ...]:
        """Return the first instructions at the phase the ledger is in: a fresh job's, or a restarted one's.

        Raises:
            StoreError: the job has ended without a result, or never began.
        """
        if self.phase in {JobPhase.ABSENT, JobPhase.FAILED}:
            raise StoreError(f"job {self.spec.job_id} is {self.phase.value} and cannot go on")
        match self.phase:
            case JobPhase.SUBMITTED:
                return (self._log(self._scheduled(now)),)
            case JobPhase.SCHEDULED:
                return (self._log(self._started(now)),)
            case JobPhase.RUNNING:
                return self._run(now)
            case JobPhase.CLOSED:
                return self._draw(now)
        # A settled job was opened before: what the settlement rests on is not asked for again.
        return self._judge(now) if self.opened else self._reveal(now)

    def handle(self, stimulus: Stimulus, now: int) -> tuple[Instruction, ...]:  # noqa: PLR0911 - an answer a stimulus
        """Take one fact and say what follows from it."""
        match stimulus:
            case Logged(payload=payload) if payload == self._awaited:
                self._awaited = None
                return self._logged(stimulus, now)
            case Logged(payload=say.MicroJobReassigned() as moved) | Refused(payload=moved):
                return self._moved(moved, now, stands=isinstance(stimulus, Logged))
            case HolderLost(microjob=index, seats=seats) if self._counts(index):
                return self._move(index, seats, now)
            case Opened(microjob=index, openings=openings) if index in self._asked and index not in self.opened:
                self.opened[index] = openings
                return self._judge(now)
            case Recomputed(block=block, digest=digest) if block in self._due:
                self.reference[block] = digest
                self._due.discard(block)
                return self._judge(now)
            case BuyerRevealed(secret=secret) if self.secrets.buyer is None and self.phase is JobPhase.CLOSED:
                if buyer_commitment(self.job, secret) == self.promise:
                    self.secrets = replace(self.secrets, buyer=secret)
                return self._draw(now)
            case RootPosted() | RootLost() | Arrived() if self._counts(stimulus.microjob):
                self._note(stimulus)
                return self._tick(now)
            case Tick():
                return self._tick(now)
        return ()

    def _note(self, stimulus: RootPosted | RootLost | Arrived) -> None:
        """Take in what a worker did while uploads are open; of two answers the first counts."""
        index = stimulus.microjob
        match stimulus:
            case RootPosted(commitment=posted, time=time) if index not in self.roots and posted.place.job == self.job:
                self.roots[index], self.root_times[index] = posted, time
            case Arrived(outputs=outputs) if index not in self.arrived:
                self.arrived[index] = outputs
            case _:
                pass
        self._note_there(index)

    def _move(self, index: int, seats: Sequence[int], now: int) -> tuple[Instruction, ...]:
        """Ask the log for the first seat that keeps copies apart, else the first; nothing if late or on its way."""
        spec, moves = self.spec, sum(move.microjob == index for move in self.moves)
        if index in self.roots or index in self._moving or moves >= MOVES_MAX or now > spec.deadlines.commit:
            return ()
        pool, here = range(len(spec.pool)), self.plan.microjobs[index].seat
        others = [seat for seat in seats if seat in pool and seat != here]
        if not others:
            return ()
        # Waiting for the commit deadline would cost the buyer more than the blocks that the referee recomputes.
        seat = next((seat for seat in others if self._keeps_apart(Move(index, seat))), others[0])
        moved = say.MicroJobReassigned(spec.job_id, spec.attempt, index, seat, now)
        self._moving[index] = moved, [other for other in others if other != seat]
        return (Log((moved,)),)

    def _keeps_apart(self, move: Move) -> bool:
        """Tell whether no operator would hold both executions of a block, as the audit will see it."""
        self._separation = self._separation or Separation(self.spec.pool, self._drawn, self.moves)
        try:
            self._separation.check(move, [Move(each.microjob, each.seat) for each, _ in self._moving.values()])
        except VerificationError:
            return False
        return True

    def _moved(self, moved: say.MicroJobReassigned, now: int, *, stands: bool) -> tuple[Instruction, ...]:
        """Hand a micro job to its new holder, or try the next; what the old one delivered is nobody's."""
        index, (asked, others) = moved.microjob, self._moving.get(moved.microjob, (None, ()))
        if asked != moved:
            return ()
        del self._moving[index]
        if not stands:
            return self._move(index, others, now) if self._counts(index) else ()
        move = Move(index, moved.seat)
        self.moves = (*self.moves, move)
        if self._separation is not None:
            self._separation.take(move)
        self.plan = reassign(self.plan, (move,))
        self.arrived.pop(index, None)
        return (Dispatch((self.plan.microjobs[index],)),) if self._counts(index) else ()

    def _counts(self, microjob: int) -> bool:
        """Tell whether what a worker does for a micro job still counts: the closing was not even asked for."""
        open_still = self.phase is JobPhase.RUNNING and not isinstance(self._awaited, say.UploadsClosed)
        return open_still and 0 <= microjob < len(self.plan.microjobs)

    def next_deadline(self, now: int) -> int | None:
        """Return the moment after which a Tick may change something, None when nothing waits for time."""
        deadlines = self.spec.deadlines
        if self.phase is JobPhase.RUNNING:
            return deadlines.commit if now <= deadlines.commit else deadlines.upload
        return deadlines.reveal if self.phase is JobPhase.CLOSED else None

    def owner(self, microjob: int) -> bytes:
        """Return the public key of the worker that holds a micro job."""
        return bytes.fromhex(self.spec.pool[self.plan.microjobs[microjob].seat].worker)

    def evidence(self) -> Evidence:
        """Lay out what the judge may look at."""
        absent = frozenset(self.missing)
        return Evidence(
            spec=self.spec,
            job=self.job,
            plan=self.plan,
            challenged=challenged(self.spec, self.plan, self.chal),
            submissions=tuple(
                Submission(
                    worker=self.owner(index),
                    commitment=self.roots.get(index),
                    delivered=None if index in absent else self.arrived.get(index),
                    openings=self.opened.get(index),
                )
                for index in range(len(self.plan.microjobs))
            ),
            void=void_pairs(self.spec.pool, self._drawn, self.moves),
        )

    def _log(self, *payloads: say.Payload) -> Log:
        self._awaited = payloads[-1]
        return Log(payloads)

    def _scheduled(self, now: int) -> say.JobScheduled:
        workers = [self.owner(index) for index in range(len(self.plan.microjobs))]
        root = commitment.assignments_root(self.job, self.secrets.assign, workers)
        return say.JobScheduled(self.spec.job_id, self.spec.attempt, len(workers), root.hex(), now)

    def _started(self, now: int) -> say.JobStarted:
        return say.JobStarted(self.spec.job_id, self.spec.attempt, now)

    def _logged(self, logged: Logged, now: int) -> tuple[Instruction, ...]:
        match logged.payload:
            case say.JobScheduled():
                self.phase = JobPhase.SCHEDULED
                return (self._log(self._started(now)),)
            case say.JobStarted():
                self.phase, self.started = JobPhase.RUNNING, logged.time
                return self._run(now)
            case say.UploadsClosed() as payload:
                self.phase, self.closing = JobPhase.CLOSED, logged.header
                self.missing, self.roots_root = payload.missing, bytes.fromhex(payload.roots_root)
                return self._draw(now)
            case say.ChallengeDrawn() as payload:
                self.phase, self.chal = JobPhase.CHALLENGED, bytes.fromhex(payload.challenge)
                return self._reveal(now)
            case say.JobSettled():
                self.phase = JobPhase.SETTLED
                return self._judge(now)
            case _:
                return self._tick(now)

    def _run(self, now: int) -> tuple[Instruction, ...]:
        wanting = tuple(
            each for each in self.plan.microjobs if each.index not in self.roots or each.index not in self.arrived
        )
        if wanting:
            return (Dispatch(wanting),)
        return self._tick(now)

    def _tick(self, now: int) -> tuple[Instruction, ...]:
        """Report progress, and close the uploads when all have come or their time is over."""
        if self._awaited is not None or self.phase not in {JobPhase.RUNNING, JobPhase.CLOSED}:
            return ()
        if self.phase is JobPhase.CLOSED:
            return self._draw(now)
        deadlines, count = self.spec.deadlines, len(self.plan.microjobs)
        there = self._there
        nothing_more = now > deadlines.upload or (now > deadlines.commit and len(there) == len(self.roots))
        closing = len(there) == count or nothing_more
        updates = self._updates(len(there), now)
        if closing:
            return (self._log(*updates, self._closed(there, now)),)
        return (self._log(*updates),) if updates else ()

    def _updates(self, there: int, now: int) -> tuple[say.JobProgressUpdate, ...]:
        """Return one update for all arrivals since the last; numbers follow each other."""
        updates = []
        total = len(self.plan.microjobs)
        while self.progress < there:
            self.progress += 1
            updates.append(
                say.JobProgressUpdate(self.spec.job_id, self.spec.attempt, self.progress, self.progress, total, now)
            )
        return tuple(updates)

    def _note_there(self, microjob: int) -> None:
        """Count a micro job whose root is logged and whose bytes are here."""
        if microjob in self.roots and microjob in self.arrived:
            self._there.add(microjob)

    def _closed(self, there: set[int], now: int) -> say.UploadsClosed:
        roots = [self.roots.get(index) for index in range(len(self.plan.microjobs))]
        root = commitment.roots_root([None if each is None else each.root for each in roots])
        missing = missing_from(there, len(roots))
        return say.UploadsClosed(self.spec.job_id, self.spec.attempt, root.hex(), missing, now)

    def _draw(self, now: int) -> tuple[Instruction, ...]:
        """Draw the challenge with the buyer's secret, or with the coordinator's once the buyer's time is over."""
        buyer = self.secrets.buyer
        if self._awaited is not None or (buyer is None and now <= self.spec.deadlines.reveal):
            return ()
        secret = self.secrets.assign if buyer is None else buyer
        chal = challenge(self.job, self.roots_root, self.closing, secret)
        drawn = say.ChallengeDrawn(
            job_id=self.spec.job_id,
            attempt=self.spec.attempt,
            header=self.closing.hex(),
            roots_root=self.roots_root.hex(),
            challenge=chal.hex(),
            secret=secret.hex(),
            drawn_by=say.Drawer.OPERATOR if buyer is None else say.Drawer.BUYER,
            occurred_at=now,
        )
        return (self._log(drawn),)

    def _reveal(self, now: int) -> tuple[Instruction, ...]:
        """Ask for the openings of everything that came in time; the rest has nothing to open."""
        absent = set(self.missing)
        wanting = tuple(index for index in sorted(self._there) if index not in absent)
        self._asked = frozenset(wanting)
        for index in range(len(self.plan.microjobs)):
            if index not in self._asked:
                self.opened[index] = None
        return (Reveal(wanting),) if wanting else self._judge(now)

    def _judge(self, now: int) -> tuple[Instruction, ...]:
        """Ask for what the judge still wants, then settle, and after settlement deliver."""
        if self._awaited is not None or self._due or len(self.opened) < len(self.plan.microjobs):
            return ()
        self._case = self._case or open_case(self.evidence())
        blocks = wanted(self._case, self.reference)
        if blocks:
            self._due = set(blocks)
            return (Recompute(blocks),)
        evidence = self._case.evidence
        self._judgement = self._judgement or judge(self._case, self.reference)
        if self.phase is JobPhase.CHALLENGED:
            return (self._log(settle_job(self.settling(evidence, self._judgement), now)),)
        return (Deliver(self._judgement, evidence),)

    def settling(self, evidence: Evidence, judgement: Judgement) -> Settling:
        """Return what a settlement is made from."""
        elapsed = [
            self.root_times[index] - self.started if index in self.root_times else None
            for index in range(len(self.plan.microjobs))
        ]
        return Settling(evidence, judgement, self.secrets.assign, tuple(elapsed), self.payees)
