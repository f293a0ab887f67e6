"""Rules of a job's life, from the order to its output (DESIGN section 6); every step goes through JOB_TRANSITIONS."""

from __future__ import annotations

import msgspec

from tallystick import commitment
from tallystick.errors import AuthorityError, DeadlineError, DuplicateError, RuleError, StakeError, VerificationError
from tallystick.job import ZERO_CLASS_ID, JobSpec, spec_digest
from tallystick.ledger import payloads as say
from tallystick.ledger.context import Context, require_after, require_until
from tallystick.ledger.holding import MOVES_MAX, holder, moved
from tallystick.ledger.records import (
    Closing,
    Escrow,
    Job,
    Moved,
    Node,
    Order,
    Overlay,
    Result,
    Sealed,
    closing_key,
    escrow_key,
    header_key,
    job_key,
    moved_key,
    node_key,
    order_key,
    result_key,
)
from tallystick.ledger.settlement import exposure, quote
from tallystick.ledger.states import EscrowState, JobPhase, next_phase
from tallystick.ledger.transactions import Transaction
from tallystick.primitives.amounts import parse_wei
from tallystick.slicing import Layout, check_separable, check_task, layout
from tallystick.verification.challenge import challenge
from tallystick.verification.deterrence import check_policy


def require_job(work: Overlay, job_id: str, attempt: int, event: type) -> tuple[Job, Order]:
    """Return the job and its order, moved along the table by one event.

    Raises:
        RuleError: the job or attempt is unknown.
        TransitionError: the table has no such row.
    """
    job = work.need(Job, job_key(job_id))
    if job.attempt != attempt:
        raise RuleError(f"job {job_id} is at attempt {job.attempt}, not {attempt}")
    moved = msgspec.structs.replace(job, phase=next_phase(job.phase, event))
    work.put(job_key(job_id), moved)
    return moved, work.need(Order, order_key(job_id, attempt))


def submitted(work: Overlay, transaction: Transaction, payload: say.JobSubmitted, context: Context) -> None:
    """Accept an order whose price is locked, whose law deters, and whose pool is bonded."""
    spec = payload.spec
    known = work.find(Job, job_key(spec.job_id))
    phase = JobPhase.ABSENT if known is None else known.phase
    target = next_phase(phase, say.JobSubmitted)
    if spec.attempt != (1 if known is None else known.attempt + 1):
        raise RuleError(f"job {spec.job_id}: attempt {spec.attempt} does not follow the last one")
    if bytes.fromhex(spec.requester) != transaction.sender or (known and known.requester != spec.requester):
        raise AuthorityError(f"job {spec.job_id} belongs to another requester")
    if spec.chain_id != context.chain_id:
        raise RuleError(f"the order names chain {spec.chain_id}, this is {context.chain_id}")
    require_until("JobSubmitted", spec.deadlines.commit, context)
    check_task(spec)
    counts = layout(spec)
    check_separable(spec, counts)
    _require_price(work, spec)
    check_policy(spec, counts)
    _lock_bonds(work, spec, counts)
    order = Order(
        spec=spec,
        job=spec_digest(spec).hex(),
        assign_commitment=payload.assign_commitment,
        buyer_commitment=payload.buyer_commitment,
        occurred_at=payload.occurred_at,
        height=context.height,
    )
    work.put(order_key(spec.job_id, spec.attempt), order)
    job = Job(
        attempt=spec.attempt,
        phase=target,
        requester=spec.requester,
        submitted=transaction.tx_hash,
        microjobs=counts.microjobs,
        size=counts.size,
        slots=counts.slots,
    )
    work.put(job_key(spec.job_id), job)


def _require_price(work: Overlay, spec: JobSpec) -> None:
    escrow = work.need(Escrow, escrow_key(spec.job_id, spec.attempt))
    if escrow.state is not EscrowState.LOCKED or escrow.requester != spec.requester:
        raise RuleError(f"escrow of job {spec.job_id} is {escrow.state.value}, or another requester's")
    wanted = quote(spec)
    held = (escrow.work, escrow.duplicates, escrow.audits, escrow.reserve)
    asked = tuple(str(part) for part in (wanted.work, wanted.duplicates, wanted.audits, wanted.reserve))
    if held != asked:
        raise RuleError(f"the escrow holds (work, duplicates, audits, reserve) {held}, the order costs {asked}")


def _lock_bonds(work: Overlay, spec: JobSpec, counts: Layout) -> None:
    for seat in range(len(spec.pool)):
        _lock_bond(work, spec, seat, exposure(spec, counts, seat))


def _lock_bond(work: Overlay, spec: JobSpec, seat: int, needed: int) -> None:
    """Lock so much more of a seat's bond; its worker must be the named operator's, and as real as the order wants."""
    place = spec.pool[seat]
    node = work.need(Node, node_key(place.worker))
    if node.operator != place.operator:
        raise AuthorityError(f"worker {place.worker} is not run by operator {place.operator}")
    if node.simulated and not spec.simulated:
        raise RuleError(f"worker {place.worker} is simulated, so the order must say simulated")
    free = int(node.bond) - int(node.locked)
    if free < needed:
        raise StakeError(f"worker {place.worker} has {free} wei of bond free, {needed} are at stake: deposit more")
    work.bond(node, change=0, locked=needed)


