"""A job's life as its entries tell it: every attempt replayed through the ledger's tables, then through its rule book.

Knows which entries a bundle must hold and that nothing else may stand in it. Refuses to know who was right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from tallystick.audit.bundle import Bundle
from tallystick.audit.entries import Block, Chain, Entry, job_of
from tallystick.errors import DuplicateError, IncompleteError, TransitionError, VerificationError
from tallystick.job import JobSpec, spec_digest
from tallystick.ledger import machine
from tallystick.ledger import payloads as say
from tallystick.ledger.context import Context
from tallystick.ledger.genesis import Genesis, chain_id
from tallystick.ledger.records import Account, Record, Sealed, header_key
from tallystick.ledger.states import ESCROW_TRANSITIONS, EscrowState, JobPhase, next_phase
from tallystick.slicing import layout

AMPLE: Final = str(1 << 255)
"""Stands for balances, which a bundle does not show."""

_KEYED: Final = (
    say.JobSubmitted,
    say.JobScheduled,
    say.JobStarted,
    say.JobProgressUpdate,
    say.JobCompleted,
    say.JobFailed,
)
_ESCROW_ONLY: Final = (
    say.EscrowLocked,
    say.EscrowReleased,
    say.EscrowRefunded,
    say.EscrowDisputed,
    say.EscrowResolved,
)
_POOL: Final = (say.NodeRegistered, say.StakeDeposited, say.StakeWithdrawn)

P = TypeVar("P", bound=say.Payload)


@dataclass(frozen=True, slots=True)
class Said(Generic[P]):
    """One entry with its typed payload and the block that holds it."""

    payload: P
    entry: Entry
    block: Block


@dataclass(frozen=True, slots=True)
class Facts:
    """The entries of the last attempt, each where the law wants one; ``results`` by micro job, ``moved`` in order."""

    spec: JobSpec
    job: bytes
    locked: Said[say.EscrowLocked]
    submitted: Said[say.JobSubmitted]
    scheduled: Said[say.JobScheduled]
    started: Said[say.JobStarted]
    moved: tuple[Said[say.MicroJobReassigned], ...]
    results: dict[int, Said[say.SubmitResult]]
    closed: Said[say.UploadsClosed]
    drawn: Said[say.ChallengeDrawn]
    settled: Said[say.JobSettled]
    completed: Said[say.JobCompleted]
    published: Said[say.ArtifactPublished]


@dataclass(slots=True)
class _Replay:
    """Where the job stands while its entries are read in log order."""

    job_id: str
    coordinator: bytes
    phase: JobPhase = JobPhase.ABSENT
    attempt: int = 0
    spec: JobSpec | None = None
    escrows: dict[int, EscrowState] = field(default_factory=dict)
    keys: dict[tuple[bytes, str], str] = field(default_factory=dict)
    sequence: int = 0
    done: int = 0

    def take(self, entry: Entry, attempt: int) -> None:
        """Move along the tables by one entry of the job."""
        payload = entry.payload
        self._take_key(entry)
        if isinstance(payload, _ESCROW_ONLY):
            self._move_escrow(entry, attempt)
            return
        if isinstance(payload, say.JobSubmitted):
            self._submit(entry, payload, attempt)
        self.phase = next_phase(self.phase, type(payload))
        if self.spec is None or attempt != self.attempt:
            raise VerificationError(f"attempt of {entry}", expected=self.attempt, actual=attempt)
        if not isinstance(payload, say.JobSubmitted | say.SubmitResult):
            _expect_signer(entry, self.coordinator)
        if isinstance(payload, say.JobSettled):
            self._move_escrow(entry, attempt)
        elif isinstance(payload, say.JobProgressUpdate):
            self._count(entry, payload, layout(self.spec).microjobs)
        elif isinstance(payload, say.MicroJobReassigned):
            _expect_place(entry, payload, self.spec)
        elif isinstance(payload, say.UploadsClosed):
            self._close(entry, layout(self.spec).microjobs - len(payload.missing))

    def _submit(self, entry: Entry, payload: say.JobSubmitted, attempt: int) -> None:
        if attempt != self.attempt + 1:
            raise VerificationError(f"attempt of {entry}", expected=self.attempt + 1, actual=attempt)
        _expect_signer(entry, bytes.fromhex(payload.spec.requester))
        if self.escrows.get(attempt) is not EscrowState.LOCKED:
            raise VerificationError(f"escrow before {entry}", expected="EscrowLocked", actual="none that is locked")
        self.attempt, self.spec, self.sequence, self.done = attempt, payload.spec, 0, 0

    def _take_key(self, entry: Entry) -> None:
        if isinstance(entry.payload, _KEYED):
            key = (entry.transaction.sender, machine.event_key_of(entry.payload))
            if key in self.keys:
                raise DuplicateError(key[1], self.keys[key])
            self.keys[key] = entry.transaction.tx_hash

    def _move_escrow(self, entry: Entry, attempt: int) -> None:
        state = self.escrows.get(attempt, EscrowState.ABSENT)
        event = type(entry.payload)
        targets = ESCROW_TRANSITIONS.get((state, event))
        if not targets:
            raise TransitionError("escrow", state.value, event.__name__)
        # Which of several final states it is follows from the money; none of them has a way out.
        self.escrows[attempt] = min(targets, key=lambda target: target.value)

    def _count(self, entry: Entry, payload: say.JobProgressUpdate, microjobs: int) -> None:
        """Numbers rise by one and arrivals rise, so that no update can be left out."""
        if payload.sequence != self.sequence + 1:
            raise VerificationError(f"number of {entry}", expected=self.sequence + 1, actual=payload.sequence)
        if not self.done < payload.done <= microjobs or payload.total != microjobs:
            expected = f"more than {self.done} of {microjobs}"
            raise VerificationError(
                f"arrivals of {entry}", expected=expected, actual=f"{payload.done} of {payload.total}"
            )
        self.sequence, self.done = payload.sequence, payload.done

    def _close(self, entry: Entry, arrived: int) -> None:
        if self.done != arrived:
            raise VerificationError(f"arrivals reported before {entry}", expected=arrived, actual=self.done)


def _expect_signer(entry: Entry, signer: bytes) -> None:
    if entry.transaction.sender != signer:
        actual = entry.transaction.sender.hex()
        raise VerificationError(f"signer of {entry}", expected=signer.hex(), actual=actual)


def _expect_place(entry: Entry, payload: say.MicroJobReassigned, spec: JobSpec) -> None:
    """Check that a reassignment names a micro job and a seat that there are; whose they were is for later steps."""
    bounds = (layout(spec).microjobs, len(spec.pool))
    if payload.microjob >= bounds[0] or payload.seat >= bounds[1]:
        actual = f"{payload.microjob} and {payload.seat}"
        raise VerificationError(
            f"micro job and seat of {entry}", expected=f"below {bounds[0]} and {bounds[1]}", actual=actual
        )


def check_lifecycle(bundle: Bundle, entries: Sequence[Entry], chain: Chain) -> Facts:
    """Replay every attempt through the tables and return the entries of the last one.

    Raises:
        IncompleteError: the job has not ended, or its last attempt ended without a result.
        TransitionError: an entry is missing, twice there, or out of order.
        VerificationError: an entry is somebody else's, of another job, or does not count on from the one before.
    """
    _check_belonging(bundle.job_id, entries)
    replay = _Replay(bundle.job_id, bytes.fromhex(bundle.genesis.coordinator))
    for entry in entries:
        about = job_of(entry.payload)
        if about is not None:
            replay.take(entry, about[1])
    if replay.attempt != bundle.attempt:
        raise VerificationError("last attempt", expected=bundle.attempt, actual=replay.attempt)
    if replay.phase is JobPhase.COMPLETED:
        raise VerificationError("entries after JobCompleted", expected="ArtifactPublished", actual="none")
    if replay.phase is not JobPhase.PUBLISHED:
        raise IncompleteError(f"incomplete: the job is {replay.phase.value}, so there is no result to judge")
    return _facts(entries, chain, bundle.attempt)


def _check_belonging(job_id: str, entries: Sequence[Entry]) -> None:
    """Nothing stands in the bundle but this job, its pool's registrations and bonds, and headers."""
    orders = [entry.payload.spec for entry in entries if isinstance(entry.payload, say.JobSubmitted)]
    workers = {bytes.fromhex(seat.worker) for spec in orders for seat in spec.pool}
    for entry in entries:
        about = job_of(entry.payload)
        ours = isinstance(entry.payload, _POOL) and entry.transaction.sender in workers
        if about is not None and about[0] != job_id:
            raise VerificationError(f"job of {entry}", expected=job_id, actual=about[0])
        if about is None and not ours and not isinstance(entry.payload, say.BlockHeader):
            raise VerificationError(f"{entry}", expected="an entry of the job or its pool", actual="another's")


