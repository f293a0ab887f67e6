from collections import Counter
from dataclasses import replace

import pytest

from tallystick.commitment import Commitment, Output
from tallystick.errors import IncompleteError
from tallystick.job import JobSpec
from tallystick.primitives.digests import sha256
from tallystick.slicing import Plan, block_length, plan
from tallystick.verification.judge import FAULTS, examine, judge, wanted
from tallystick.verification.verdict import Evidence, Judgement, Reason, Source, Submission, Verdict
from tests.orders import (
    META,
    SEED,
    Behave,
    commit_to,
    computed,
    evidence_of,
    forged,
    forging,
    honest,
    key,
    make_order,
    openings_of,
    references,
    right,
    truth,
    worker_key,
)

QUIET = make_order(audit=0, duplicates=0)
"""An order of 24 blocks in 6 micro jobs in which nothing is checked but what workers themselves betray."""


def decide(evidence: Evidence) -> Judgement:
    return judge(evidence, references(evidence, wanted))


def reasons_of(judgement: Judgement, index: int) -> set[Reason]:
    return {slot.reason for slot in judgement.slots().values() if slot.microjob == index}


def holders(drawn: Plan, block: int) -> list[tuple[int, int]]:
    return [(m.index, s) for m in drawn.microjobs for s, slot in enumerate(m.slots) if slot.block == block]


def never_committed(spec: JobSpec, _drawn: Plan, index: int) -> Submission:
    return Submission(worker_key(spec, index).public, None, None, None)


def silent_after_root(spec: JobSpec, drawn: Plan, index: int) -> Submission:
    return replace(honest(spec, drawn, index), delivered=None)


def delivers_too_little(spec: JobSpec, drawn: Plan, index: int) -> Submission:
    whole = honest(spec, drawn, index)
    return replace(whole, delivered=(whole.delivered or ())[:-1])


def never_opened(spec: JobSpec, drawn: Plan, index: int) -> Submission:
    return replace(honest(spec, drawn, index), openings=None)


def opens_other_leaves(spec: JobSpec, drawn: Plan, index: int) -> Submission:
    return replace(honest(spec, drawn, index), openings=forging(spec, drawn, index).openings)


def opens_too_little(spec: JobSpec, drawn: Plan, index: int) -> Submission:
    whole = honest(spec, drawn, index)
    return replace(whole, openings=(whole.openings or ())[:-1])


def delivers_other_bytes(spec: JobSpec, drawn: Plan, index: int) -> Submission:
    """Commits to the right digests and delivers others."""
    return replace(honest(spec, drawn, index), delivered=forging(spec, drawn, index).delivered)


def copies_anothers_root(spec: JobSpec, drawn: Plan, index: int) -> Submission:
    """Signs the root that another worker posted for this work, and opens that worker's leaves."""
    outputs = tuple(right(spec, drawn, each.block) for each in drawn.microjobs[index].slots)
    openings = openings_of(spec, index, outputs, key("worker 2"))
    return Submission(
        worker_key(spec, index).public, commit_to(spec, index, openings, worker_key(spec, index)), outputs, openings
    )


def shows_anothers_commitment(spec: JobSpec, drawn: Plan, index: int) -> Submission:
    """Shows a commitment that another worker signed."""
    theirs = honest(spec, drawn, index)
    openings = openings_of(spec, index, theirs.delivered or (), key("worker 2"))
    return replace(theirs, commitment=commit_to(spec, index, openings, key("worker 2")), openings=openings)


def commits_for_fewer_slots(spec: JobSpec, drawn: Plan, index: int) -> Submission:
    whole = honest(spec, drawn, index)
    openings = (whole.openings or ())[:-1]
    return replace(whole, commitment=commit_to(spec, index, openings, worker_key(spec, index)), openings=openings)


def breaks_its_signature(spec: JobSpec, drawn: Plan, index: int) -> Submission:
    whole = honest(spec, drawn, index)
    signed = whole.commitment
    assert signed is not None
    return replace(
        whole, commitment=Commitment(signed.place, signed.tree_size, signed.class_id, signed.root, bytes(64))
    )