def scheduled(work: Overlay, payload: say.JobScheduled, context: Context) -> None:
    """Fix the assignment under its salted commitments; JobSettled must open the same root."""
    job, order = require_job(work, payload.job_id, payload.attempt, say.JobScheduled)
    require_until("JobScheduled", order.spec.deadlines.commit, context)
    if payload.microjobs != job.microjobs:
        raise RuleError(f"the job has {job.microjobs} micro jobs, not {payload.microjobs}")
    work.put(job_key(payload.job_id), msgspec.structs.replace(job, assignments_root=payload.assignments_root))


def started(work: Overlay, payload: say.JobStarted, context: Context) -> None:
    """Note that the micro jobs were handed out."""
    _, order = require_job(work, payload.job_id, payload.attempt, say.JobStarted)
    require_until("JobStarted", order.spec.deadlines.commit, context)
    closing = Closing(height=0, roots_root="", missing=(), started=context.time)
    work.put(closing_key(payload.job_id, payload.attempt), closing)


def progressed(work: Overlay, payload: say.JobProgressUpdate) -> None:
    """Count arrivals; the numbers rise by one, and neither they nor the arrivals exceed the micro jobs."""
    job, _ = require_job(work, payload.job_id, payload.attempt, say.JobProgressUpdate)
    if payload.total != job.microjobs or payload.sequence != job.progress + 1:
        raise RuleError(f"progress {payload.sequence} of {payload.total} does not follow {job.progress}")
    if max(payload.sequence, payload.done) > job.microjobs:
        raise RuleError(f"the job has {job.microjobs} micro jobs: {payload.done} cannot have arrived")
    work.put(job_key(payload.job_id), msgspec.structs.replace(job, progress=payload.sequence))


def reassigned(work: Overlay, payload: say.MicroJobReassigned, context: Context) -> None:
    """Give a micro job whose root never came to another seat, and its stake with it.

    That the new seat's operator may hold it cannot be seen here, since the plan is secret: an audit sees it
    (docs/spec/plan.md, separation). The old holder gets its lock back and is neither paid nor slashed.
    """
    job, order = require_job(work, payload.job_id, payload.attempt, say.MicroJobReassigned)
    spec, index = order.spec, payload.microjob
    require_until("MicroJobReassigned", spec.deadlines.commit, context)
    if index >= job.microjobs or payload.seat >= len(spec.pool):
        asked = f"micro job {index} for seat {payload.seat}"
        raise RuleError(f"the job has {job.microjobs} micro jobs and {len(spec.pool)} seats: there is no {asked}")
    posted = work.find(Result, result_key(payload.job_id, payload.attempt, index))
    if posted is not None:
        raise DuplicateError(f"the root of micro job {index}", posted.tx_hash)
    lies = moved(work, spec, index)
    if lies.seat == payload.seat:
        raise RuleError(f"micro job {index} already lies with seat {payload.seat}: name another one")
    if lies.moves >= MOVES_MAX:
        raise RuleError(f"micro job {index} was moved {MOVES_MAX} times, which is the most")
    stake = parse_wei(spec.policy.stake)
    _lock_bond(work, spec, payload.seat, stake)
    work.bond(work.need(Node, node_key(spec.pool[lies.seat].worker)), change=0, locked=-stake)
    work.put(moved_key(payload.job_id, payload.attempt, index), Moved(payload.seat, lies.moves + 1))


def result(work: Overlay, transaction: Transaction, payload: say.SubmitResult, context: Context) -> None:
    """Log a worker's root, in time, once, from the seat that holds the micro job."""
    job, order = require_job(work, payload.task_id, payload.attempt, say.SubmitResult)
    require_until("SUBMIT_RESULT", order.spec.deadlines.commit, context)
    if payload.microjob >= job.microjobs:
        raise RuleError(f"the job has {job.microjobs} micro jobs; there is no {payload.microjob}")
    seat = order.spec.pool[holder(work, order.spec, payload.microjob)]
    sender = transaction.sender.hex()
    if seat.worker != sender or payload.worker_address != transaction.address:
        raise AuthorityError(f"micro job {payload.microjob} is not held by {payload.worker_address}")
    size = min(job.size, job.slots - payload.microjob * job.size)
    if payload.tree_size != size:
        raise RuleError(f"micro job {payload.microjob} has {size} slots, the root is over {payload.tree_size}")
    if payload.class_id != ZERO_CLASS_ID:
        raise RuleError("bits of class EXACT are equal on any device: class_id must be 32 zero bytes")
    key = result_key(payload.task_id, payload.attempt, payload.microjob)
    known = work.find(Result, key)
    if known is not None:
        raise DuplicateError(f"the root of micro job {payload.microjob}", known.tx_hash)
    commitment.check_commitment(inner_commitment(bytes.fromhex(order.job), transaction.sender, payload))
    posted = Result(
        worker=sender,
        root=payload.result_hash,
        tree_size=payload.tree_size,
        class_id=payload.class_id,
        signature=payload.signature,
        time=context.time,
        tx_hash=transaction.tx_hash,
    )
    work.put(key, posted)


