"""Rules of the buyer's money: locking, settlement, and an exit from every state that anyone may trigger (DESIGN 8)."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import msgspec

from tallystick import commitment
from tallystick.errors import AuthorityError, RuleError, TransitionError, VerificationError
from tallystick.job import JobSpec
from tallystick.ledger import payloads as say
from tallystick.ledger.context import Context, require_after, require_until
from tallystick.ledger.holding import holders, moved
from tallystick.ledger.jobs import posted_roots, require_job
from tallystick.ledger.records import (
    BURNED,
    LAST_SETTLED,
    Closing,
    Escrow,
    Job,
    LastSettled,
    Node,
    Order,
    Overlay,
    closing_key,
    escrow_key,
    job_key,
    node_key,
    order_key,
)
from tallystick.ledger.settlement import Counted, Settlement, audited_blocks_max, settle, stakes
from tallystick.ledger.states import (
    UNCLOSED_PHASES,
    UPLOADED_PHASES,
    EscrowState,
    JobPhase,
    check_escrow_event,
    check_escrow_step,
)
from tallystick.ledger.transactions import Transaction
from tallystick.primitives.amounts import parse_wei
from tallystick.primitives.keys import address_of
from tallystick.slicing import Layout, layout, seat_of


def locked(work: Overlay, transaction: Transaction, payload: say.EscrowLocked) -> None:
    """Move the price of one attempt out of the requester's account."""
    key = escrow_key(payload.job_id, payload.attempt)
    if work.find(Escrow, key) is not None:
        raise RuleError(f"attempt {payload.attempt} of job {payload.job_id} already has its escrow")
    job = work.find(Job, job_key(payload.job_id))
    if (job is not None and job.phase is not JobPhase.FAILED) or payload.attempt != (job.attempt + 1 if job else 1):
        raise RuleError(f"job {payload.job_id} has no attempt {payload.attempt} to pay for")
    if job is not None and job.requester != transaction.sender.hex():
        raise AuthorityError(f"job {payload.job_id} belongs to another requester, who pays for its attempts")
    total = sum(parse_wei(part) for part in (payload.work, payload.duplicates, payload.audits, payload.reserve))
    work.debit(transaction.address, total)
    escrow = Escrow(
        requester=transaction.sender.hex(),
        state=EscrowState.LOCKED,
        work=payload.work,
        duplicates=payload.duplicates,
        audits=payload.audits,
        reserve=payload.reserve,
        balance=str(total),
    )
    work.put(key, escrow)
    work.imbalance += total


def settled(work: Overlay, payload: say.JobSettled, context: Context) -> bytes:
    """Divide the escrow by the counts, refuse any amount that differs, and return the results' root.

    A dispute does not stop the judge: a settlement in time ends it and returns its bond.
    """
    job, order = require_job(work, payload.job_id, payload.attempt, say.JobSettled)
    spec = order.spec
    escrow = work.need(Escrow, escrow_key(payload.job_id, payload.attempt))
    check_escrow_event(escrow.state, say.JobSettled)
    require_until("JobSettled", spec.deadlines.judge, context)
    _require_assignment(payload, job, order)
    counts, seats = layout(spec), holders(work, spec, job.microjobs)
    _require_lines(work, payload, job, counts, seats)
    _require_referee(work, payload, job, spec, counts)
    _take_turn(work, context)
    lines = [
        Counted(line.worker, line.accepted, line.refuted, line.unavailable, line.faulted, line.absent)
        for line in payload.lines
    ]
    bonds = stakes(spec, seats)
    checked = payload.copies + payload.audited
    division = settle(spec, int(escrow.balance), lines, checked=checked, redone=payload.redone, bonds=bonds)
    _require_division(payload, division)
    _pay(work, payload, division, context)
    _free_bonds(work, spec, division.slashes)
    _leave(work, escrow, payload, say.JobSettled, _settled_state(payload, division))
    work.credit(address_of(bytes.fromhex(spec.requester)), division.refund)
    return bytes.fromhex(payload.results_root)


def _require_assignment(payload: say.JobSettled, job: Job, order: Order) -> None:
    """Check that the coordinator's secret opens its commitment and the assignment that JobScheduled fixed."""
    digest, secret = bytes.fromhex(order.job), bytes.fromhex(payload.assign_secret)
    opened = commitment.assign_commitment(digest, secret).hex()
    if opened != order.assign_commitment:
        raise VerificationError("commitment to the assignment", expected=order.assign_commitment, actual=opened)
    keys = [bytes.fromhex(seat.worker) for seat in order.spec.pool]
    holders = [keys[seat_of(order.spec, index)] for index in range(job.microjobs)]
    root = commitment.assignments_root(digest, secret, holders).hex()
    if root != job.assignments_root:
        raise VerificationError("assignments_root of JobScheduled", expected=root, actual=job.assignments_root)


