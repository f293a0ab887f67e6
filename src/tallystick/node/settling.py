"""Turns a judgement into the one JobSettled that the ledger will accept; used to write it and to check it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tallystick.errors import VerificationError
from tallystick.ledger.payloads import JobSettled, SettlementLine
from tallystick.ledger.settled import results_root, settled_results
from tallystick.ledger.settlement import Counted, quote, settle, stakes
from tallystick.primitives.keys import address_of
from tallystick.verification.verdict import Evidence, Judgement, WorkerCount


@dataclass(frozen=True, slots=True)
class Settling:
    """What a settlement is made from; ``elapsed`` in ms per micro job, ``payees`` by worker key in hex."""

    evidence: Evidence
    judgement: Judgement
    assign_secret: bytes = field(repr=False)
    elapsed: tuple[int | None, ...]
    payees: Mapping[str, str]


def settle_job(settling: Settling, now: int) -> JobSettled:
    """Return the settlement that follows from the evidence, at this time."""
    spec, judgement = settling.evidence.spec, settling.judgement
    holders = [microjob.seat for microjob in settling.evidence.plan.microjobs]
    known = {count.worker: count for count in judgement.workers}
    empty = WorkerCount(b"", 0, 0, 0, 0, 0)
    tallies = [known.get(bytes.fromhex(seat.worker), empty) for seat in spec.pool]
    lines = [
        Counted(seat.worker, each.accepted, each.refuted, each.unavailable, each.faulted, each.absent)
        for seat, each in zip(spec.pool, tallies, strict=True)
    ]
    referee = judgement.referee
    division = settle(
        spec,
        quote(spec).total,
        lines,
        checked=referee.copies + referee.audited,
        redone=referee.redone,
        bonds=stakes(spec, holders),
    )
    results = settled_results(settling.evidence, judgement, settling.elapsed)
    return JobSettled(
        job_id=spec.job_id,
        attempt=spec.attempt,
        assign_secret=settling.assign_secret.hex(),
        lines=tuple(
            SettlementLine(
                worker=line.worker,
                payee=payee,
                accepted=line.accepted,
                refuted=line.refuted,
                unavailable=line.unavailable,
                faulted=line.faulted,
                absent=line.absent,
                amount=str(amount),
                slashed=str(slashed),
            )
            for line, payee, amount, slashed in zip(
                lines, _payees(settling, holders), division.amounts, division.slashes, strict=True
            )
        ),
        copies=referee.copies,
        audited=referee.audited,
        redone=referee.redone,
        referee_fee=str(division.referee_fee),
        burned=str(division.burned),
        refund=str(division.refund),
        verdicts=len(judgement.blocks),
        verdicts_root=judgement.root().hex(),
        results=len(results),
        results_root=results_root(results).hex(),
        occurred_at=now,
    )


def _payees(settling: Settling, holders: Sequence[int]) -> list[str]:
    """Return where each seat's pay goes; one that holds nothing may name another payout at any time, so itself."""
    held, pool = frozenset(holders), settling.evidence.spec.pool
    return [
        settling.payees[place.worker] if seat in held else address_of(bytes.fromhex(place.worker))
        for seat, place in enumerate(pool)
    ]


def check_settlement(settling: Settling, claimed: JobSettled) -> None:
    """Recompute a settlement from its evidence and refuse any difference.

    Raises:
        VerificationError: a count, amount or root is not what the evidence gives.
    """
    expected = settle_job(settling, claimed.occurred_at)
    if claimed != expected:
        raise VerificationError(f"JobSettled of {claimed.job_id}", expected=expected, actual=claimed)
