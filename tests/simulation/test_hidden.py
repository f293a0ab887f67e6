"""Whole jobs with hidden copies: they end, the audit holds, and what slips is what the page says slips."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import sqrt
from typing import Any, Final

import pytest

from tallystick.audit.findings import Result
from tallystick.job import Placement
from tallystick.ledger import payloads as say
from tallystick.node.worker import Assignment
from tallystick.simulation.dishonest import Cheat, Choose
from tallystick.simulation.disk import Fault, PowerCut
from tallystick.simulation.media import parse_picture
from tallystick.simulation.world import World
from tallystick.slicing import Plan, layout, share
from tallystick.verification.deterrence import missed_by_audits
from tallystick.verification.verdict import Reason, Verdict
from tests.simulation.test_crash import life
from tests.simulation.test_detection import SMALL, assert_agrees, drawn_plan, order_of
from tests.worlds import (
    JOB,
    KERNEL,
    assert_at_rest,
    assert_paid_once,
    audited,
    cheating,
    done,
    pixels,
    right_pixels,
    slots,
)

HIDDEN: Final[dict[str, Any]] = {"block": 8, "operators": 3, "placement": Placement.HIDDEN}
RUNS: Final = 200


def checkers(drawn: Plan) -> list[int]:
    return [each.index for each in drawn.microjobs if each.slots[0].copy]


@pytest.mark.parametrize("operators", [1, 2, 3])
def test_an_honest_job_is_delivered_paid_and_holds_before_a_stranger(operators: int) -> None:
    world = done(0, None, SMALL, **HIDDEN | {"operators": operators, "workers": 4})
    spec, drawn = order_of(world), drawn_plan(world)
    counts = layout(spec)
    assert_at_rest(world)
    assert pixels(world.output()) == right_pixels(SMALL)
    report = audited(world, source=parse_picture(SMALL))
    assert report.result is Result.HOLDS
    assert ("copies: hidden among the micro jobs" in spec.labels) == (operators > 1)
    assert ("copies: computed by the referee" in spec.labels) == (operators == 1)
    (settled,) = world.payloads(say.JobSettled)
    assert settled.copies == (counts.copies if operators == 1 else 0)
    assert len(checkers(drawn)) * counts.size == (0 if operators == 1 else counts.copies)
    twice = [slot for slot in slots(world) if slot.reason is Reason.COPIES_AGREE]
    audits = [slot for slot in slots(world) if slot.reason is Reason.RECOMPUTED]
    assert len(twice) + len(audits) >= (2 if operators > 1 else 1) * counts.copies
    # Every ordinary micro job was checked in at least one block.
    checked = {slot.microjob for slot in (*twice, *audits) if not slot.copy}
    assert checked == set(range(counts.microjobs)) - set(checkers(drawn))


def test_a_lone_forger_is_seen_as_often_as_its_plans_say() -> None:
    """One block of one micro job: certain where the block is executed again, and otherwise the audits' chance."""
    cast, chances, seen = {2: cheating(Cheat.FORGE, lambda each, slot: (each.microjob.index, slot) == (2, 0))}, [], 0
    for seed in range(RUNS):
        world = done(seed, cast, SMALL, **HIDDEN)
        spec, drawn = order_of(world), drawn_plan(world)
        sizes, policy = [len(each.slots) for each in drawn.microjobs], spec.policy
        again = drawn.microjobs[2].slots[0].block in drawn.duplicated()
        bad = [int(index == 2) for index in range(len(sizes))]
        audits = 1 - missed_by_audits(sizes, bad, share(policy.audit, len(sizes)), policy.audit_blocks)
        chances.append(Fraction(1) if again else audits)
        refuted = any(slot.verdict is Verdict.REFUTED for slot in slots(world))
        assert refuted or not again
        seen += refuted
    assert_agrees(seen, chances)
    # 30 of 64 blocks are executed twice, so that 60 of 94 slots are met.
    assert abs(sum(chance == 1 for chance in chances) / RUNS - 60 / 94) < 4 * sqrt(0.25 / RUNS)