HOSTILE: list[tuple[Behave, Reason, Verdict]] = [
    (never_committed, Reason.NEVER_COMMITTED, Verdict.UNAVAILABLE),
    (silent_after_root, Reason.NOT_DELIVERED, Verdict.UNAVAILABLE),
    (delivers_too_little, Reason.NOT_DELIVERED, Verdict.UNAVAILABLE),
    (never_opened, Reason.NOT_OPENED, Verdict.UNAVAILABLE),
    (opens_other_leaves, Reason.OPENING_DIFFERS, Verdict.REFUTED),
    (opens_too_little, Reason.OPENING_DIFFERS, Verdict.REFUTED),
    (shows_anothers_commitment, Reason.OPENING_DIFFERS, Verdict.REFUTED),
    (commits_for_fewer_slots, Reason.OPENING_DIFFERS, Verdict.REFUTED),
    (breaks_its_signature, Reason.OPENING_DIFFERS, Verdict.REFUTED),
    (delivers_other_bytes, Reason.LEAF_DIFFERS, Verdict.REFUTED),
    (copies_anothers_root, Reason.LEAF_DIFFERS, Verdict.REFUTED),
]


@pytest.mark.parametrize(
    ("behave", "reason", "verdict"), HOSTILE, ids=lambda each: getattr(each, "__name__", str(each))
)
def test_each_hostile_micro_job_falls_for_exactly_its_reason(behave: Behave, reason: Reason, verdict: Verdict) -> None:
    judgement = decide(evidence_of(QUIET, {3: behave}))
    assert reasons_of(judgement, 3) == {reason}
    slots = [slot for slot in judgement.slots().values() if slot.microjob == 3]
    assert {slot.verdict for slot in slots} == {verdict}
    for block in judgement.blocks:
        fell = any(slot.microjob == 3 for slot in block.slots)
        assert block.source is (Source.REFEREE if fell else Source.WORKER)
        assert block.accepted == truth(block.block).hex()


@pytest.mark.parametrize(
    ("behave", "reason", "verdict"), HOSTILE, ids=lambda each: getattr(each, "__name__", str(each))
)
def test_a_fault_has_the_whole_worker_redone_and_nobody_else(behave: Behave, reason: Reason, verdict: Verdict) -> None:
    judgement = decide(evidence_of(QUIET, {3: behave}))
    assert reasons_of(judgement, 0) == {Reason.RECOMPUTED if reason in FAULTS else Reason.UNCHECKED}
    for index in (1, 2, 4, 5):
        assert reasons_of(judgement, index) == {Reason.UNCHECKED}
    count = judgement.workers[0]
    refuted = verdict is Verdict.REFUTED
    assert (count.accepted, count.refuted, count.unavailable) == (4, 4 * refuted, 4 * (not refuted))
    assert (count.faulted, count.absent) == ((1, 0) if reason in FAULTS else (0, 1))
    assert judgement.referee.redone == (8 if reason in FAULTS else 4)


def test_an_honest_job_is_upheld_and_checked_only_where_the_law_says() -> None:
    evidence = evidence_of(make_order())
    judgement = decide(evidence)
    challenged = {(index, slot) for index, slots in evidence.challenged.items() for slot in slots}
    assert len(challenged) == 2
    for place, slot in judgement.slots().items():
        block = evidence.plan.microjobs[place[0]].slots[place[1]].block
        recomputed = any(each in challenged for each in holders(evidence.plan, block))
        duplicated = block in evidence.plan.duplicated()
        expected = Reason.RECOMPUTED if recomputed else Reason.COPIES_AGREE if duplicated else Reason.UNCHECKED
        assert slot.reason is expected
        assert slot.verdict is Verdict.UPHELD
    assert [block.block for block in judgement.blocks] == list(range(24))
    assert {block.source for block in judgement.blocks} == {Source.WORKER}
    assert sum(count.accepted for count in judgement.workers) == 30
    assert (judgement.referee.copies, judgement.referee.audited, judgement.referee.redone) == (0, 2, 0)


