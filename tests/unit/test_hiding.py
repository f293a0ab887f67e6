"""The hidden placement against its page, its closed forms, and what a coalition may know of it."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from math import gcd, isclose, sqrt
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tallystick.errors import PolicyError, UsageError, VerificationError
from tallystick.hiding import Frame, Hiding, frame, hide
from tallystick.job import JobSpec, Placement, Seat
from tallystick.ledger.settlement import exposure, quote
from tallystick.primitives.digests import sha256
from tallystick.slicing import Layout, Move, Plan, Slot, check_separable, check_task, layout, plan, seat_of
from tallystick.verification.deterrence import copies_of_the_rest, inside, missed_by_checker, unseen_by_copies
from tallystick.verification.separation import Separation
from tests.orders import SEED, key, make_order, sized
from tests.unit.hiding_definition import counted, placed

HIDDEN: Final[dict[str, Any]] = {"placement": Placement.HIDDEN, "duplicates": 0}


def hidden(columns: int, rows: int, operators: str = "abc", size: int = 16, group: int = 10) -> JobSpec:
    return sized(columns, rows, operators=operators, blocks_per_microjob=size, microjobs_per_macrojob=group, **HIDDEN)


def frame_of(spec: JobSpec) -> Frame:
    counts = layout(spec)
    operators = () if spec.referee_copies else tuple(seat.operator for seat in spec.pool)
    found = frame(counts.blocks, counts.size, spec.grid.microjobs_per_macrojob, operators)
    assert found is not None
    return found


def hiding_of(spec: JobSpec, seed: bytes = SEED) -> Hiding:
    return hide(frame_of(spec), seed)


def pairs(drawn: Plan) -> list[list[tuple[int, bool]]]:
    listed = [[(slot.block, slot.copy) for slot in each.slots] for each in drawn.microjobs]
    return [*listed, [(block, True) for block in drawn.referee_copies]] if drawn.referee_copies else listed


def test_every_plan_is_the_one_that_the_page_describes() -> None:
    source, seen = random.Random(5), Counter[bool]()
    for _ in range(400):
        operators = "".join(source.choice("abcd"[: source.randint(1, 4)]) for _ in range(source.randint(1, 8)))
        columns, rows = source.randint(1, 12), source.randint(1, 8)
        size, group, seed = source.randint(1, 16), source.choice([1, 2, 3, 4, 10]), source.randbytes(32)
        spec, blocks = hidden(columns, rows, operators, size, group), columns * rows
        expected = counted(operators, blocks, size, group)
        seen[expected is None] += 1
        if expected is None:
            with pytest.raises(PolicyError, match="use --placement spread"):
                plan(spec, seed)
            continue
        counts = layout(spec)
        assert (counts.size, counts.copies, counts.microjobs) == (expected[0], expected[0] * expected[1], expected[2])
        assert pairs(plan(spec, seed)) == placed(operators, blocks, group, expected, seed)
    assert seen[False] > 200
    assert seen[True] > 20


@pytest.mark.parametrize(
    ("columns", "rows", "operators", "size", "checkers", "microjobs"),
    [
        # The defaults on 1600 blocks: 100 ordinary micro jobs in groups of ten, each with six more blocks checked.
        (40, 40, "abc", 16, 10, 110),
        # Eleven workers of eleven operators: micro jobs shrink until there are two for each.
        (16, 10, "abcdefghijk", 8, 3, 23),
        # Two operators check each other, so there is never one checker alone.
        (16, 10, "ab", 16, 2, 12),
        # 24 blocks: four micro jobs of five and one of four, in two groups.
        (6, 4, "abc", 5, 2, 7),
        # One block a micro job: everything is executed twice.
        (2, 2, "ab", 1, 4, 8),
        # One operator: the referee checks 16 micro jobs in two groups.
        (16, 16, "aaa", 16, 2, 16),
    ],
)
def test_the_counts_of_some_orders(
    columns: int, rows: int, operators: str, size: int, checkers: int, microjobs: int
) -> None:
    counts = layout(hidden(columns, rows, operators))
    assert (counts.size, counts.copies // counts.size, counts.microjobs) == (size, checkers, microjobs)
    held = counts.blocks + (counts.copies if len(set(operators)) > 1 else 0)
    assert counts.slots == held == sum(counts.slots_of(index) for index in range(microjobs))


def test_eleven_operators_with_one_micro_job_each_have_one_checker() -> None:
    assert frame(160, 16, 10, tuple("abcdefghijk")) == Frame(160, 16, 10, 1, tuple("abcdefghijk"))
    groups = hide(Frame(160, 16, 10, 1, tuple("abcdefghijk")), SEED).groups
    assert [len(each.members) for each in groups] == [10]
    assert [len(each.blocks) for each in groups] == [16]


def test_prices_seats_and_bonds_follow_from_the_order_before_any_seed_is_known() -> None:
    spec = make_order(**HIDDEN)
    price = quote(spec)
    assert (price.work, price.duplicates, price.reserve) == (24 * 1200, 8 * 1200, 8 * 1000)
    for seed in (SEED, sha256(b"another")):
        drawn = plan(spec, seed)
        assert [each.seat for each in drawn.microjobs] == [seat_of(spec, index) for index in range(8)]
        assert [len(each.slots) for each in drawn.microjobs] == [4] * 8
        held = Counter(each.seat for each in drawn.microjobs)
        assert [exposure(spec, drawn.layout, seat) for seat in range(3)] == [40_000 * held[seat] for seat in range(3)]
    assert quote(make_order("aaa", **HIDDEN)).duplicates == 8 * 1000


def test_the_example_of_the_page_names_who_checks_whom() -> None:
    first, second = hiding_of(make_order(**HIDDEN)).groups
    assert (first.checker, first.members, second.checker, second.members) == (1, (3, 5, 0), 6, (4, 7, 2))
    page = (Path(__file__).resolve().parents[2] / "docs" / "spec" / "plan.md").read_text(encoding="utf-8")
    said = " ".join(page.split())
    assert "Checker 1 visits micro jobs 3, 5, 0 (start 1, step 1)" in said
    assert "checker 6 visits 4, 7, 2" in said


def test_no_place_gives_a_checker_away() -> None:
    """Every micro job of full size is a checker for some seed, about as often as any other."""
    spec, runs, found = hidden(16, 16), 600, Counter[int | None]()
    for number in range(runs):
        found.update(
            each.checker for each in hiding_of(spec, sha256(b"place", bytes(2), number.to_bytes(2, "big"))).groups
        )
    counts = layout(spec)
    mean = runs * 2 / counts.microjobs
    assert set(found) == set(range(counts.microjobs))
    assert all(abs(times - mean) <= 5 * sqrt(mean) for times in found.values())


def test_the_steps_of_an_order_visit_every_member_once() -> None:
    framed, steps = Frame(160, 16, 10, 1, tuple("abcdefghijk")), set()
    for number in range(200):
        (group,) = hide(framed, sha256(b"step", bytes([number]))).groups
        ranks = [sorted(group.members).index(member) for member in group.members]
        step = (ranks[1] - ranks[0]) % 10
        assert sorted(ranks) == list(range(10))
        assert all((later - sooner) % 10 == step for sooner, later in pairwise(ranks))
        steps.add((ranks[0], step))
    # 10 starts and the four units mod 10: step 5 would visit two members only.
    assert {step for _, step in steps} == {step for step in range(1, 10) if gcd(step, 10) == 1} == {1, 3, 7, 9}
    assert {start for start, _ in steps} == set(range(10))


def test_a_lone_worker_is_met_by_the_certain_copy_with_m_of_b() -> None:
    """Weakness 12: of one micro job's 16 blocks, one is certain to be executed again."""
    framed, runs, met = Frame(256, 16, 16, 1, ()), 60, Counter[int]()
    for number in range(runs):
        hiding = hide(framed, sha256(b"met", bytes([number])))
        (group,) = hiding.groups
        assert len(group.blocks) == len(group.members) == 16  # no room for others
        for member, block in zip(group.members, group.blocks, strict=True):
            place = hiding.ordinary[member].index(block)
            met.update(forged for forged in (1, 2, 4, 8, 16) if place < forged)
    for forged in (1, 2, 4, 8, 16):
        chance = 1 - missed_by_checker([16] * 16, [forged] + [0] * 15, 16)
        assert chance == Fraction(forged, 16)
        total = 16 * runs
        assert abs(met[forged] - total * float(chance)) <= 4 * sqrt(total * float(chance * (1 - chance)))