def _require_lines(work: Overlay, payload: say.JobSettled, job: Job, counts: Layout, seats: Sequence[int]) -> None:
    """Check that every seat has one line, which accounts for all its slots and for what the log says of them.

    ``seats`` says where each micro job lies. A seat without one is paid nothing, and no lock keeps it from naming
    another payout meanwhile: the line may name the worker itself.
    """
    spec = work.need(Order, order_key(payload.job_id, payload.attempt)).spec
    if [line.worker for line in payload.lines] != [seat.worker for seat in spec.pool]:
        raise RuleError("JobSettled has one line per seat, in the order of the pool")
    missing = frozenset(work.need(Closing, closing_key(payload.job_id, payload.attempt)).missing)
    rootless = {index for index, posted in enumerate(posted_roots(work, payload.job_id, job)) if posted is None}
    for seat, line in enumerate(payload.lines):
        held = [index for index, lies in enumerate(seats) if lies == seat]
        _require_line(line, counts, held, rootless.intersection(held), missing.intersection(held))
        payout = work.need(Node, node_key(line.worker)).payout
        if line.payee != payout and (held or line.payee != address_of(bytes.fromhex(line.worker))):
            raise RuleError(f"the payee of {line.worker} is {payout}, not {line.payee}")


def _require_line(
    line: say.SettlementLine, counts: Layout, held: Sequence[int], absent: AbstractSet[int], missing: AbstractSet[int]
) -> None:
    """Check one line against the micro jobs it holds: those without a root, and those whose bytes are missing."""
    slots = sum(counts.slots_of(index) for index in held)
    if line.accepted + line.refuted + line.unavailable != slots:
        raise RuleError(f"the line of {line.worker} does not account for its {slots} slots")
    if line.absent != len(absent):
        raise RuleError(f"{len(absent)} micro jobs of {line.worker} have no root, its line says {line.absent}")
    if line.unavailable < sum(counts.slots_of(index) for index in missing):
        raise RuleError(f"the line of {line.worker} counts slots whose bytes are missing")
    failed = line.refuted + line.unavailable - sum(counts.slots_of(index) for index in absent)
    most = min(failed, len(held) - len(absent))
    if not max(len(missing - absent), min(failed, 1)) <= line.faulted <= most:
        raise RuleError(f"{line.faulted} faulted micro jobs do not agree with the other counts of {line.worker}")


def _require_referee(work: Overlay, payload: say.JobSettled, job: Job, spec: JobSpec, counts: Layout) -> None:
    """Check that the referee claims no more than the law can have demanded of it."""
    if payload.results != job.microjobs or payload.verdicts != counts.blocks:
        raise RuleError(f"{counts.blocks} verdicts over {job.microjobs} results are due")
    copies, audits = counts.copies if spec.referee_copies else 0, audited_blocks_max(spec, counts)
    if payload.copies != copies or payload.audited > audits:
        raise RuleError(f"the order has {copies} copies for the referee and at most {audits} audited blocks")
    if payload.copies + payload.audited + payload.redone > counts.blocks:
        raise RuleError("the referee claims more blocks than the job has")
    if all(line.refuted + line.unavailable == 0 for line in payload.lines):
        _require_redone(payload.redone, _void_max(work, spec, counts))


def _require_redone(redone: int, most: int) -> None:
    """Check what is redone where every slot is accepted: copies that moves may have made check nothing."""
    if redone and not most:
        raise RuleError("nothing is redone where every slot is accepted and no checked micro job was moved")
    if redone > most:
        raise RuleError(f"{redone} blocks are redone, but moves can have met at most {most} copies")


def _void_max(work: Overlay, spec: JobSpec, counts: Layout) -> int:
    """Return how many copies moves may have brought to their originals' operators; which ones only the plan says."""
    copies = 0 if spec.referee_copies else counts.copies
    slots = sum(counts.slots_of(index) for index in range(counts.microjobs) if moved(work, spec, index).moves)
    return min(copies, slots)