def test_void_pairs_are_recomputed_whatever_the_challenge_draws_and_nothing_else_is() -> None:
    evidence = evidence_of(make_order(audit=0))
    copies = sorted(evidence.plan.duplicated())
    for void in (copies[:1], copies[2:5], copies):
        laid = replace(evidence, void=frozenset(void))
        assert wanted(laid, {}) == tuple(void)
        with pytest.raises(IncompleteError, match=f"block {void[-1]}"):
            judge(laid, {block: truth(block) for block in void[:-1]})
        judgement = decide(laid)
        assert [each.block for each in judgement.blocks if each.reference] == void
        for line in judgement.blocks:
            reasons = {slot.reason for slot in line.slots}
            kept = {Reason.COPIES_AGREE} if line.block in copies else {Reason.UNCHECKED}
            assert reasons == ({Reason.RECOMPUTED} if line.block in void else kept)
        assert (judgement.referee.copies, judgement.referee.audited, judgement.referee.redone) == (0, 0, len(void))


def test_a_void_pair_that_was_drawn_anyway_counts_once_as_audited() -> None:
    evidence = evidence_of(make_order(audit=1_000_000, audit_blocks=4))
    judgement = decide(replace(evidence, void=evidence.plan.duplicated()))
    assert (judgement.referee.audited, judgement.referee.redone) == (24, 0)


def test_a_forgery_on_which_both_executions_agree_falls_where_the_pair_is_void() -> None:
    spec = make_order(audit=0)
    evidence = evidence_of(spec)
    block = min(evidence.plan.duplicated())
    places = holders(evidence.plan, block)
    agreed = {index: lambda *args, slot=slot: forging(*args, slots=(slot,)) for index, slot in places}
    unseen = decide(evidence_of(spec, agreed))
    assert {each.reason for each in unseen.blocks[block].slots} == {Reason.COPIES_AGREE}
    seen = decide(replace(evidence_of(spec, agreed), void=frozenset({block})))
    assert {each.reason for each in seen.blocks[block].slots} == {Reason.REFERENCE_DIFFERS}
    assert seen.blocks[block].source is Source.REFEREE
    assert {place for place, each in seen.slots().items() if each.verdict is Verdict.REFUTED} == set(places)


def test_a_forged_block_that_is_audited_differs_from_the_reference() -> None:
    spec = make_order(duplicates=0, audit=1_000_000, audit_blocks=4)
    drawn = plan(spec, SEED)
    judgement = decide(evidence_of(spec, {2: lambda *args: forging(*args, slots=(1,))}))
    found = judgement.slots()[2, 1]
    assert (found.verdict, found.reason) == (Verdict.REFUTED, Reason.REFERENCE_DIFFERS)
    block = next(each for each in judgement.blocks if each.block == drawn.microjobs[2].slots[1].block)
    assert (block.source, block.accepted, block.reference) == (Source.REFEREE, truth(block.block).hex(), block.accepted)
    assert found.digest == forged(spec, drawn, block.block).digest.hex()
    others = Counter(slot.reason for slot in judgement.slots().values())
    assert others == {Reason.RECOMPUTED: 23, Reason.REFERENCE_DIFFERS: 1}


def test_a_forged_block_that_nobody_checks_is_accepted_and_the_list_says_unchecked() -> None:
    evidence = evidence_of(QUIET, {2: forging})
    assert wanted(evidence, {}) == ()
    judgement = judge(evidence, {})
    assert reasons_of(judgement, 2) == {Reason.UNCHECKED}
    accepted = {block.accepted for block in judgement.blocks if block.slots[0].microjob == 2}
    assert truth(evidence.plan.microjobs[2].slots[0].block).hex() not in accepted


def copied_block(spec: JobSpec) -> tuple[int, tuple[int, int], tuple[int, int]]:
    drawn = plan(spec, SEED)
    block = min(drawn.duplicated())
    one, two = holders(drawn, block)
    return block, one, two


