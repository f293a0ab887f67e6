"""One worker of three cheats in one way: it is found for the right reason, never paid, and the job ends as always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final, cast

import msgspec
import pytest

from tallystick.job import PPM
from tallystick.ledger import payloads as say
from tallystick.ledger.payloads import SubmitResult
from tallystick.ledger.records import Order, order_key
from tallystick.node.worker import Assignment, Posted, Worker
from tallystick.simulation.dishonest import Cheat, first_slot
from tallystick.simulation.world import World
from tallystick.verification.verdict import Reason, Verdict
from tests.worlds import (
    ALL,
    JOB,
    Garbled,
    assert_at_rest,
    assert_paid_once,
    balance,
    bond,
    cheating,
    deposited,
    done,
    of_seat,
    pixels,
    right_pixels,
    slots,
    thieving,
    verdicts,
)

CHEAT_SEAT: Final = 1
UPHELD: Final = {Reason.RECOMPUTED, Reason.COPIES_AGREE, Reason.UNCHECKED}
R, U = Verdict.REFUTED, Verdict.UNAVAILABLE

# What cheats, on which slots, the reason that must stand at those slots, and whether it costs the whole stake.
ALONE: Final = {
    Cheat.FORGE: (Reason.REFERENCE_DIFFERS, R, True),
    Cheat.WRONG_LENGTH: (Reason.REFERENCE_DIFFERS, R, True),
    Cheat.SWAP_AFTER_COMMIT: (Reason.LEAF_DIFFERS, R, True),
    Cheat.COMMIT_LATE: (Reason.NEVER_COMMITTED, U, False),
    Cheat.VANISH_AFTER_COMMIT: (Reason.NOT_DELIVERED, U, True),
    Cheat.NEVER_COMMIT: (Reason.NEVER_COMMITTED, U, False),
    Cheat.BREAK_DOWN: (Reason.NEVER_COMMITTED, U, False),
    Cheat.OPEN_ANOTHER_LEAF: (Reason.OPENING_DIFFERS, R, True),
    Cheat.OPEN_TOO_FEW: (Reason.OPENING_DIFFERS, R, True),
    Cheat.OPEN_NONSENSE: (Reason.NOT_OPENED, U, True),
    Cheat.STAY_SILENT: (Reason.NOT_OPENED, U, True),
}
THEFT: Final = {
    Cheat.COPY_COMMITMENT: (Reason.OPENING_DIFFERS, R, True),
    Cheat.COPY_OPENINGS: (Reason.LEAF_DIFFERS, R, True),
    Cheat.COPY_SIGNATURE: (Reason.NEVER_COMMITTED, U, False),
}
PARTLY: Final = {
    Cheat.FORGE: (Reason.REFERENCE_DIFFERS, R),
    Cheat.WRONG_LENGTH: (Reason.REFERENCE_DIFFERS, R),
    Cheat.SWAP_AFTER_COMMIT: (Reason.LEAF_DIFFERS, R),
    Cheat.OPEN_WRONGLY: (Reason.LEAF_DIFFERS, R),
}


def assert_caught(world: World, *, full_stake: bool) -> None:
    """The cheat is unpaid and slashed as the law says; everybody else is upheld and paid in full."""
    order = world.records[order_key(JOB, 1)]
    assert isinstance(order, Order)
    policy, price = order.spec.policy, order.spec.price.block_wei
    (settled,) = world.payloads(say.JobSettled)
    for seat, line in enumerate(settled.lines):
        held = of_seat(world, seat)
        lost = deposited(world, seat) - bond(world, seat)
        payout = balance(world, world.identity.payout(3, seat))
        if seat == CHEAT_SEAT:
            microjobs = len({slot.microjob for slot in held})
            assert payout == int(line.amount) == 0
            assert lost == int(line.slashed) == microjobs * int(policy.stake if full_stake else policy.absence)
            assert (line.faulted, line.absent) == ((microjobs, 0) if full_stake else (0, microjobs))
        else:
            assert {slot.verdict for slot in held} == {Verdict.UPHELD}
            assert payout == int(line.amount) == len(held) * price
            assert lost == int(line.slashed) == 0
    assert settled.redone > 0 or policy.audit == PPM
    assert_at_rest(world)
    assert pixels(world.output()) == right_pixels()


@pytest.mark.parametrize("audit", [PPM, 130_000])
@pytest.mark.parametrize("cheat", ALONE, ids=lambda cheat: cheat.value)
def test_a_worker_that_cheats_everywhere(cheat: Cheat, audit: int) -> None:
    # A forger of everything escapes the default audit only if neither a copy nor the audit meets one of its blocks.
    world = done(seed=3, cast={CHEAT_SEAT: cheating(cheat)}, **ALL | {"audit": audit})
    reason, verdict, full_stake = ALONE[cheat]
    assert Counter((slot.reason, slot.verdict) for slot in of_seat(world, CHEAT_SEAT)).keys() == {(reason, verdict)}
    assert_caught(world, full_stake=full_stake)


@pytest.mark.parametrize("cheat", THEFT, ids=lambda cheat: cheat.value)
def test_a_worker_that_copies_what_another_committed(cheat: Cheat) -> None:
    world = done(cast=thieving(cheat), **ALL)
    reason, verdict, full_stake = THEFT[cheat]
    assert {(slot.reason, slot.verdict) for slot in of_seat(world, CHEAT_SEAT)} == {(reason, verdict)}
    assert_caught(world, full_stake=full_stake)


def renamed(posted: Posted, **fields: object) -> Posted:
    """The same answer with other fields."""
    return Posted(msgspec.structs.replace(posted.payload, **fields), posted.meta)


GARBLED: Final[dict[str, Callable[[Posted], object]]] = {
    "for another micro job": lambda posted: renamed(posted, microjob=(posted.payload.microjob + 3) % 6),
    "for no micro job": lambda posted: renamed(posted, microjob=600),
    "for another job": lambda posted: renamed(posted, task_id="job-2"),
    "for another attempt": lambda posted: renamed(posted, attempt=2),
    "in capitals": lambda posted: renamed(posted, result_hash=posted.payload.result_hash.upper()),
    "with a number for a root": lambda posted: renamed(posted, result_hash=7),
    "with an object inside": lambda posted: renamed(posted, signature=object()),
    "over too many leaves": lambda posted: renamed(posted, tree_size=posted.payload.tree_size + 1),
    "of another type": lambda posted: Posted(cast("SubmitResult", say.Transfer("x", "1")), posted.meta),
    "with a long meta": lambda posted: Posted(posted.payload, posted.meta * 2),
    "with no bytes as meta": lambda posted: Posted(posted.payload, cast("bytes", "0" * 32)),
}


@pytest.mark.parametrize("garble", GARBLED)
def test_an_answer_in_no_form_is_no_answer(garble: str) -> None:
    world = done(
        cast={CHEAT_SEAT: lambda _world, honest: Garbled(honest, lambda _assignment, posted: GARBLED[garble](posted))},
        **ALL,
    )
    assert {slot.reason for slot in of_seat(world, CHEAT_SEAT)} == {Reason.NEVER_COMMITTED}
    assert_caught(world, full_stake=False)
    assert len(world.restarted().entries()) == len(world.entries())


@pytest.mark.parametrize("seed", range(4))
def test_a_root_that_is_signed_for_another_of_its_micro_jobs_is_no_answer(seed: int) -> None:
    """The ledger would take it, since the worker holds that micro job too; it was not asked for."""

    def always_its_last(_world: World, honest: Worker) -> Garbled:
        def garble(assignment: Assignment, posted: Posted) -> Posted:
            other = renumbered(assignment, CHEAT_SEAT + 3)
            return honest.post_root(other, bytes.fromhex(posted.payload.result_hash))

        return Garbled(honest, garble)

    world = done(seed, {CHEAT_SEAT: always_its_last}, **ALL)
    reasons = {slot.microjob: slot.reason for slot in of_seat(world, CHEAT_SEAT)}
    assert reasons == {CHEAT_SEAT: Reason.NEVER_COMMITTED, CHEAT_SEAT + 3: Reason.RECOMPUTED}
    assert_at_rest(world)
    assert pixels(world.output()) == right_pixels()


def renumbered(assignment: Assignment, index: int) -> Assignment:
    """The same assignment under another micro job's number."""
    return replace(assignment, microjob=replace(assignment.microjob, index=index))


