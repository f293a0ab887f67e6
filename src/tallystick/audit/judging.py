"""Who was right, judged again: secrets, plan, challenge, submissions, verdict list, settled results.

Knows what each of these must be from what stands in the log before it. Refuses to know amounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tallystick import commitment
from tallystick.audit.bundle import Bundle, BundledSubmission
from tallystick.audit.lifecycle import Facts
from tallystick.commitment import Opening, Output
from tallystick.errors import CommitmentError, VerificationError
from tallystick.job import ZERO_CLASS_ID
from tallystick.ledger import payloads as say
from tallystick.ledger.jobs import inner_commitment
from tallystick.ledger.settled import results_root, settled_results
from tallystick.primitives.canonical import encode
from tallystick.primitives.keys import address_of
from tallystick.slicing import MicroJob, Move, Plan, plan, reassign
from tallystick.verification.challenge import challenge, challenged, plan_seed
from tallystick.verification.judge import judge, wanted
from tallystick.verification.separation import check_recomputed
from tallystick.verification.verdict import BlockVerdict, Evidence, Judgement, Submission

BLANK_META: Final = "00" * 32
"""Stands as meta where nothing was delivered."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """The plan of the attempt after every move, the owner of every micro job by it, and the void pairs of the moves."""

    plan: Plan
    owners: tuple[bytes, ...]
    void: frozenset[int]


def check_secrets(facts: Facts) -> None:
    """Check that both revealed secrets open what the order committed to.

    Raises:
        CommitmentError: a secret is another one.
    """
    assign = commitment.assign_commitment(facts.job, bytes.fromhex(facts.settled.payload.assign_secret)).hex()
    order, drawn = facts.submitted.payload, facts.drawn.payload
    if assign != order.assign_commitment:
        what = "commitment to the coordinator's secret"
        raise CommitmentError(what, expected=order.assign_commitment, actual=assign)
    secret = bytes.fromhex(drawn.secret)
    if drawn.drawn_by is say.Drawer.BUYER:
        promised, opened = order.buyer_commitment, commitment.buyer_commitment(facts.job, secret).hex()
    else:
        promised, opened = order.assign_commitment, commitment.assign_commitment(facts.job, secret).hex()
    if opened != promised:
        what = f"commitment to the {drawn.drawn_by.value}'s secret"
        raise CommitmentError(what, expected=promised, actual=opened)


def check_plan(facts: Facts, bundle: Bundle) -> Assigned:
    """Draw the plan again and check assignment, every move, every posted root, and how the uploads closed.

    Raises:
        VerificationError: a seat, size, signature, root or list of missing micro jobs is not what the plan gives, or
            moves brought both executions of a block to one operator and the referee did not recompute it.
    """
    secret = bytes.fromhex(facts.settled.payload.assign_secret)
    drawn = plan(facts.spec, plan_seed(facts.job, secret, facts.submitted.block.digest))
    owners = _owners(facts, drawn)
    stated = facts.scheduled.payload
    root = commitment.assignments_root(facts.job, secret, owners).hex()
    if (stated.microjobs, stated.assignments_root) != (len(owners), root):
        actual = (stated.microjobs, stated.assignments_root)
        raise CommitmentError("assignments of JobScheduled", expected=(len(owners), root), actual=actual)
    for index in facts.results:
        if index >= len(owners):
            raise VerificationError("micro job of SUBMIT_RESULT", expected=f"below {len(owners)}", actual=index)
    # That nobody moved what had a root, and whose stake was free, is for the ledger's rules (step 14).
    moves = tuple(Move(said.payload.microjob, said.payload.seat) for said in facts.moved)
    recomputed = {line.block for line in bundle.verdicts if line.reference is not None}
    void = check_recomputed(facts.spec.pool, drawn, moves, recomputed)
    drawn = reassign(drawn, moves)
    owners = _owners(facts, drawn)
    for microjob, owner in zip(drawn.microjobs, owners, strict=True):
        _check_result(facts, microjob, owner)
    _check_closing(facts, bundle, len(owners))
    return Assigned(drawn, owners, void)


def _owners(facts: Facts, drawn: Plan) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(facts.spec.pool[each.seat].worker) for each in drawn.microjobs)


def _check_result(facts: Facts, microjob: MicroJob, owner: bytes) -> None:
    said = facts.results.get(microjob.index)
    if said is None:
        return
    payload = said.payload
    actual = (said.entry.transaction.sender.hex(), payload.worker_address, payload.tree_size, payload.class_id)
    expected = (owner.hex(), address_of(owner), len(microjob.slots), ZERO_CLASS_ID)
    if actual != expected:
        what = f"worker, address, slots and class of micro job {microjob.index}"
        raise VerificationError(what, expected=expected, actual=actual)
    commitment.check_commitment(inner_commitment(facts.job, owner, payload))


def _check_closing(facts: Facts, bundle: Bundle, count: int) -> None:
    payload = facts.closed.payload
    roots = [facts.results.get(index) for index in range(count)]
    root = commitment.roots_root([None if each is None else bytes.fromhex(each.payload.result_hash) for each in roots])
    if payload.roots_root != root.hex():
        raise VerificationError("roots_root of UploadsClosed", expected=root.hex(), actual=payload.roots_root)
    arrived = {each.microjob for each in bundle.submissions if each.delivered is not None}
    missing = tuple(index for index in range(count) if index not in arrived or roots[index] is None)
    if payload.missing != missing:
        what = "micro jobs whose bytes are missing by UploadsClosed"
        raise VerificationError(what, expected=missing, actual=payload.missing)


def check_challenge(facts: Facts) -> bytes:
    """Draw the challenge again and return it.

    Raises:
        VerificationError: it is drawn from another header, other roots or another secret.
    """
    drawn, closed = facts.drawn.payload, facts.closed
    actual = (drawn.header, drawn.roots_root)
    expected = (closed.block.digest.hex(), closed.payload.roots_root)
    if actual != expected:
        raise VerificationError("header and roots_root of the challenge", expected=expected, actual=actual)
    roots, secret = bytes.fromhex(closed.payload.roots_root), bytes.fromhex(drawn.secret)
    chal = challenge(facts.job, roots, closed.block.digest, secret)
    if drawn.challenge != chal.hex():
        raise VerificationError("challenge", expected=chal.hex(), actual=drawn.challenge)
    return chal


def check_submissions(facts: Facts, bundle: Bundle, assigned: Assigned, chal: bytes) -> Evidence:
    """Lay out what was delivered and opened, one submission a micro job, as evidence for the judge.

    Raises:
        VerificationError: a submission is missing, superfluous, of another size, or holds what nothing binds.
    """
    indices = tuple(each.microjob for each in bundle.submissions)
    expected = tuple(range(len(assigned.owners)))
    if indices != expected:
        raise VerificationError("micro jobs of the submissions", expected=_span(expected), actual=_span(indices))
    return Evidence(
        spec=facts.spec,
        job=facts.job,
        plan=assigned.plan,
        challenged=challenged(facts.spec, assigned.plan, chal),
        submissions=tuple(_submission(facts, each, assigned) for each in bundle.submissions),
        void=assigned.void,
    )


def _submission(facts: Facts, shown: BundledSubmission, assigned: Assigned) -> Submission:
    slots, owner = len(assigned.plan.microjobs[shown.microjob].slots), assigned.owners[shown.microjob]
    said = facts.results.get(shown.microjob)
    if shown.delivered is None:
        if shown.openings is not None or shown.meta != BLANK_META:
            what = f"meta and openings of micro job {shown.microjob}, whose bytes are missing"
            raise VerificationError(what, expected="zeros and none", actual="others")
    elif len(shown.delivered) != slots:
        what = f"delivered slots of micro job {shown.microjob}"
        raise VerificationError(what, expected=slots, actual=len(shown.delivered))
    return Submission(
        worker=owner,
        commitment=None if said is None else inner_commitment(facts.job, owner, said.payload),
        delivered=None if shown.delivered is None else _outputs(shown),
        openings=None if shown.openings is None else _openings(shown),
    )


def _outputs(shown: BundledSubmission) -> tuple[Output, ...]:
    meta = bytes.fromhex(shown.meta)
    return tuple(Output(bytes.fromhex(each.digest), each.length, meta) for each in shown.delivered or ())


def _openings(shown: BundledSubmission) -> tuple[Opening, ...]:
    return tuple(Opening(bytes.fromhex(each.salt), bytes.fromhex(each.leaf)) for each in shown.openings or ())


def check_verdicts(facts: Facts, bundle: Bundle, evidence: Evidence) -> Judgement:
    """Judge again with the referee's digests from the verdict list, and compare line by line.

    Raises:
        VerificationError: the law wants a block recomputed that was not, a verdict differs, or the root does.
    """
    reference = {line.block: bytes.fromhex(line.reference) for line in bundle.verdicts if line.reference is not None}
    lacking = wanted(evidence, reference)
    if lacking:
        raise VerificationError("blocks that the law wants recomputed", expected="all", actual=f"not {_span(lacking)}")
    judgement = judge(evidence, reference)
    if len(judgement.blocks) != len(bundle.verdicts):
        count = len(judgement.blocks)
        raise VerificationError("lines of the verdict list", expected=count, actual=len(bundle.verdicts))
    for due, line in zip(judgement.blocks, bundle.verdicts, strict=True):
        if due != line:
            raise VerificationError(f"verdict on block {due.block}", expected=_words(due), actual=_words(line))
    root, stated = judgement.root().hex(), facts.settled.payload.verdicts_root
    if root != stated:
        raise VerificationError("verdicts_root of JobSettled", expected=root, actual=stated)
    return judgement


def check_results(facts: Facts, evidence: Evidence, judgement: Judgement) -> int:
    """Settle the results again and compare their root with JobSettled's and its block's; return how many they are.

    Raises:
        VerificationError: either root differs.
    """
    start = facts.started.block.header.time
    posted = (facts.results.get(index) for index in range(len(evidence.submissions)))
    elapsed = [None if said is None else said.block.header.time - start for said in posted]
    results = settled_results(evidence, judgement, elapsed)
    root, settled = results_root(results).hex(), facts.settled
    if settled.payload.results_root != root:
        raise VerificationError("results_root of JobSettled", expected=root, actual=settled.payload.results_root)
    if settled.block.header.compute_root != root:
        what = f"compute_root of block {settled.block.header.height}"
        raise VerificationError(what, expected=root, actual=settled.block.header.compute_root)
    return len(results)


def _span(indices: Sequence[int]) -> str:
    """Spell indices briefly."""
    shown = ", ".join(str(index) for index in indices[:8])
    return f"{shown}, … ({len(indices)} in all)" if len(indices) > len(indices[:8]) else shown or "none"


def _words(line: BlockVerdict) -> str:
    """Spell a line of the verdict list for people: its canonical JSON."""
    return encode(line).decode()
