"""At the default rates forgery is seen as often as the formula says: 200 seeded jobs, held within four standard errors.

With one operator the referee computes the copies of blocks drawn over the whole job: `deterrence.detection` is exact.
With three operators copies lie on workers' slots. Which slots a forger holds is then not independent of where copies
lie (a copy is kept from its original's operator), so no closed form over counts is exact; what is tested instead is the
chance given the plan that was drawn: certainty where a forged slot has its second execution elsewhere, and otherwise
the exact chance of the audits.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import sqrt
from typing import Any, Final

import pytest

from tallystick.audit.findings import Result
from tallystick.job import JobSpec, spec_digest
from tallystick.ledger import payloads as say
from tallystick.node.worker import Assignment
from tallystick.simulation.dishonest import Cheat, Choose
from tallystick.simulation.media import noise, parse_picture
from tallystick.simulation.world import World
from tallystick.slicing import Layout, Plan, layout, plan, share
from tallystick.verification.challenge import plan_seed
from tallystick.verification.deterrence import detection, missed_by_audits, missed_by_copies
from tallystick.verification.verdict import Verdict
from tests.worlds import JOB, assert_at_rest, audited, cheating, done, slots

RUNS: Final = 200
SMALL: Final = noise(2, 32, 32)
"""64 blocks of 8 pixels at 2x."""
FORGED_PER_MICROJOB: Final = 3


def first_slots(count: int) -> Choose:
    def choose(_assignment: Assignment, slot: int) -> bool:
        return slot < count

    return choose


def order_of(world: World) -> JobSpec:
    (submitted,) = world.payloads(say.JobSubmitted)
    return submitted.spec


def forged_sizes(spec: JobSpec, counts: Layout, per_microjob: int, seats: Iterable[int]) -> tuple[list[int], list[int]]:
    """Slots and forged slots of every micro job."""
    sizes = [counts.slots_of(index) for index in range(counts.microjobs)]
    forgers = set(seats)
    bad = [min(per_microjob, size) if index % len(spec.pool) in forgers else 0 for index, size in enumerate(sizes)]
    return sizes, bad


def seen(world: World) -> bool:
    """Whether any forged block was refuted; where one is, every forged slot of its worker is."""
    refuted = [slot for slot in slots(world) if slot.verdict is Verdict.REFUTED]
    forged_slots = [slot for slot in slots(world) if slot.microjob % 3 == 0 and slot.slot < FORGED_PER_MICROJOB]
    assert len(refuted) in {0, len(forged_slots)}
    return bool(refuted)


def drawn_plan(world: World) -> Plan:
    """The plan of the job, from what its settlement opened."""
    spec = order_of(world)
    (settled,) = world.payloads(say.JobSettled)
    entries = world.entries()
    at = next(index for index, entry in enumerate(entries) if isinstance(entry.payload, say.JobSubmitted))
    header = next(entry for entry in entries[at:] if isinstance(entry.payload, say.BlockHeader))
    return plan(spec, plan_seed(spec_digest(spec), bytes.fromhex(settled.assign_secret), header.digest))


def assert_agrees(found: int, chances: list[Fraction]) -> None:
    """The count lies within four standard errors of its mean."""
    mean, deviation = float(sum(chances)), sqrt(float(sum(p * (1 - p) for p in chances)))
    assert 0 < mean < len(chances)
    assert abs(found - mean) <= 4 * deviation, f"seen {found} times, {mean:.1f} +- {deviation:.1f} were expected"


@pytest.mark.parametrize(
    ("wanted", "least", "most"),
    [
        # Default rates; copies alone; audits alone, where 13 % of 6 micro jobs round to one.
        ({}, 0.3, 0.5),
        ({"audit": 0}, 0.25, 0.45),
        ({"duplicates": 0}, 0.05, 0.15),
        ({"duplicates": 0, "audit": 500_000, "audit_blocks": 4}, 0.4, 0.7),
    ],
    ids=["defaults", "copies", "audits", "half-audited"],
)
def test_one_operator_is_seen_as_often_as_the_formula_says(wanted: dict[str, Any], least: float, most: float) -> None:
    cast = {0: cheating(Cheat.FORGE, first_slots(FORGED_PER_MICROJOB))}
    worlds = [done(seed, cast, SMALL, block=8, **wanted) for seed in range(RUNS)]
    spec = order_of(worlds[0])
    counts = layout(spec)
    assert (counts.blocks, counts.microjobs) == (64, 6)
    sizes, bad = forged_sizes(spec, counts, FORGED_PER_MICROJOB, {0})
    audited = share(spec.policy.audit, counts.microjobs)
    chance = detection(
        sizes, bad, blocks=counts.blocks, copies=counts.copies, audited=audited, sampled=spec.policy.audit_blocks
    )
    assert least < chance < most
    assert_agrees(sum(map(seen, worlds)), [chance] * RUNS)
    for world in worlds:
        assert world.locked() == []


def test_three_operators_are_seen_as_often_as_their_plans_say() -> None:
    cast = {0: cheating(Cheat.FORGE, first_slots(FORGED_PER_MICROJOB))}
    worlds = [done(seed, cast, SMALL, block=8, operators=3) for seed in range(RUNS)]
    chances, met = [], 0
    for world in worlds:
        chance = conditional(order_of(world), drawn_plan(world))
        chances.append(chance)
        met += chance == 1
        # A forged block with its second execution at an honest operator is always seen.
        assert seen(world) or chance < 1
    assert_agrees(sum(map(seen, worlds)), chances)
    # How often copies meet a forged slot is close to the formula's, though not exactly it: the plan parts the pairs.
    counts = layout(order_of(worlds[0]))
    rough = 1 - missed_by_copies(counts.slots, 2 * counts.copies, 2 * FORGED_PER_MICROJOB)
    assert abs(met / RUNS - float(rough)) < 4 * sqrt(float(rough * (1 - rough)) / RUNS) + 0.05


def conditional(spec: JobSpec, drawn: Plan) -> Fraction:
    """The chance that forgery is seen, given the plan: one where a copy meets it, else the audits'."""
    duplicated = drawn.duplicated()
    forged_slots = [
        slot for microjob in drawn.microjobs if microjob.seat == 0 for slot in microjob.slots[:FORGED_PER_MICROJOB]
    ]
    if any(slot.block in duplicated for slot in forged_slots):
        return Fraction(1)
    sizes, bad = forged_sizes(spec, drawn.layout, FORGED_PER_MICROJOB, {0})
    audited = share(spec.policy.audit, drawn.layout.microjobs)
    return 1 - missed_by_audits(sizes, bad, audited, spec.policy.audit_blocks)


def test_what_slips_is_delivered_and_paid_and_the_home_still_ends() -> None:
    """Forgery that no check met is accepted: the documentation says so, and so does the verdict list."""
    cast = {0: cheating(Cheat.FORGE, first_slots(1))}
    world = next(
        each
        for each in (done(seed, cast, SMALL, block=8) for seed in range(20))
        if all(slot.verdict is Verdict.UPHELD for slot in slots(each))
    )
    (settled,) = world.payloads(say.JobSettled)
    assert all(int(line.amount) > 0 for line in settled.lines)
    assert_at_rest(world, [JOB])
    # Whoever has the input can still find it, at any later time.
    found = [each for each in audited(world, source=parse_picture(SMALL)).findings if each.result is not Result.NOTE]
    assert [each.name for each in found if each.result is Result.DOES_NOT_HOLD] == ["recompute"]
    honest = done(0, None, SMALL, block=8)
    assert audited(honest, source=parse_picture(SMALL)).result is Result.HOLDS