def test_where_copies_differ_the_referee_names_the_liar() -> None:
    spec = make_order(audit=0)
    block, liar, other = copied_block(spec)
    evidence = evidence_of(spec, {liar[0]: lambda *args: forging(*args, slots=(liar[1],))})
    assert wanted(evidence, {}) == (block,)
    judgement = decide(evidence)
    slots = judgement.slots()
    assert slots[liar].reason is Reason.REFERENCE_DIFFERS
    assert slots[other].reason is Reason.RECOMPUTED
    assert judgement.blocks[block].source is Source.WORKER
    assert judgement.blocks[block].accepted == truth(block).hex()
    assert [count.faulted for count in judgement.workers].count(1) == 1


def test_where_both_copies_are_wrong_both_pay() -> None:
    spec = make_order(audit=0)
    block, one, two = copied_block(spec)
    other_lie = Output(sha256(b"another lie"), block_length(spec, plan(spec, SEED).layout, block), META)
    judgement = decide(
        evidence_of(
            spec,
            {
                one[0]: lambda *args: forging(*args, slots=(one[1],)),
                two[0]: lambda *args: computed(*args, {two[1]: other_lie}),
            },
        )
    )
    slots = judgement.slots()
    assert {slots[one].reason, slots[two].reason} == {Reason.REFERENCE_DIFFERS}
    assert judgement.blocks[block].source is Source.REFEREE
    assert [count.faulted for count in judgement.workers].count(1) == 2


def test_colluders_that_hold_both_copies_are_seen_by_audits_alone() -> None:
    spec = make_order(audit=0)
    _, one, two = copied_block(spec)
    collusion = {place[0]: lambda s, p, i, at=place[1]: forging(s, p, i, slots=(at,)) for place in (one, two)}
    evidence = evidence_of(spec, collusion)
    assert wanted(evidence, {}) == ()
    assert judge(evidence, {}).slots()[one].reason is Reason.COPIES_AGREE
    audited = replace(evidence, challenged={one[0]: (one[1],)})
    slots = decide(audited).slots()
    assert {slots[one].reason, slots[two].reason} == {Reason.REFERENCE_DIFFERS}


def test_a_fallen_copy_leaves_the_other_unconfirmed() -> None:
    spec = make_order(audit=0)
    block, fallen, other = copied_block(spec)
    judgement = decide(evidence_of(spec, {fallen[0]: never_committed}))
    assert judgement.slots()[other].reason is Reason.UNCHECKED
    assert judgement.blocks[block].source is Source.WORKER


def test_with_one_operator_the_referee_computes_every_copy() -> None:
    evidence = evidence_of(make_order("aaa", audit=0))
    assert wanted(evidence, {}) == evidence.plan.referee_copies
    judgement = decide(evidence)
    assert (judgement.referee.copies, judgement.referee.audited, judgement.referee.redone) == (6, 0, 0)
    recomputed = {block.block for block in judgement.blocks if block.slots[0].reason is Reason.RECOMPUTED}
    assert recomputed == set(evidence.plan.referee_copies)


def test_an_audited_copy_is_counted_once() -> None:
    evidence = evidence_of(make_order("aaa", audit=1_000_000, audit_blocks=4))
    referee = decide(evidence).referee
    assert (referee.copies, referee.audited, referee.redone) == (6, 18, 0)


def test_bytes_of_a_wrong_length_are_recomputed_although_nobody_drew_them() -> None:
    short = Output(sha256(b"x"), 1, META)
    evidence = evidence_of(QUIET, {4: lambda *args: computed(*args, {2: short})})
    assert wanted(evidence, {}) == (evidence.plan.microjobs[4].slots[2].block,)
    assert decide(evidence).slots()[4, 2].reason is Reason.REFERENCE_DIFFERS


