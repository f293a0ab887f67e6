"""The judge: a fixed point over what must be recomputed, then a verdict for every slot (DESIGN sections 6 and 7).

1. Each micro job is examined alone: root, bytes, openings, and every leaf recomputed from the delivered bytes.
2. Copies are compared; where they differ, or bytes have not the block's length, the block goes to the referee.
3. Challenged blocks, and void pairs, whose copy checks nothing after moves, go to the referee.
4. A worker with one refuted or withheld micro job has all its blocks of the job recomputed.
5. A block without an upheld execution takes the referee's bytes.

``wanted`` names the blocks whose reference digest is still missing; the caller computes them and asks again until none
is wanted. Only a difference from the reference kernel, or bytes that do not give the committed leaf, refute anybody.
Digests of blocks that the law does not demand are not looked at, so that two judges who know more or less agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tallystick.commitment import Commitment, Opening, Output, Place, check_commitment, check_leaf, check_openings
from tallystick.errors import CommitmentError, IncompleteError, VerificationError
from tallystick.job import VerificationClass
from tallystick.slicing import block_length
from tallystick.verification.challenge import challenged_blocks
from tallystick.verification.verdict import (
    BlockVerdict,
    Evidence,
    Judgement,
    Reason,
    RefereeCount,
    SlotVerdict,
    Source,
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
class Case:
    """The evidence, examined: everything that follows from it without a reference digest. Made by ``open_case``.

    ``fallen`` has a reason for every slot that fell in step 1, ``held`` the blocks of each worker, ``due`` the blocks
    that are recomputed whoever turns out to be faulty (steps 2, 3 and 5).
    """

    evidence: Evidence
    fallen: Mapping[Key, Reason]
    executions: Mapping[int, tuple[Key, ...]]
    held: Mapping[bytes, frozenset[int]]
    due: frozenset[int]

    def worker(self, key: Key) -> bytes:
        """Return who executed a slot."""
        return self.evidence.submissions[key[0]].worker


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
    place = Place(evidence.job, index, submission.worker)
    try:
        _check_root(submission.commitment, submission.openings, place, len(microjob.slots))
    except VerificationError:
        return dict.fromkeys(every, Reason.OPENING_DIFFERS)
    pairs = enumerate(zip(submission.openings, submission.delivered, strict=True))
    law = evidence.spec.policy.law
    return {
        slot: Reason.LEAF_DIFFERS
        for slot, (opening, output) in pairs
        if not _gives_leaf(place, slot, opening, law, output)
    }


def _check_root(commitment: Commitment, openings: Sequence[Opening], place: Place, slots: int) -> None:
    """Check that the root was signed for this place and size, and that the openings give it.

    Raises:
        VerificationError: it belongs elsewhere, its signature does not hold, or the openings give another root.
    """
    if (commitment.place, commitment.tree_size) != (place, slots):
        what = f"commitment of micro job {place.microjob}"
        raise CommitmentError(what, expected=(place, slots), actual=(commitment.place, commitment.tree_size))
    check_commitment(commitment)
    check_openings(commitment, openings)


def _gives_leaf(place: Place, slot: int, opening: Opening, law: VerificationClass, output: Output) -> bool:
    try:
        check_leaf(place, slot, opening, law, output)
    except CommitmentError:
        return False
    return True


def open_case(evidence: Evidence) -> Case:
    """Examine every micro job; judging the case again with more digests costs no second examination.

    Raises:
        IncompleteError: the evidence has not one submission for each, of the seat that holds it.
    """
    holders = [evidence.spec.pool[microjob.seat].worker for microjob in evidence.plan.microjobs]
    if [submission.worker.hex() for submission in evidence.submissions] != holders:
        raise IncompleteError("the evidence must hold one submission per micro job, of the worker that holds it")
    fallen: dict[Key, Reason] = {}
    executions: dict[int, list[Key]] = defaultdict(list)
    held: dict[bytes, set[int]] = defaultdict(set)
    for microjob in evidence.plan.microjobs:
        for slot, reason in examine(evidence, microjob.index).items():
            fallen[microjob.index, slot] = reason
        for slot, each in enumerate(microjob.slots):
            executions[each.block].append((microjob.index, slot))
            held[evidence.submissions[microjob.index].worker].add(each.block)
    drawn = challenged_blocks(evidence.plan, dict(evidence.challenged))
    due = drawn.union(evidence.plan.referee_copies, evidence.void)
    case = Case(
        evidence=evidence,
        fallen=fallen,
        executions={block: tuple(keys) for block, keys in executions.items()},
        held={worker: frozenset(blocks) for worker, blocks in held.items()},
        due=due,
    )
    return replace(case, due=due | {block for block in case.executions if _suspect(case, block)})


def _output(case: Case, key: Key) -> Output | None:
    delivered = case.evidence.submissions[key[0]].delivered
    return None if delivered is None or key[1] >= len(delivered) else delivered[key[1]]


def _delivered(case: Case, key: Key) -> bytes | None:
    output = _output(case, key)
    return None if output is None else output.digest


def _suspect(case: Case, block: int) -> bool:
    """Tell whether no execution of a block stands, those that stand differ, or one has not the block's length."""
    outputs = [_output(case, key) for key in case.executions[block] if key not in case.fallen]
    length = block_length(case.evidence.spec, case.evidence.plan.layout, block)
    # A slot that stands was delivered, so there is an output.
    return len({output and output.digest for output in outputs}) != 1 or any(
        output is None or output.length != length for output in outputs
    )