@pytest.mark.parametrize("cheat", PARTLY, ids=lambda cheat: cheat.value)
def test_one_bad_slot_costs_the_whole_stake_and_all_pay(cheat: Cheat) -> None:
    world = done(cast={CHEAT_SEAT: cheating(cheat, first_slot)}, **ALL)
    found = {(slot.slot == 0, slot.reason, slot.verdict) for slot in of_seat(world, CHEAT_SEAT)}
    assert found == {(True, *PARTLY[cheat]), (False, Reason.RECOMPUTED, Verdict.UPHELD)}
    assert_caught(world, full_stake=True)


def test_a_worker_that_uploads_too_few_of_its_slots() -> None:
    world = done(cast={CHEAT_SEAT: cheating(Cheat.VANISH_AFTER_COMMIT, first_slot)}, **ALL)
    assert {slot.reason for slot in of_seat(world, CHEAT_SEAT)} == {Reason.NOT_DELIVERED}
    assert_caught(world, full_stake=True)


def test_uploads_that_nobody_asked_for_are_not_looked_at() -> None:
    world = done(cast={CHEAT_SEAT: cheating(Cheat.UPLOAD_TOO_MANY)}, **ALL)
    assert {slot.verdict for slot in slots(world)} == {Verdict.UPHELD}
    assert_at_rest(world)
    assert pixels(world.output()) == right_pixels()