def test_a_checker_that_forges_falls_alone() -> None:
    """A mismatch names no culprit: whoever frames a whole group of others is the only one that loses."""
    plans = (drawn_plan(done(seed, None, SMALL, **HIDDEN)) for seed in range(20))
    seed, drawn = next((seed, each) for seed, each in enumerate(plans) if 1 in {index % 3 for index in checkers(each)})
    framing = [index for index in checkers(drawn) if index % 3 == 1]

    def choose(assignment: Assignment, _slot: int) -> bool:
        return assignment.microjob.index in framing

    world = done(seed, {1: cheating(Cheat.FORGE, choose)}, SMALL, **HIDDEN)
    assert drawn_plan(world) == drawn
    refuted = [slot for slot in slots(world) if slot.verdict is not Verdict.UPHELD]
    assert {(slot.microjob, slot.verdict) for slot in refuted} == {(index, Verdict.REFUTED) for index in framing}
    assert all(slot.copy for slot in refuted)
    (settled,) = world.payloads(say.JobSettled)
    assert [int(line.amount) > 0 for line in settled.lines] == [True, False, True]
    assert [int(line.slashed) > 0 for line in settled.lines] == [False, True, False]
    assert_at_rest(world, [JOB])
    assert audited(world, source=parse_picture(SMALL)).result is Result.HOLDS


def known_to(league: set[int], drawn: Plan) -> dict[int, set[int]]:
    """The slots that a league may forge: those of its members whose checker it holds, but for the copied blocks."""
    seat = {slot.block: each.seat for each in drawn.microjobs for slot in each.slots if slot.copy}
    safe = {}
    for each in drawn.microjobs:
        copied = {place for place, slot in enumerate(each.slots) if slot.block in seat}
        if each.seat in league and not each.slots[0].copy and {seat[each.slots[p].block] for p in copied} <= league:
            safe[each.index] = set(range(len(each.slots))) - copied
    return safe


def leagued(safe: dict[int, set[int]], seats: Iterable[int]) -> dict[int, Any]:
    def choose(assignment: Assignment, slot: int) -> bool:
        return slot in safe.get(assignment.microjob.index, ())

    chosen: Choose = choose
    return {seat: cheating(Cheat.FORGE, chosen) for seat in seats}


def test_a_league_that_holds_the_checker_is_seen_by_audits_only() -> None:
    """Two of three operators compare notes: no copy ever meets them, whatever they forge."""
    league, seen, chances, unseen, total = {0, 1}, 0, [], 0, 0
    for seed in range(60):
        drawn = drawn_plan(done(seed, None, SMALL, **HIDDEN))
        safe = known_to(league, drawn)
        total += sum(each.seat in league and not each.slots[0].copy for each in drawn.microjobs)
        unseen += len(safe)
        if not safe:
            continue
        world = done(seed, leagued(safe, league), SMALL, **HIDDEN)
        spec = order_of(world)
        sizes = [len(each.slots) for each in drawn.microjobs]
        bad = [len(safe.get(index, ())) for index in range(len(sizes))]
        chances.append(1 - missed_by_audits(sizes, bad, share(spec.policy.audit, len(sizes)), spec.policy.audit_blocks))
        refuted = any(slot.verdict is Verdict.REFUTED for slot in slots(world))
        seen += refuted
        assert refuted or all(slot.verdict is Verdict.UPHELD for slot in slots(world))
    assert_agrees(seen, chances)
    # Either of the two others may hold a micro job's checker, and one of them is in league: c = 1/2.
    assert abs(unseen / total - Fraction(1, 2)) < 0.2


def test_the_power_goes_off_between_any_two_entries_and_the_hidden_job_ends_as_planned() -> None:
    appends = done(0, None, SMALL, **HIDDEN).disk.acts.count("append")
    for number in range(1, appends):
        first = World(0, executor=KERNEL)
        first.disk.fault = Fault(number, "append", after=True)
        with pytest.raises(PowerCut):
            life(first, SMALL, **HIDDEN)
        second = first.restarted()
        life(second, SMALL, **HIDDEN)
        assert_at_rest(second)
        assert_paid_once(second)
        assert [slot.verdict for slot in slots(second) if slot.verdict is not Verdict.UPHELD] == []
        assert audited(second, source=parse_picture(SMALL)).result is Result.HOLDS