def _reasons(case: Case, reference: Mapping[int, bytes]) -> dict[Key, Reason]:
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


def _demanded(case: Case, reference: Mapping[int, bytes]) -> frozenset[int]:
    """Return every block that must be recomputed: the least fixed point over the demanded digests that are known.

    It terminates, since demands only grow: every round but the last finds one more faulty worker.
    """
    faulty = {case.worker(key) for key, reason in case.fallen.items() if reason in FAULTS}
    demanded: frozenset[int] = frozenset()
    while True:
        grown = case.due.union(*(case.held[worker] for worker in faulty))
        for block in (grown - demanded) & reference.keys():
            standing = [key for key in case.executions[block] if key not in case.fallen]
            faulty.update(case.worker(key) for key in standing if _delivered(case, key) != reference[block])
        if grown == demanded:
            return demanded
        demanded = grown


def wanted(laid: Evidence | Case, reference: Mapping[int, bytes]) -> tuple[int, ...]:
    """Return the blocks whose reference digest the judge still needs, ascending; empty when it can judge."""
    case = laid if isinstance(laid, Case) else open_case(laid)
    return tuple(sorted(_demanded(case, reference) - reference.keys()))


def judge(laid: Evidence | Case, reference: Mapping[int, bytes]) -> Judgement:
    """Judge the job: the same evidence and digests give the same answer on any machine.

    Raises:
        IncompleteError: a reference digest that the law demands is missing, or the evidence lacks a submission.
    """
    case = laid if isinstance(laid, Case) else open_case(laid)
    demanded = _demanded(case, reference)
    if demanded - reference.keys():
        message = f"the law demands that block {min(demanded - reference.keys())} be recomputed, and it was not"
        raise IncompleteError(message)
    known = {block: reference[block] for block in demanded}
    reasons = _reasons(case, known)
    blocks = tuple(_block_verdict(case, block, reasons, known) for block in sorted(case.executions))
    return Judgement(blocks, _count_workers(case, reasons), _count_referee(case, demanded))


def _verdict(reason: Reason) -> Verdict:
    if reason in {Reason.NEVER_COMMITTED, Reason.NOT_DELIVERED, Reason.NOT_OPENED}:
        return Verdict.UNAVAILABLE
    return Verdict.REFUTED if reason in FAULTS else Verdict.UPHELD


def _block_verdict(case: Case, block: int, reasons: Mapping[Key, Reason], known: Mapping[int, bytes]) -> BlockVerdict:
    slots = tuple(_slot_verdict(case, key, reasons[key]) for key in case.executions[block])
    upheld = [slot.digest for slot in slots if slot.verdict is Verdict.UPHELD]
    reference = known[block].hex() if block in known else None
    # A block that nobody upheld is always demanded (steps 2 and 5), so one of the two is there.
    accepted = next(digest for digest in (*upheld, reference) if digest is not None)
    source = Source.WORKER if upheld else Source.REFEREE
    return BlockVerdict(block=block, accepted=accepted, source=source, reference=reference, slots=slots)


def _slot_verdict(case: Case, key: Key, reason: Reason) -> SlotVerdict:
    index, slot = key
    digest = _delivered(case, key)
    return SlotVerdict(
        microjob=index,
        slot=slot,
        copy=case.evidence.plan.microjobs[index].slots[slot].copy,
        worker=case.evidence.submissions[index].worker.hex(),
        verdict=_verdict(reason),
        reason=reason,
        digest=None if digest is None else digest.hex(),
    )


def _count_workers(case: Case, reasons: Mapping[Key, Reason]) -> tuple[WorkerCount, ...]:
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


def _count_referee(case: Case, demanded: frozenset[int]) -> RefereeCount:
    copies = frozenset(case.evidence.plan.referee_copies)
    audited = challenged_blocks(case.evidence.plan, dict(case.evidence.challenged)) - copies
    return RefereeCount(copies=len(copies), audited=len(audited), redone=len(demanded - copies - audited))