def inner_commitment(job: bytes, worker: bytes, payload: say.SubmitResult) -> commitment.Commitment:
    """Return the signed commitment that a SUBMIT_RESULT carries."""
    return commitment.Commitment(
        place=commitment.Place(job, payload.microjob, worker),
        tree_size=payload.tree_size,
        class_id=bytes.fromhex(payload.class_id),
        root=bytes.fromhex(payload.result_hash),
        signature=bytes.fromhex(payload.signature),
    )


def posted_roots(work: Overlay, job_id: str, job: Job) -> list[Result | None]:
    """Return every micro job's posted root, None where it never came."""
    return [work.find(Result, result_key(job_id, job.attempt, index)) for index in range(job.microjobs)]


def closed(work: Overlay, payload: say.UploadsClosed, context: Context) -> None:
    """Close the uploads; a missing micro job must have had its full time."""
    job, order = require_job(work, payload.job_id, payload.attempt, say.UploadsClosed)
    require_until("UploadsClosed", order.spec.deadlines.reveal, context)
    roots = posted_roots(work, payload.job_id, job)
    actual = commitment.roots_root([None if each is None else bytes.fromhex(each.root) for each in roots]).hex()
    if payload.roots_root != actual:
        raise VerificationError("roots_root of UploadsClosed", expected=actual, actual=payload.roots_root)
    missing, named = payload.missing, frozenset(payload.missing)
    if list(missing) != sorted(named) or any(index >= job.microjobs for index in missing):
        raise RuleError("missing micro jobs must be listed once, ascending, and exist")
    for index, posted in enumerate(roots):
        if posted is None and index not in named:
            raise RuleError(f"micro job {index} has no root in time, so it must be listed as missing")
    for index in missing:
        late = order.spec.deadlines.commit if roots[index] is None else order.spec.deadlines.upload
        require_after(f"closing the uploads without micro job {index}", late, context)
    closing = work.need(Closing, closing_key(payload.job_id, payload.attempt))
    closing = msgspec.structs.replace(closing, height=context.height, roots_root=actual, missing=missing)
    work.put(closing_key(payload.job_id, payload.attempt), closing)


def drawn(work: Overlay, payload: say.ChallengeDrawn, context: Context) -> None:
    """Accept the challenge: the buyer's secret opens it, or the coordinator's once the buyer's deadline passed."""
    _, order = require_job(work, payload.job_id, payload.attempt, say.ChallengeDrawn)
    closing = work.need(Closing, closing_key(payload.job_id, payload.attempt))
    header = work.need(Sealed, header_key(closing.height)).header
    if (payload.header, payload.roots_root) != (header, closing.roots_root):
        expected_pair, actual_pair = (header, closing.roots_root), (payload.header, payload.roots_root)
        raise VerificationError("header and roots_root of the challenge", expected=expected_pair, actual=actual_pair)
    job, secret = bytes.fromhex(order.job), bytes.fromhex(payload.secret)
    if payload.drawn_by is say.Drawer.BUYER:
        promised, opened = order.buyer_commitment, commitment.buyer_commitment(job, secret).hex()
    else:
        require_after("a challenge drawn by the operator", order.spec.deadlines.reveal, context)
        promised, opened = order.assign_commitment, commitment.assign_commitment(job, secret).hex()
    if promised != opened:
        raise VerificationError("commitment to the revealed secret", expected=promised, actual=opened)
    expected = challenge(job, bytes.fromhex(closing.roots_root), bytes.fromhex(header), secret).hex()
    if payload.challenge != expected:
        raise VerificationError("challenge", expected=expected, actual=payload.challenge)
    closing = msgspec.structs.replace(
        closing, challenge=payload.challenge, secret=payload.secret, drawn_by=payload.drawn_by
    )
    work.put(closing_key(payload.job_id, payload.attempt), closing)


def completed(work: Overlay, payload: say.JobCompleted) -> None:
    """Name the output of a settled job."""
    _, order = require_job(work, payload.job_id, payload.attempt, say.JobCompleted)
    if (payload.width, payload.height) != (order.spec.task.target_width, order.spec.task.target_height):
        raise RuleError("the output's size is not the ordered one")


def published(work: Overlay, payload: say.ArtifactPublished) -> None:
    """Name the delivered file and its sidecar."""
    require_job(work, payload.job_id, payload.attempt, say.ArtifactPublished)


def failed(work: Overlay, payload: say.JobFailed) -> None:
    """End an attempt whose money has left the escrow; a job never fails with its price locked."""
    require_job(work, payload.job_id, payload.attempt, say.JobFailed)
    escrow = work.need(Escrow, escrow_key(payload.job_id, payload.attempt))
    if escrow.state in {EscrowState.LOCKED, EscrowState.DISPUTED}:
        raise DeadlineError("refund or release the escrow first: a failed job holds no money")