def test_the_chance_with_fillers_is_the_closed_form() -> None:
    """Ten micro jobs and six more blocks: three forged in one, two in another."""
    framed, runs, seen = Frame(160, 16, 10, 1, ()), 1500, 0
    for number in range(runs):
        hiding = hide(framed, sha256(b"fill", number.to_bytes(2, "big")))
        forged = {*hiding.ordinary[0][:3], *hiding.ordinary[7][:2]}
        seen += bool(forged.intersection(hiding.groups[0].blocks))
    chance = 1 - missed_by_checker([16] * 10, [3, 0, 0, 0, 0, 0, 0, 2, 0, 0], 16)
    assert abs(seen - runs * float(chance)) <= 4 * sqrt(runs * float(chance * (1 - chance)))
    assert isclose(
        chance, 1 - (13 / 16) * (14 / 16) * (145 * 144 * 143 * 142 * 141 * 140) / (150 * 149 * 148 * 147 * 146 * 145)
    )


def crowd(placement: Placement) -> JobSpec:
    """101 operators of one worker each, 6400 blocks, and copies of one block in sixteen either way."""
    rate = 0 if placement is Placement.HIDDEN else 62_500
    spec = sized(
        80, 80, operators="ab", blocks_per_microjob=16, microjobs_per_macrojob=16, placement=placement, duplicates=rate
    )
    pool = tuple(Seat(key(f"worker {n}").public.hex(), key(f"operator crowd {n}").public.hex()) for n in range(101))
    return msgspec.structs.replace(spec, pool=pool)


