"""The judge: a fixed point over what must be recomputed, then a verdict for every slot (DESIGN sections 6 and 7).

1. Each micro job is examined alone: root, bytes, openings, and every leaf recomputed from the delivered bytes.
2. Copies are compared; where they differ the block goes to the referee.
3. Challenged blocks go to the referee.
4. A worker with one refuted or withheld micro job has all its blocks of the job recomputed.
5. A block without an upheld execution takes the referee's bytes.

``wanted`` names the blocks whose reference digest is still missing; the caller computes them and asks again until none
is wanted. Only a difference from the reference kernel, or bytes that do not give the committed leaf, refute anybody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from tallystick.commitment import Place, check_commitment, check_leaf, check_openings
from tallystick.errors import CommitmentError, IncompleteError, VerificationError
from tallystick.verification.challenge import challenged_blocks
from tallystick.verification.verdict import (
    BlockVerdict,
    Evidence,
    Judgement,
    Reason,
    RefereeCount,
    SlotVerdict,
    Source,
    Submission,
    Verdict,
    WorkerCount,
)

Key = tuple[int, int]
"""(micro job, slot)."""

FAULTS = frozenset(
    {
        Reason.NOT_DELIVERED,
        Reason.NOT_OPENED,
        Reason.OPENING_DIFFERS,
        Reason.LEAF_DIFFERS,
        Reason.REFERENCE_DIFFERS,
    }
)
"""Reasons that cost the full stake of the micro job; never committing costs the smaller one."""


@dataclass(frozen=True, slots=True)
class _Case:
    """The evidence with what step 1 found: a reason for every slot that already fell."""

    evidence: Evidence
    fallen: Mapping[Key, Reason]
    executions: Mapping[int, tuple[Key, ...]]


def examine(evidence: Evidence, index: int) -> dict[int, Reason]:
    """Return the slots of one micro job that fall by its own submission, with the reason (step 1)."""
    submission, microjob = evidence.submissions[index], evidence.plan.microjobs[index]
    every = range(len(microjob.slots))
    if submission.commitment is None:
        return dict.fromkeys(every, Reason.NEVER_COMMITTED)
    if submission.delivered is None or len(submission.delivered) != len(microjob.slots):
        return dict.fromkeys(every, Reason.NOT_DELIVERED)
    if submission.openings is None:
        return dict.fromkeys(every, Reason.NOT_OPENED)
    try:
        check_commitment(submission.commitment)
        check_openings(submission.commitment, submission.openings)
    except VerificationError:
        return dict.fromkeys(every, Reason.OPENING_DIFFERS)
    return {slot: Reason.LEAF_DIFFERS for slot in every if not _gives_leaf(evidence, submission, index, slot)}


def _gives_leaf(evidence: Evidence, submission: Submission, index: int, slot: int) -> bool:
    if submission.openings is None or submission.delivered is None:
        return False
    place = Place(evidence.job, index, submission.worker)
    try:
        check_leaf(place, slot, submission.openings[slot], evidence.spec.policy.law, submission.delivered[slot])
    except CommitmentError:
        return False
    return True


def _open(evidence: Evidence) -> _Case:
    fallen: dict[Key, Reason] = {}
    executions: dict[int, list[Key]] = defaultdict(list)
    for microjob in evidence.plan.microjobs:
        for slot, reason in examine(evidence, microjob.index).items():
            fallen[microjob.index, slot] = reason
        for slot, each in enumerate(microjob.slots):
            executions[each.block].append((microjob.index, slot))
    return _Case(evidence, fallen, {block: tuple(keys) for block, keys in executions.items()})


def _delivered(case: _Case, key: Key) -> bytes | None:
    delivered = case.evidence.submissions[key[0]].delivered
    return None if delivered is None or key[1] >= len(delivered) else delivered[key[1]].digest


def _reasons(case: _Case, reference: Mapping[int, bytes]) -> dict[Key, Reason]:
    """Return the reason of every slot, given the reference digests known so far."""
    reasons: dict[Key, Reason] = {}
    for block, keys in case.executions.items():
        standing = [key for key in keys if key not in case.fallen]
        agree = len(standing) > 1 and len({_delivered(case, key) for key in standing}) == 1
        for key in keys:
            if key in case.fallen:
                reasons[key] = case.fallen[key]
            elif block not in reference:
                reasons[key] = Reason.COPIES_AGREE if agree else Reason.UNCHECKED
            elif _delivered(case, key) == reference[block]:
                reasons[key] = Reason.RECOMPUTED
            else:
                reasons[key] = Reason.REFERENCE_DIFFERS
    return reasons


def _blocks_wanted(case: _Case, reasons: Mapping[Key, Reason]) -> frozenset[int]:
    """Return every block that must be recomputed, given the reasons found so far (steps 2 to 5)."""
    evidence = case.evidence
    faulty = {evidence.submissions[index].worker for (index, _), reason in reasons.items() if reason in FAULTS}
    wanted = set(evidence.plan.referee_copies) | challenged_blocks(evidence.plan, dict(evidence.challenged))
    for block, keys in case.executions.items():
        standing = [key for key in keys if key not in case.fallen]
        differ = len({_delivered(case, key) for key in standing}) > 1
        if differ or not standing or any(evidence.submissions[index].worker in faulty for index, _ in keys):
            wanted.add(block)
    return frozenset(wanted)


def wanted(evidence: Evidence, reference: Mapping[int, bytes]) -> tuple[int, ...]:
    """Return the blocks whose reference digest the judge still needs, ascending; empty when it can judge."""
    case = _open(evidence)
    return tuple(sorted(_blocks_wanted(case, _reasons(case, reference)) - reference.keys()))


def judge(evidence: Evidence, reference: Mapping[int, bytes]) -> Judgement:
    """Judge the job: the same evidence and digests give the same answer on any machine.

    Raises:
        IncompleteError: a reference digest that the law demands is missing.
    """
    case = _open(evidence)
    reasons = _reasons(case, reference)
    needed = _blocks_wanted(case, reasons)
    if needed - reference.keys():
        message = f"the law demands that block {min(needed - reference.keys())} be recomputed, and it was not"
        raise IncompleteError(message)
    blocks = tuple(_block_verdict(case, block, reasons, reference, needed) for block in sorted(case.executions))
    return Judgement(blocks, _count_workers(case, reasons), _count_referee(case, needed))


def _verdict(reason: Reason) -> Verdict:
    if reason in {Reason.NEVER_COMMITTED, Reason.NOT_DELIVERED, Reason.NOT_OPENED}:
        return Verdict.UNAVAILABLE
    return Verdict.REFUTED if reason in FAULTS else Verdict.UPHELD


def _block_verdict(
    case: _Case, block: int, reasons: Mapping[Key, Reason], reference: Mapping[int, bytes], needed: frozenset[int]
) -> BlockVerdict:
    slots, upheld = [], None
    for key in case.executions[block]:
        digest = _delivered(case, key)
        slots.append(_slot_verdict(case, block, key, reasons[key]))
        if upheld is None and _verdict(reasons[key]) is Verdict.UPHELD:
            upheld = digest
    redone = reference[block] if block in needed else None
    accepted = upheld if upheld is not None else redone
    if accepted is None:
        message = f"block {block} has neither an upheld execution nor a reference"
        raise IncompleteError(message)
    return BlockVerdict(
        block=block,
        accepted=accepted.hex(),
        source=Source.REFEREE if upheld is None else Source.WORKER,
        reference=None if redone is None else redone.hex(),
        slots=tuple(slots),
    )


def _slot_verdict(case: _Case, block: int, key: Key, reason: Reason) -> SlotVerdict:
    index, slot = key
    digest = _delivered(case, key)
    planned = case.evidence.plan.microjobs[index].slots[slot]
    if planned.block != block:
        message = f"slot {slot} of micro job {index} holds block {planned.block}, not {block}"
        raise IncompleteError(message)
    return SlotVerdict(
        microjob=index,
        slot=slot,
        copy=planned.copy,
        worker=case.evidence.submissions[index].worker.hex(),
        verdict=_verdict(reason),
        reason=reason,
        digest=None if digest is None else digest.hex(),
    )


def _count_workers(case: _Case, reasons: Mapping[Key, Reason]) -> tuple[WorkerCount, ...]:
    """Count per worker, in the order of the pool."""
    tally: dict[bytes, dict[Verdict, int]] = {}
    faulted: dict[bytes, set[int]] = defaultdict(set)
    absent: dict[bytes, set[int]] = defaultdict(set)
    for (index, _), reason in reasons.items():
        worker = case.evidence.submissions[index].worker
        tally.setdefault(worker, dict.fromkeys(Verdict, 0))[_verdict(reason)] += 1
        if reason in FAULTS:
            faulted[worker].add(index)
        elif reason is Reason.NEVER_COMMITTED:
            absent[worker].add(index)
    return tuple(
        WorkerCount(
            worker=worker,
            accepted=tally[worker][Verdict.UPHELD],
            refuted=tally[worker][Verdict.REFUTED],
            unavailable=tally[worker][Verdict.UNAVAILABLE],
            faulted=len(faulted[worker]),
            absent=len(absent[worker]),
        )
        for worker in (bytes.fromhex(seat.worker) for seat in case.evidence.spec.pool)
        if worker in tally
    )


def _count_referee(case: _Case, needed: frozenset[int]) -> RefereeCount:
    copies = frozenset(case.evidence.plan.referee_copies)
    audited = challenged_blocks(case.evidence.plan, dict(case.evidence.challenged)) - copies
    return RefereeCount(copies=len(copies), audited=len(audited), redone=len(needed - copies - audited))