def _take_turn(work: Overlay, context: Context) -> None:
    """Refuse a second settlement in one block, whose header has room for one compute_root."""
    last = work.find(LastSettled, LAST_SETTLED)
    if last is not None and last.height == context.height:
        raise TransitionError("block", "holds a settlement", "JobSettled")
    work.put(LAST_SETTLED, LastSettled(context.height))


def _require_division(payload: say.JobSettled, division: Settlement) -> None:
    claimed = (
        tuple(parse_wei(line.amount) for line in payload.lines),
        tuple(parse_wei(line.slashed) for line in payload.lines),
        parse_wei(payload.referee_fee),
        parse_wei(payload.burned),
        parse_wei(payload.refund),
    )
    actual = (division.amounts, division.slashes, division.referee_fee, division.burned, division.refund)
    if claimed != actual:
        raise VerificationError("amounts of JobSettled", expected=actual, actual=claimed)


def _settled_state(payload: say.JobSettled, division: Settlement) -> EscrowState:
    if not division.paid:
        return EscrowState.REFUNDED
    faulty = any(line.faulted or line.absent for line in payload.lines)
    return EscrowState.SPLIT if faulty else EscrowState.RELEASED


def _pay(work: Overlay, payload: say.JobSettled, division: Settlement, context: Context) -> None:
    for line, amount in zip(payload.lines, division.amounts, strict=True):
        work.credit(line.payee, amount)
    work.credit(context.coordinator_address, division.referee_fee)
    work.credit(BURNED, division.burned)


def _free_bonds(work: Overlay, spec: JobSpec, slashes: Sequence[int] = ()) -> None:
    """Unlock what the job holds of every bond, less what is slashed."""
    held = stakes(spec, holders(work, spec, layout(spec).microjobs))
    for place, locked, slashed in zip(spec.pool, held, slashes or (0,) * len(held), strict=True):
        node = work.need(Node, node_key(place.worker))
        work.bond(node, change=-slashed, locked=-locked)


def _leave(work: Overlay, escrow: Escrow, payload: say.JobSettled | _Named, event: type, target: EscrowState) -> None:
    """Empty an escrow into a final state and return a dispute's bond; the caller credits the rest."""
    check_escrow_step(escrow.state, event, target)
    work.imbalance -= int(escrow.balance) + int(escrow.dispute_bond)
    work.credit(escrow.disputer, int(escrow.dispute_bond))
    done = msgspec.structs.replace(escrow, state=target, balance="0", dispute_bond="0")
    work.put(escrow_key(payload.job_id, payload.attempt), done)


_Named = say.EscrowReleased | say.EscrowRefunded | say.EscrowResolved


def refunded(work: Overlay, transaction: Transaction, payload: say.EscrowRefunded, context: Context) -> None:
    """Return everything when the uploads never closed: nothing is provably earned, nobody is slashed.

    The coordinator may admit a missed commit deadline; from the reveal deadline on anyone may. An escrow without an
    order returns to its requester at once.
    """
    escrow = work.need(Escrow, escrow_key(payload.job_id, payload.attempt))
    check_escrow_event(escrow.state, say.EscrowRefunded)
    order = work.find(Order, order_key(payload.job_id, payload.attempt))
    if order is None:
        if transaction.sender.hex() != escrow.requester:
            raise AuthorityError("an escrow without an order is returned to its requester, who must ask for it")
    else:
        job = work.need(Job, job_key(payload.job_id))
        if job.phase not in UNCLOSED_PHASES:
            raise RuleError(f"the job is {job.phase.value}: what was earned is paid by EscrowReleased")
        deadlines = order.spec.deadlines
        admitted = transaction.sender == context.coordinator
        require_after("EscrowRefunded", deadlines.commit if admitted else deadlines.reveal, context)
        _free_bonds(work, order.spec)
    _leave(work, escrow, payload, say.EscrowRefunded, EscrowState.REFUNDED)
    work.credit(address_of(bytes.fromhex(escrow.requester)), int(escrow.balance))


def released(work: Overlay, payload: say.EscrowReleased, context: Context) -> None:
    """Pay timely committed and uploaded work when nobody judged it in time; anyone may ask."""
    escrow = work.need(Escrow, escrow_key(payload.job_id, payload.attempt))
    check_escrow_event(escrow.state, say.EscrowReleased)
    order = work.need(Order, order_key(payload.job_id, payload.attempt))
    job = work.need(Job, job_key(payload.job_id))
    if job.phase not in UPLOADED_PHASES:
        raise RuleError(f"the job is {job.phase.value}: EscrowReleased pays uploads that nobody judged")
    disputed = escrow.state is EscrowState.DISPUTED
    deadlines = order.spec.deadlines
    require_after("EscrowReleased", deadlines.refund if disputed else deadlines.judge, context)
    _release(work, escrow, order, job, payload)