def shares(drawn: Plan, league: set[int]) -> tuple[float, float]:
    """Of a league's own blocks: the share that no stranger's copy can meet, and how much of the rest one does.

    Whoever holds a checker knows every block of its group that it meets, so all the members' blocks can be arranged.
    """
    holder = {slot: each.seat for each in drawn.microjobs for slot in each.slots}
    checkers = {each.seat for each in drawn.microjobs if all(slot.copy for slot in each.slots)}
    safe = met = total = 0
    for each in drawn.microjobs:
        mine = [slot for slot in each.slots if not slot.copy] if each.seat in league else []
        copies = [holder[twin] for slot in mine if (twin := Slot(slot.block, copy=True)) in holder]
        total += len(mine)
        if checkers and copies:
            safe += len(mine) if copies[0] in league else 0
        elif not checkers:
            safe += sum(seat in league for seat in copies)
        met += sum(seat not in league for seat in copies)
    return safe / total, met / (total - safe)


@pytest.mark.parametrize(
    ("colluding", "in_hiding", "spread", "rest"),
    [(11, 0.102, 0.0065, 0.0579), (31, 0.300, 0.0196, 0.0445), (51, 0.501, 0.0310, 0.0330)],
)
def test_table_5_what_no_copy_sees_of_a_coalition(colluding: int, in_hiding: float, spread: float, rest: float) -> None:
    """Equal cost v = 1/16. A copy is never with its own operator, so c = (k-1)/(n-1) of k in n operators."""
    c, v, source = inside(colluding, 101), Fraction(1, 16), random.Random(colluding)
    found: dict[Placement, list[tuple[float, float]]] = {placement: [] for placement in Placement}
    for placement in Placement:
        spec = crowd(placement)
        assert layout(spec).copies == 400
        for number in range(12):
            drawn = plan(spec, sha256(b"table 5", bytes([number])))
            found[placement] += [shares(drawn, set(source.sample(range(101), colluding))) for _ in range(4)]
    closed = {placement: unseen_by_copies(placement, v, c) for placement in Placement}
    tables = {Placement.HIDDEN: in_hiding, Placement.SPREAD: spread}
    assert closed == {Placement.HIDDEN: c, Placement.SPREAD: c / 16}
    for placement in Placement:
        measured = [safe for safe, _ in found[placement]]
        error = statistics.stdev(measured) / sqrt(len(measured))
        assert abs(statistics.mean(measured) - float(closed[placement])) <= 4 * error
        assert abs(statistics.mean(measured) - tables[placement]) <= 4 * error + 0.003
    measured = [met for _, met in found[Placement.SPREAD]]
    error = statistics.stdev(measured) / sqrt(len(measured))
    assert abs(statistics.mean(measured) - float(copies_of_the_rest(v, c))) <= 4 * error
    assert abs(statistics.mean(measured) - rest) <= 4 * error + 0.002


