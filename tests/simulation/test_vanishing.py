"""Workers vanish before they post: others take over, the bytes are the same, and whoever delivered is paid."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tallystick.job import PPM, Placement
from tallystick.ledger import payloads as say
from tallystick.ledger.holding import MOVES_MAX
from tallystick.simulation.disk import PowerCut
from tallystick.simulation.vanishing import Leave, Parting
from tallystick.simulation.world import World
from tests.worlds import (
    JOB,
    KERNEL,
    PICTURE,
    assert_at_rest,
    assert_paid_once,
    bond,
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


@pytest.mark.parametrize("seat", range(3))
def test_copies_stay_apart_when_their_holders_are_other_operators(seat: int) -> None:
    """With three operators not every seat may take over; where one may, it does, and the bundle holds in any case."""
    for seed in range(6):
        world = left({seat: Leave()}, seed, operators=3, duplicates=125_000)
        (closed,) = world.payloads(say.UploadsClosed)
        held = {index for index in range(world.payloads(say.JobScheduled)[0].microjobs) if index % 3 == seat}
        moved = {each.microjob for each in moves(world)}
        assert moved <= held
        assert set(closed.missing) == held - moved
        assert pixels(world.output()) == right_pixels()
        assert_at_rest(world)
        if not closed.missing:
            assert_taken_over(world, 3)


def test_copies_that_stay_apart_let_most_lost_work_be_moved() -> None:
    moved = lost = 0
    for seed in range(10):
        world = left({0: Leave()}, seed, operators=3, duplicates=62_500)
        moved += len(moves(world))
        lost += len(world.payloads(say.UploadsClosed)[0].missing)
    assert moved > lost


@pytest.mark.parametrize("seat", range(4))
def test_what_hides_stays_hidden_from_those_it_checks_whoever_leaves(seat: int) -> None:
    moved = 0
    for seed in range(4):
        world = left({seat: Leave()}, seed, operators=4, workers=4, placement=Placement.HIDDEN)
        moved += len(moves(world))
        assert pixels(world.output()) == right_pixels()
        assert_at_rest(world)
    assert moved > 0


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
