"""Workers vanish before they post: others take over, the bytes are the same, and whoever delivered is paid."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tallystick.job import PPM, Placement, spec_digest
from tallystick.ledger import payloads as say
from tallystick.ledger.holding import MOVES_MAX
from tallystick.simulation.dishonest import Cheat
from tallystick.simulation.disk import PowerCut
from tallystick.simulation.vanishing import Leave, Parting
from tallystick.simulation.world import World
from tallystick.slicing import Move, plan
from tallystick.verification.challenge import plan_seed
from tallystick.verification.separation import void_pairs
from tests.worlds import (
    JOB,
    KERNEL,
    PICTURE,
    assert_at_rest,
    assert_paid_once,
    audited,
    bond,
    cheating,
    cut_before,
    deposited,
    pixels,
    right_pixels,
    slots,
)

WANTED: Final[dict[str, Any]] = {"block": 8, "audit": PPM}


def left(leaves: dict[int, Leave], seed: int = 0, operators: int = 1, **wanted: Any) -> World:  # noqa: ANN401 - a wish
    """A world in which one job was ordered and ended although these seats were left."""
    world = World(seed, leaves=leaves, executor=KERNEL)
    world.accept(PICTURE, **{**WANTED, "operators": operators, **wanted})
    world.node.run(JOB)
    return world


def moves(world: World) -> list[say.MicroJobReassigned]:
    return world.payloads(say.MicroJobReassigned)


def assert_taken_over(world: World, operators: int = 1) -> None:
    """Everything was done by workers, in time, once, by whoever held it then; nobody lost anything."""
    (closed,), (settled,) = world.payloads(say.UploadsClosed), world.payloads(say.JobSettled)
    order = world.payloads(say.JobSubmitted)[0].spec
    assert pixels(world.output()) == right_pixels()
    assert (closed.missing, closed.occurred_at < order.deadlines.commit) == ((), True)
    roots = [each.microjob for each in world.payloads(say.SubmitResult)]
    assert sorted(roots) == list(range(settled.results))
    assert sum(line.accepted for line in settled.lines) == len(slots(world))
    assert sum(int(line.amount) for line in settled.lines) == len(slots(world)) * order.price.block_wei
    for seat, line in enumerate(settled.lines):
        assert (line.faulted, line.absent, line.slashed) == (0, 0, "0")
        assert bond(world, seat, operators) == deposited(world, seat, operators)
    assert_paid_once(world, operators)
    assert_at_rest(world)


@pytest.mark.parametrize("how", Parting)
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("seat", range(3))
def test_one_worker_leaves_and_the_job_ends_as_if_it_had_stayed(seat: int, after: int, how: Parting) -> None:
    for seed in range(4):
        world = left({seat: Leave(after, how)}, seed)
        assert_taken_over(world)
        gone = world.identity.worker(1, seat).public
        posted = [e.payload.microjob for e in world.entries() if e.sender == gone and e.type == "SUBMIT_RESULT"]
        assert posted == sorted(posted)
        if how is Parting.SILENT:
            assert len(posted) == after
            assert len(moves(world)) == len([i for i in range(6) if i % 3 == seat]) - after


def void(world: World) -> frozenset[int]:
    """The blocks that moves gave to one operator twice, from the settled plan."""
    order = world.payloads(say.JobSubmitted)[0].spec
    said = [(each, each.payload) for each in world.entries()]
    at = next(i for i, (_, payload) in enumerate(said) if isinstance(payload, say.JobSubmitted))
    header = next(each.digest for each, payload in said[at:] if isinstance(payload, say.BlockHeader))
    (settled,) = world.payloads(say.JobSettled)
    drawn = plan(order, plan_seed(spec_digest(order), bytes.fromhex(settled.assign_secret), header))
    return void_pairs(order.pool, drawn, [Move(each.microjob, each.seat) for each in moves(world)])


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("how", Parting)
def test_in_a_small_pool_the_job_ends_at_once_and_copies_that_met_are_recomputed(workers: int, how: Parting) -> None:
    """Two or three operators with copies between them: often no seat is left that keeps them apart."""
    met = 0
    for seed in range(6):
        leaves = {seed % workers: Leave(0, how)}
        policy = {"duplicates": 125_000, "audit": 130_000}
        world = left(leaves, seed, operators=workers, workers=workers, **policy)
        assert_taken_over(world, workers)
        (settled,) = world.payloads(say.JobSettled)
        pairs = len(void(world))
        assert pairs - settled.audited <= settled.redone <= pairs
        words = next(each.actual for each in audited(world).findings if each.name == "plan")
        assert (f"{pairs} copies met their originals and were recomputed" in words) == bool(pairs)
        met += bool(pairs)
    assert met > 0


@pytest.mark.parametrize("seat", range(3))
def test_whoever_leaves_whatever_was_audited_the_job_ends_at_once(seat: int) -> None:
    for seed in range(4):
        world = left({seat: Leave(1)}, seed, operators=3, duplicates=125_000)
        assert_taken_over(world, 3)


def test_copies_stay_apart_where_a_seat_is_there_that_keeps_them_so() -> None:
    apart = sum(not void(left({0: Leave()}, seed, operators=4, workers=4, duplicates=62_500)) for seed in range(10))
    assert apart > 5


@pytest.mark.parametrize("seat", range(4))
def test_a_checker_that_meets_what_it_checks_has_that_recomputed(seat: int) -> None:
    for seed in range(3):
        world = left({seat: Leave()}, seed, operators=4, workers=4, placement=Placement.HIDDEN)
        assert_taken_over(world, 4)
        assert moves(world)


def test_a_forger_that_is_given_both_executions_is_refuted_by_the_reference() -> None:
    """Its copies agree with each other, and still its forgery is not delivered."""
    met = 0
    policy = {"duplicates": 250_000, "audit": 130_000, "workers": 2}
    for seed in range(4):
        world = World(seed, leaves={0: Leave()}, cast={1: cheating(Cheat.FORGE)}, executor=KERNEL)
        world.accept(PICTURE, **{**WANTED, "operators": 2, **policy})
        world.node.run(JOB)
        (settled,) = world.payloads(say.JobSettled)
        pairs = void(world)
        met += bool(pairs)
        assert (settled.lines[1].amount == "0") == bool(pairs)
        assert not pairs or pixels(world.output()) == right_pixels()
        assert_at_rest(world)
    assert met > 0


def test_several_leave_one_after_the_other() -> None:
    for seed in range(4):
        world = left({0: Leave(1), 1: Leave(2, Parting.LATE)}, seed)
        assert_taken_over(world)
        assert {each.seat for each in moves(world)} <= {1, 2}


def test_a_late_root_and_a_move_meet_and_exactly_one_stands() -> None:
    """Whichever comes first wins: the other is refused, and the job goes on."""
    root_first = move_first = 0
    for seed in range(12):
        world = left({0: Leave(0, Parting.LATE)}, seed)
        assert_taken_over(world)
        by = {e.payload.microjob: e.sender for e in world.entries() if e.type == "SUBMIT_RESULT"}
        gone = world.identity.worker(1, 0).public
        moved = {each.microjob for each in moves(world)}
        for index in (0, 3):
            assert (by[index] == gone) == (index not in moved)
        move_first += len(moved)
        root_first += 2 - len(moved)
    assert move_first > 0


def test_where_nobody_is_left_the_commit_deadline_ends_the_wait() -> None:
    world = left(dict.fromkeys(range(3), Leave(1)))
    (closed,) = world.payloads(say.UploadsClosed)
    assert moves(world) == []
    assert len(closed.missing) == 3
    assert closed.occurred_at > world.payloads(say.JobSubmitted)[0].spec.deadlines.commit
    assert pixels(world.output()) == right_pixels()
    assert_at_rest(world)


@pytest.mark.parametrize("entry", [say.MicroJobReassigned, say.SubmitResult, say.JobProgressUpdate, say.UploadsClosed])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_after_a_power_cut_the_moves_that_stand_are_known(entry: type, number: int) -> None:
    for how in Parting:
        world = World(0, leaves={1: Leave(0, how)}, executor=KERNEL)
        world.accept(PICTURE, operators=1, **WANTED)
        cut_before(world, entry, number)
        try:
            world.node.run(JOB)
        except PowerCut:
            world = world.restarted()
            world.node.run(JOB)
        assert_taken_over(world)


def test_nobody_is_moved_more_often_than_the_law_allows() -> None:
    """Everybody leaves at once, again and again: the home offers work to each other in turn, and stops."""
    world = left(dict.fromkeys(range(3), Leave(returns=True)))
    said = [each.microjob for each in moves(world)]
    assert [said.count(index) for index in range(6)] == [MOVES_MAX] * 6
    assert len(world.payloads(say.UploadsClosed)[0].missing) == 6
    assert pixels(world.output()) == right_pixels()
    assert_at_rest(world)