def _facts(entries: Sequence[Entry], chain: Chain, attempt: int) -> Facts:
    last = [entry for entry in entries if (about := job_of(entry.payload)) is not None and about[1] == attempt]

    def every(kind: type[P]) -> list[Said[P]]:
        return [Said(entry.payload, entry, chain.block_of(entry)) for entry in last if isinstance(entry.payload, kind)]

    def only(kind: type[P]) -> Said[P]:
        found = every(kind)
        if len(found) != 1:
            raise VerificationError(f"entries of type {kind.__name__}", expected=1, actual=len(found))
        return found[0]

    submitted = only(say.JobSubmitted)
    return Facts(
        spec=submitted.payload.spec,
        job=spec_digest(submitted.payload.spec),
        locked=only(say.EscrowLocked),
        submitted=submitted,
        scheduled=only(say.JobScheduled),
        started=only(say.JobStarted),
        moved=tuple(every(say.MicroJobReassigned)),
        results=_by_microjob(every(say.SubmitResult)),
        closed=only(say.UploadsClosed),
        drawn=only(say.ChallengeDrawn),
        settled=only(say.JobSettled),
        completed=only(say.JobCompleted),
        published=only(say.ArtifactPublished),
    )


def _by_microjob(results: Sequence[Said[say.SubmitResult]]) -> dict[int, Said[say.SubmitResult]]:
    posted: dict[int, Said[say.SubmitResult]] = {}
    for said in results:
        known = posted.setdefault(said.payload.microjob, said)
        if known is not said:
            raise DuplicateError(f"the root of micro job {said.payload.microjob}", known.entry.transaction.tx_hash)
    return posted