def _release(
    work: Overlay, escrow: Escrow, order: Order, job: Job, payload: say.EscrowReleased | say.EscrowResolved
) -> EscrowState:
    """Pay every micro job whose root and bytes came in time, return the rest, and say where that leaves the escrow."""
    spec, missing = order.spec, frozenset(work.need(Closing, closing_key(payload.job_id, payload.attempt)).missing)
    paid = 0
    for index, posted in enumerate(posted_roots(work, payload.job_id, job)):
        if posted is not None and index not in missing:
            amount = posted.tree_size * spec.price.block_wei
            work.credit(work.need(Node, node_key(posted.worker)).payout, amount)
            paid += amount
    target = EscrowState.REFUNDED if not paid else EscrowState.SPLIT if missing else EscrowState.RELEASED
    _free_bonds(work, spec)
    _leave(work, escrow, payload, type(payload), target)
    work.credit(address_of(bytes.fromhex(escrow.requester)), int(escrow.balance) - paid)
    return target


def disputed(work: Overlay, transaction: Transaction, payload: say.EscrowDisputed, context: Context) -> None:
    """Freeze an escrow over one block: by its requester or a worker of the pool, with a bond, before the deadline."""
    escrow = work.need(Escrow, escrow_key(payload.job_id, payload.attempt))
    check_escrow_event(escrow.state, say.EscrowDisputed)
    order = work.need(Order, order_key(payload.job_id, payload.attempt))
    job = work.need(Job, job_key(payload.job_id))
    spec, sender = order.spec, transaction.sender.hex()
    if sender != spec.requester and sender not in {seat.worker for seat in spec.pool}:
        raise AuthorityError("only the requester or a worker of the pool may dispute")
    if job.phase not in UPLOADED_PHASES:
        raise RuleError(f"the job is {job.phase.value}: a dispute is about uploaded work")
    require_until("EscrowDisputed", spec.deadlines.dispute, context)
    if payload.block >= layout(spec).blocks:
        raise RuleError(f"there is no block {payload.block}")
    bond = parse_wei(payload.bond)
    if bond < spec.price.referee_wei:
        raise RuleError(f"the bond must cover the referee's cost of {spec.price.referee_block} wei")
    work.debit(transaction.address, bond)
    work.imbalance += bond
    frozen = msgspec.structs.replace(
        escrow, state=EscrowState.DISPUTED, dispute_bond=payload.bond, disputer=transaction.address
    )
    work.put(escrow_key(payload.job_id, payload.attempt), frozen)


def resolved(work: Overlay, transaction: Transaction, payload: say.EscrowResolved) -> None:
    """End a dispute as the arbiter says; the bond is lost to the arbiter if the block was upheld.

    The exit must name the state it leads to: ``released`` or, where some uploads are missing, ``split`` pays every
    uploaded micro job; ``refunded`` returns everything. Only the judge can divide by verdicts: that is JobSettled.
    """
    escrow = work.need(Escrow, escrow_key(payload.job_id, payload.attempt))
    check_escrow_event(escrow.state, say.EscrowResolved)
    order = work.need(Order, order_key(payload.job_id, payload.attempt))
    if payload.upheld:
        escrow = _forfeit(work, escrow, transaction.address)
    target = EscrowState.REFUNDED
    if payload.exit is say.Exit.REFUNDED:
        _free_bonds(work, order.spec)
        _leave(work, escrow, payload, say.EscrowResolved, target)
        work.credit(address_of(bytes.fromhex(escrow.requester)), int(escrow.balance))
    else:
        target = _release(work, escrow, order, work.need(Job, job_key(payload.job_id)), payload)
    if target.value != payload.exit.value:
        raise RuleError(f"this exit leaves the escrow {target.value}, so it must be called that")


def _forfeit(work: Overlay, escrow: Escrow, arbiter: str) -> Escrow:
    """Give a dispute's bond to the arbiter."""
    bond = int(escrow.dispute_bond)
    work.credit(arbiter, bond)
    work.imbalance -= bond
    return msgspec.structs.replace(escrow, dispute_bond="0", disputer="")