@pytest.mark.parametrize("cheat", [Cheat.COMMIT_LATE, Cheat.NEVER_COMMIT, Cheat.VANISH_AFTER_COMMIT])
def test_a_silent_worker_has_its_full_time_and_no_more(cheat: Cheat) -> None:
    world = done(cast={CHEAT_SEAT: cheating(cheat)}, **ALL)
    order = world.records[order_key(JOB, 1)]
    assert isinstance(order, Order)
    (closed,) = world.payloads(say.UploadsClosed)
    late = cheat is Cheat.VANISH_AFTER_COMMIT
    deadline = order.spec.deadlines.upload if late else order.spec.deadlines.commit
    assert deadline < closed.occurred_at <= deadline + 1000
    assert {index % 3 for index in closed.missing} == {CHEAT_SEAT}


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_of_three_workers_so_many_forge_and_the_output_is_the_same(count: int) -> None:
    world = done(cast={seat: cheating(Cheat.FORGE, first_slot) for seat in range(count)}, **ALL)
    refuted = {slot.microjob for slot in slots(world) if slot.verdict is Verdict.REFUTED and slot.slot == 0}
    assert refuted == {slot.microjob for slot in slots(world) if slot.microjob % 3 < count}
    assert {slot.slot for slot in slots(world) if slot.verdict is not Verdict.UPHELD} <= {0}
    (settled,) = world.payloads(say.JobSettled)
    assert [int(line.amount) == 0 for line in settled.lines] == [seat < count for seat in range(3)]
    assert [int(line.slashed) == 0 for line in settled.lines] == [seat >= count for seat in range(3)]
    assert {block.reference for block in verdicts(world)} == {block.accepted for block in verdicts(world)}
    assert_at_rest(world)
    assert_paid_once(world)
    assert pixels(world.output()) == right_pixels()


def test_with_one_operator_a_forger_is_met_by_the_referees_copies() -> None:
    world = done(cast={0: cheating(Cheat.FORGE)}, block=8, duplicates=PPM, audit=0)
    assert {slot.reason for slot in of_seat(world, 0, operators=1)} == {Reason.REFERENCE_DIFFERS}
    (settled,) = world.payloads(say.JobSettled)
    assert (settled.copies, settled.audited, settled.redone) == (24, 0, 0)
    assert settled.lines[0].amount == "0"
    assert_at_rest(world)
    assert pixels(world.output()) == right_pixels()


def test_all_three_silent_and_the_referee_computes_everything() -> None:
    world = done(cast=dict.fromkeys(range(3), cheating(Cheat.NEVER_COMMIT)), **ALL)
    (settled,) = world.payloads(say.JobSettled)
    assert {line.amount for line in settled.lines} == {"0"}
    assert {slot.reason for slot in slots(world)} == {Reason.NEVER_COMMITTED}
    assert_at_rest(world)
    assert pixels(world.output()) == right_pixels()


def test_whatever_the_world_makes_says_simulated() -> None:
    world = done(**ALL)
    assert all(each.simulated for each in world.payloads(say.NodeRegistered))
    (submitted,) = world.payloads(say.JobSubmitted)
    assert submitted.spec.simulated
    assert b"simulated: true" in world.disk.files["/buyer/output"]
    assert world.disk.files["/buyer/output.c2pa"].startswith(b"simulated: true")


def test_one_seed_is_one_history() -> None:
    cast = {CHEAT_SEAT: cheating(Cheat.FORGE, first_slot)}
    one, two, other = (done(seed, cast, **ALL).disk for seed in (5, 5, 6))
    assert (one.entries, one.files, one.acts) == (two.entries, two.files, two.acts)
    assert one.entries != other.entries