@dataclass(slots=True)
class _Shown:
    """The state as far as a bundle shows it: accounts hold enough, and stand at the number of the entry at hand."""

    records: dict[str, Record] = field(default_factory=dict)
    nonce: int = 0

    def get(self, key: str) -> Record | None:
        """Return the record under a key, or None."""
        if key.startswith("account/"):
            return Account(AMPLE, self.nonce)
        return self.records.get(key)


def check_rules(genesis: Genesis, entries: Sequence[Entry], chain: Chain) -> int:
    """Apply every shown entry with the ledger's own rules at its block's height and time; return how many.

    Deadlines, authority, prices, bonds, secrets and amounts are all enforced there. What the bundle does not show is
    granted: balances, and locks and slashes of other jobs.

    Raises:
        RuleError: the ledger would have refused an entry.
        VerificationError: an entry claims something that the ledger computes differently.
    """
    shown, applied = _Shown(), 0
    context_of = _contexts(genesis, chain)
    for entry in entries:
        if isinstance(entry.payload, say.BlockHeader):
            sealed = Sealed(entry.transaction.digest.hex(), entry.payload.time)
            shown.records[header_key(entry.payload.height)] = sealed
            continue
        shown.nonce = entry.transaction.nonce
        changes = machine.apply(shown, entry.transaction, context_of(entry))
        shown.records.update(changes.writes)
        applied += 1
    return applied


def _contexts(genesis: Genesis, chain: Chain) -> Callable[[Entry], Context]:
    name, opening, closing = chain_id(genesis), chain.blocks[0], chain.blocks[-1]

    def context_of(entry: Entry) -> Context:
        # Registrations and bonds may lie outside the covered blocks; no rule of theirs asks for height or time.
        if entry.index < opening.first:
            block = opening
        else:
            block = closing if entry.index > closing.index else chain.block_of(entry)
        return Context(
            chain_id=name,
            coordinator=bytes.fromhex(genesis.coordinator),
            arbiter=bytes.fromhex(genesis.arbiter),
            gas_price_min=genesis.gas_price_min,
            gas_limit=genesis.gas_limit,
            height=block.header.height,
            time=block.header.time,
        )

    return context_of
