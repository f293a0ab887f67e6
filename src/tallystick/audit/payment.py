"""The money of a job, computed again: what was at stake, what the escrow held, who was paid and slashed.

Knows the entries that registered and bonded the pool. Refuses to know why a verdict fell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tallystick.audit.entries import Entry
from tallystick.audit.lifecycle import Facts
from tallystick.errors import StakeError, VerificationError
from tallystick.ledger import payloads as say
from tallystick.ledger.accounts import operator_digest
from tallystick.ledger.settlement import Counted, Settlement, exposure, quote, settle, stakes
from tallystick.primitives.amounts import parse_wei
from tallystick.primitives.keys import address_of, check_signature
from tallystick.slicing import layout, seat_of
from tallystick.verification.deterrence import check_policy
from tallystick.verification.verdict import Judgement, WorkerCount


@dataclass(frozen=True, slots=True)
class Registered:
    """What a pool's seat has shown for itself when the order was placed."""

    registration: say.NodeRegistered
    bond: int


def check_pool(facts: Facts, entries: Sequence[Entry]) -> tuple[Registered, ...]:
    """Check that every seat was registered by its operator, bonded for all its micro jobs, and is paid where it said.

    Raises:
        SignatureError: an operator did not sign for the worker and its payout.
        StakeError: the bond that is shown does not cover the exposure.
        VerificationError: a registration is missing, or operator, payee or the simulated flag is another.
    """
    spec, counts = facts.spec, layout(facts.spec)
    seats = []
    for number, seat in enumerate(spec.pool):
        worker = bytes.fromhex(seat.worker)
        shown = _registered(worker, entries, facts.submitted.entry.index, spec.chain_id)
        node = shown.registration
        if node.operator != seat.operator:
            raise VerificationError(f"operator of worker {seat.worker}", expected=seat.operator, actual=node.operator)
        if node.simulated and not spec.simulated:
            raise VerificationError(
                f"worker {seat.worker} is simulated; the order", expected="simulated", actual="real"
            )
        needed = exposure(spec, counts, number)
        if shown.bond < needed:
            raise StakeError(f"worker {seat.worker} shows a bond of {shown.bond} wei, {needed} were at stake")
        seats.append(shown)
    _check_payees(facts, entries)
    return tuple(seats)


def _registered(worker: bytes, entries: Sequence[Entry], before: int, name: str) -> Registered:
    """Read a worker's registration and bond as they stood before an index."""
    registration, bond = None, 0
    for entry in entries:
        if entry.transaction.sender != worker or entry.index >= before:
            continue
        match entry.payload:
            case say.NodeRegistered() as payload:
                digest = operator_digest(name, worker, payload.payout)
                check_signature(bytes.fromhex(payload.operator), digest, bytes.fromhex(payload.operator_signature))
                registration = payload
            case say.StakeDeposited(amount=amount):
                bond += parse_wei(amount)
            case say.StakeWithdrawn(amount=amount):
                bond -= parse_wei(amount)
            case _:
                pass
    if registration is None:
        what = f"registration of worker {worker.hex()} before the order"
        raise VerificationError(what, expected="NodeRegistered", actual="none")
    return Registered(registration, bond)


def _check_payees(facts: Facts, entries: Sequence[Entry]) -> None:
    """Check that every seat's pay goes where its worker said last; one that holds nothing may stand for itself."""
    lines = facts.settled.payload.lines
    workers = tuple(line.worker for line in lines)
    expected = tuple(seat.worker for seat in facts.spec.pool)
    if workers != expected:
        raise VerificationError("workers of JobSettled", expected=expected, actual=workers)
    held = frozenset(_holders(facts))
    for seat, line in enumerate(lines):
        worker = bytes.fromhex(line.worker)
        payout = _registered(worker, entries, facts.settled.entry.index, facts.spec.chain_id).registration.payout
        if line.payee != payout and (seat in held or line.payee != address_of(worker)):
            raise VerificationError(f"payee of {line.worker}", expected=payout, actual=line.payee)


def check_settlement(facts: Facts, judgement: Judgement) -> Settlement:
    """Count and divide again, and compare every number of JobSettled; the escrow must equal the quote.

    Raises:
        PolicyError: the audits of the order do not deter, and no label says so.
        VerificationError: a price, count or amount is another.
    """
    spec, counts, payload = facts.spec, layout(facts.spec), facts.settled.payload
    check_policy(spec, counts)
    price = quote(spec)
    asked = tuple(str(part) for part in (price.work, price.duplicates, price.audits, price.reserve))
    locked = facts.locked.payload
    held = (locked.work, locked.duplicates, locked.audits, locked.reserve)
    if held != asked:
        raise VerificationError("work, duplicates, audits and reserve of the escrow", expected=asked, actual=held)
    lines = _counted(facts, judgement)
    for due, line in zip(lines, payload.lines, strict=True):
        said = Counted(line.worker, line.accepted, line.refuted, line.unavailable, line.faulted, line.absent)
        if said != due:
            raise VerificationError(f"counts of {due.worker}", expected=due, actual=said)
    referee = judgement.referee
    bonds = stakes(spec, _holders(facts))
    checked = referee.copies + referee.audited
    division = settle(spec, price.total, lines, checked=checked, redone=referee.redone, bonds=bonds)
    _check_totals(facts, judgement, division)
    return division


def _holders(facts: Facts) -> tuple[int, ...]:
    """Return the seat that holds each micro job after every move."""
    seats = [seat_of(facts.spec, index) for index in range(layout(facts.spec).microjobs)]
    for said in facts.moved:
        seats[said.payload.microjob] = said.payload.seat
    return tuple(seats)


def _counted(facts: Facts, judgement: Judgement) -> tuple[Counted, ...]:
    """Return the counts of every seat, zeros where a seat held no micro job."""
    known = {count.worker.hex(): count for count in judgement.workers}
    tallies = [known.get(seat.worker, WorkerCount(b"", 0, 0, 0, 0, 0)) for seat in facts.spec.pool]
    return tuple(
        Counted(seat.worker, each.accepted, each.refuted, each.unavailable, each.faulted, each.absent)
        for seat, each in zip(facts.spec.pool, tallies, strict=True)
    )


def _check_totals(facts: Facts, judgement: Judgement, division: Settlement) -> None:
    payload, referee = facts.settled.payload, judgement.referee
    for line, amount, slashed in zip(payload.lines, division.amounts, division.slashes, strict=True):
        if (line.amount, line.slashed) != (str(amount), str(slashed)):
            what = f"pay and slash of {line.worker} in wei"
            raise VerificationError(what, expected=(amount, slashed), actual=(line.amount, line.slashed))
    due = {
        "copies": referee.copies,
        "audited": referee.audited,
        "redone": referee.redone,
        "referee_fee": str(division.referee_fee),
        "burned": str(division.burned),
        "refund": str(division.refund),
        "verdicts": len(judgement.blocks),
        "results": layout(facts.spec).microjobs,
    }
    for name, expected in due.items():
        actual = getattr(payload, name)
        if actual != expected:
            raise VerificationError(f"{name} of JobSettled", expected=expected, actual=actual)