def test_two_operators_of_three_in_league_know_half_of_their_checks() -> None:
    assert inside(2, 3) == Fraction(1, 2)
    assert inside(1, 3) == inside(1, 1) == 0
    assert inside(3, 3) == 1


@pytest.mark.parametrize("operators", ["aaab", "aab"])
def test_a_pool_that_one_operator_rules_is_refused_with_what_to_do(operators: str) -> None:
    spec = hidden(1, 1, operators)
    with pytest.raises(PolicyError, match="divide the pool more evenly among operators, or use --placement spread"):
        layout(spec)
    big = hidden(100, 100, "a" * 127 + "b")
    with pytest.raises(PolicyError, match="cannot be kept from the operators of what they check"):
        plan(big, SEED)


def test_a_rate_of_copies_beside_a_hidden_placement_is_refused() -> None:
    spec = make_order(placement=Placement.HIDDEN, duplicates=1)
    with pytest.raises(UsageError, match="leave the rate of duplicates at 0"):
        check_task(spec)
    with pytest.raises(UsageError, match="leave the rate of duplicates at 0"):
        plan(spec, SEED)
    check_separable(make_order(**HIDDEN), layout(make_order(**HIDDEN)))


def test_a_hidden_job_of_too_many_micro_jobs_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match="block side above 8"):
        layout(hidden(128, 65, size=1))
    # 8192 ordinary ones leave no room for a checker.
    with pytest.raises(UsageError, match="8192 blocks make 16384 micro jobs, more than 8192"):
        layout(hidden(128, 64, size=1))
    assert layout(hidden(128, 64, size=16)) == Layout(
        columns=128, rows=64, copies=832, slots=9024, size=16, microjobs=564
    )


def test_lost_work_moves_to_nobody_who_knows_its_other_execution() -> None:
    spec = hidden(16, 16, "abcd")
    drawn = plan(spec, SEED)
    for group in hiding_of(spec).groups:
        assert group.checker is not None
        owners = {seat_of(spec, index) for index in group.members}
        free = set(range(4)) - owners - {seat_of(spec, group.checker)}
        for seat in range(4):
            if seat in owners:
                with pytest.raises(VerificationError, match=f"micro job {group.checker}, moved to seat {seat}"):
                    Separation(spec.pool, drawn).check(Move(group.checker, seat))
        for seat in free:
            Separation(spec.pool, drawn).check(Move(group.checker, seat))
        for index in group.members:
            with pytest.raises(VerificationError, match="an operator that never held another execution"):
                Separation(spec.pool, drawn).check(Move(index, seat_of(spec, group.checker)))
            # Ordinary micro jobs share no block, so any other seat may take one over.
            for seat in set(range(4)) - {seat_of(spec, group.checker), seat_of(spec, index)}:
                Separation(spec.pool, drawn).check(Move(index, seat))