def test_a_second_faulty_worker_is_found_through_the_redo_of_the_first() -> None:
    """Worker 0 falls by itself; its redo reaches a copy that worker 1 forged; worker 1's other work follows."""
    spec = make_order(audit=0, duplicates=1_000_000)
    drawn = plan(spec, SEED)
    block = next(
        slot.block
        for slot in drawn.microjobs[0].slots
        if {drawn.microjobs[index].seat for index, _ in holders(drawn, slot.block)} == {0, 1}
    )
    places = holders(drawn, block)
    mine = next(place for place in places if drawn.microjobs[place[0]].seat == 0)
    theirs = next(place for place in places if drawn.microjobs[place[0]].seat == 1)
    behave: dict[int, Behave] = {
        place[0]: lambda s, p, i, at=place[1]: forging(s, p, i, slots=(at,)) for place in (mine, theirs)
    }
    other = next(m.index for m in drawn.microjobs if m.seat == 0 and m.index != mine[0])
    evidence = evidence_of(spec, behave | {other: silent_after_root})
    first = wanted(evidence, {})
    held = {seat: {slot.block for m in drawn.microjobs if m.seat == seat for slot in m.slots} for seat in range(3)}
    assert set(first) == held[0]
    known = {each: truth(each) for each in first}
    second = wanted(evidence, known)
    assert set(second) == held[1] - held[0]
    known |= {each: truth(each) for each in second}
    assert wanted(evidence, known) == ()
    judgement = judge(evidence, known)
    assert [count.faulted for count in judgement.workers] == [2, 1, 0]
    assert judgement.blocks[block].source is Source.REFEREE


def test_a_missing_reference_is_asked_for_by_name() -> None:
    evidence = evidence_of(make_order(audit=1_000_000, audit_blocks=4))
    assert wanted(evidence, {}) == tuple(range(24))
    assert wanted(evidence, {0: truth(0)}) == tuple(range(1, 24))
    with pytest.raises(IncompleteError, match="block 7 be recomputed"):
        judge(evidence, {block: truth(block) for block in range(24) if block != 7})


def test_digests_that_the_law_does_not_demand_change_nothing() -> None:
    """An auditor who recomputes everything must reach the verdict that was settled."""
    evidence = evidence_of(make_order(), {1: forging, 4: never_opened})
    everything = {block: truth(block) for block in range(24)}
    assert judge(evidence, everything) == decide(evidence)
    unchecked = evidence_of(QUIET, {2: forging})
    assert judge(unchecked, everything) == judge(unchecked, {})
    assert wanted(unchecked, everything) == ()


def test_judgement_depends_on_nothing_but_its_arguments() -> None:
    evidence = evidence_of(make_order(), {1: forging})
    known = references(evidence, wanted)
    backwards = dict(reversed(list(known.items())))
    challenged = dict(reversed(list(evidence.challenged.items())))
    before = evidence.submissions
    again = judge(replace(evidence, challenged=challenged), backwards)
    assert again == judge(evidence, known)
    assert again.root() == judge(evidence, known).root()
    assert evidence.submissions is before


def test_the_root_of_the_verdict_list_covers_every_field() -> None:
    judgement = decide(evidence_of(make_order()))
    changed = replace(judgement, blocks=judgement.blocks[:-1])
    assert changed.root() != judgement.root()
    assert len(judgement.root()) == 32


@pytest.mark.parametrize("change", ["one less", "another worker"])
def test_evidence_without_a_submission_of_every_holder_is_incomplete(change: str) -> None:
    evidence = evidence_of(QUIET)
    given = evidence.submissions
    submissions = given[:-1] if change == "one less" else (given[1], *given[1:])
    with pytest.raises(IncompleteError, match="one submission per micro job"):
        wanted(replace(evidence, submissions=submissions), {})


def test_an_honest_micro_job_falls_in_no_slot() -> None:
    assert examine(evidence_of(QUIET), 0) == {}


def test_a_worker_without_work_has_no_count() -> None:
    spec = make_order("abcd", source_width=16, source_height=8, target_width=32, target_height=16, duplicates=0)
    judgement = decide(evidence_of(spec))
    assert [count.worker.hex() for count in judgement.workers] == [seat.worker for seat in spec.pool[:2]]
