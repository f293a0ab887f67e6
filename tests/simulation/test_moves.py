"""The coordinator gives lost work away: to the seat that fits best, once at a time, and never out of order."""

from __future__ import annotations

import random
from functools import cache
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.commitment import Commitment, Output, Place
from tallystick.job import Placement
from tallystick.ledger import payloads as say
from tallystick.ledger.holding import MOVES_MAX
from tallystick.ledger.states import JobPhase
from tallystick.node.coordinator import (
    Arrived,
    Coordinator,
    Dispatch,
    HolderLost,
    Instruction,
    Log,
    Logged,
    Refused,
    RootLost,
    RootPosted,
    Stimulus,
    Tick,
)
from tallystick.simulation.world import World
from tallystick.slicing import Move
from tests.worlds import JOB, KERNEL, PICTURE

HEADER: Final = bytes(32)


@cache
def ordered(operators: int, placement: Placement) -> World:
    """A world whose job is ordered from four workers and not begun."""
    duplicates = {} if placement is Placement.HIDDEN else {"duplicates": 250_000}
    world = World(0, executor=KERNEL)
    world.accept(PICTURE, block=8, workers=4, operators=operators, placement=placement, **duplicates)
    return world


def started(operators: int = 1, placement: Placement = Placement.SPREAD, moves: tuple[Move, ...] = ()) -> Coordinator:
    """The coordinator of that job, whose micro jobs are handed out."""
    world = ordered(operators, placement)
    job = world.book.job(JOB)
    assert job is not None
    machine = world.node.coordinator(JOB, job)
    machine.phase, machine.started = JobPhase.RUNNING, 0
    return machine if not moves else rebuilt(machine, moves)


def rebuilt(machine: Coordinator, moves: tuple[Move, ...]) -> Coordinator:
    """The same one as a restart builds it."""
    return Coordinator(
        spec=machine.spec,
        secrets=machine.secrets,
        header=machine.header,
        payees=machine.payees,
        phase=JobPhase.RUNNING,
        roots=dict(machine.roots),
        arrived=dict(machine.arrived),
        moves=moves,
    )


def asked(instructions: tuple[Instruction, ...]) -> say.MicroJobReassigned:
    """The one payload that is to be logged."""
    (log,) = instructions
    assert isinstance(log, Log)
    (payload,) = log.payloads
    assert isinstance(payload, say.MicroJobReassigned)
    return payload


def stands(payload: say.Payload) -> Logged:
    return Logged(payload, HEADER, 0)


def root(machine: Coordinator, index: int) -> RootPosted:
    place = Place(machine.job, index, machine.owner(index))
    return RootPosted(Commitment(place, 1, bytes(32), bytes(32), bytes(64)), 0)


def moved(machine: Coordinator, index: int, seat: int) -> tuple[Instruction, ...]:
    return machine.handle(stands(asked(machine.handle(HolderLost(index, (seat,)), 0))), 0)


def twins(machine: Coordinator, index: int) -> set[int]:
    mine = {slot.block for slot in machine.plan.microjobs[index].slots}
    return {
        each.index
        for each in machine.plan.microjobs
        if each.index != index and mine & {slot.block for slot in each.slots}
    }


def test_the_first_seat_that_fits_gets_it_once_it_is_logged() -> None:
    machine = started()
    before = machine.owner(0)
    payload = asked(machine.handle(HolderLost(0, (0, 7, -1, 2, 1)), 5))
    assert (payload.job_id, payload.attempt, payload.microjob, payload.seat) == (JOB, 1, 0, 2)
    assert payload.occurred_at == 5
    assert machine.owner(0) == before
    (dispatch,) = machine.handle(stands(payload), 6)
    assert isinstance(dispatch, Dispatch)
    ((microjob),) = dispatch.microjobs
    assert (microjob.index, microjob.seat) == (0, 2)
    assert machine.owner(0).hex() == machine.spec.pool[2].worker
    assert machine.evidence().submissions[0].worker == machine.owner(0)
    assert machine.handle(stands(payload), 7) == ()
    assert machine.moves == (Move(0, 2),)


@pytest.mark.parametrize("seats", [(), (0,), (4, 99, -1)])
def test_where_nobody_fits_nothing_is_said_and_a_later_loss_may_find_somebody(seats: tuple[int, ...]) -> None:
    machine = started()
    assert machine.handle(HolderLost(0, seats), 0) == ()
    assert asked(machine.handle(HolderLost(0, (1,)), 0)).seat == 1


@pytest.mark.parametrize("index", [-1, 99])
def test_a_micro_job_that_there_is_not_is_not_moved(index: int) -> None:
    assert started().handle(HolderLost(index, (1,)), 0) == ()


def test_one_move_at_a_time_for_one_micro_job_and_any_number_beside_each_other() -> None:
    machine = started()
    first, second = asked(machine.handle(HolderLost(0, (1,)), 0)), asked(machine.handle(HolderLost(1, (2,)), 0))
    assert machine.handle(HolderLost(0, (2,)), 0) == ()
    assert machine.handle(stands(second), 0) != ()
    assert machine.handle(stands(first), 0) != ()
    assert asked(machine.handle(HolderLost(0, (2,)), 0)).seat == 2


def test_a_refused_move_goes_to_the_next_seat_and_then_waits_for_news() -> None:
    machine = started()
    first = asked(machine.handle(HolderLost(0, (1, 0, 3)), 0))
    second = asked(machine.handle(Refused(first), 0))
    assert (first.seat, second.seat) == (1, 3)
    assert machine.handle(Refused(first), 0) == ()
    assert machine.handle(Refused(second), 0) == ()
    assert machine.moves == ()
    assert asked(machine.handle(HolderLost(0, (1,)), 0)).seat == 1


def test_what_nobody_asked_for_changes_nothing() -> None:
    machine = started()
    stray = say.MicroJobReassigned(JOB, 1, 0, 1, 0)
    assert machine.handle(stands(stray), 0) == ()
    assert machine.handle(Refused(stray), 0) == ()
    asked(machine.handle(HolderLost(0, (2,)), 0))
    assert machine.handle(stands(stray), 0) == ()
    assert machine.plan.microjobs[0].seat == 0


def test_a_root_that_came_first_ends_it() -> None:
    machine = started()
    payload = asked(machine.handle(HolderLost(0, (1, 2)), 0))
    machine.handle(root(machine, 0), 0)
    assert machine.handle(Refused(payload), 0) == ()
    assert machine.handle(HolderLost(0, (1, 2)), 0) == ()


def test_what_the_old_holder_delivered_is_not_taken_for_the_new_ones() -> None:
    machine = started()
    old, new = (Output(b"o" * 32, 1, bytes(32)),), (Output(b"n" * 32, 1, bytes(32)),)
    machine.handle(Arrived(0, old), 0)
    moved(machine, 0, 1)
    machine.handle(RootLost(0), 0)
    machine.handle(root(machine, 0), 0)
    assert 0 not in machine.arrived
    machine.handle(Arrived(0, new), 0)
    assert machine.arrived[0] == new


def test_nothing_moves_after_the_commit_deadline_or_once_the_closing_was_asked_for() -> None:
    machine = started()
    commit, upload = machine.spec.deadlines.commit, machine.spec.deadlines.upload
    assert machine.handle(HolderLost(0, (1,)), commit + 1) == ()
    on_time = asked(machine.handle(HolderLost(0, (1,)), commit))
    (log,) = machine.handle(Tick(), upload + 1)
    assert isinstance(log, Log)
    closed = log.payloads[-1]
    assert isinstance(closed, say.UploadsClosed)
    assert machine.handle(HolderLost(1, (2,)), commit) == ()
    assert machine.handle(stands(on_time), upload + 1) == ()
    assert machine.plan.microjobs[0].seat == 1
    assert machine.handle(stands(closed), upload + 1) != ()
    assert machine.phase is JobPhase.CLOSED


def test_a_move_in_flight_does_not_keep_progress_from_being_logged_nor_the_other_way_round() -> None:
    machine = started()
    machine.handle(root(machine, 1), 0)
    (log,) = machine.handle(Arrived(1, (Output(bytes(32), 1, bytes(32)),)), 0)
    assert isinstance(log, Log)
    payload = asked(machine.handle(HolderLost(0, (1,)), 0))
    machine.handle(root(machine, 2), 0)
    assert machine.handle(Arrived(2, (Output(bytes(32), 1, bytes(32)),)), 0) == ()
    (dispatch,) = machine.handle(stands(payload), 0)
    assert isinstance(dispatch, Dispatch)
    (second,) = machine.handle(stands(log.payloads[-1]), 0)
    assert isinstance(second, Log)
    assert isinstance(second.payloads[-1], say.JobProgressUpdate)


def test_one_micro_job_moves_no_more_often_than_the_ledger_takes() -> None:
    machine = started()
    for turn in range(MOVES_MAX):
        moved(machine, 0, (turn + 1) % 4)
    assert machine.handle(HolderLost(0, (0, 1, 2, 3)), 0) == ()
    assert machine.handle(HolderLost(1, (0,)), 0) != ()


def preferred(machine: Coordinator, index: int, seats: tuple[int, ...]) -> int:
    """The seat that would be asked for; nothing stands by asking."""
    payload = asked(machine.handle(HolderLost(index, seats), 0))
    del machine._moving[index]
    return payload.seat


def checked_once(machine: Coordinator) -> tuple[int, int]:
    """A micro job with one twin, and the twin."""
    index = next(each.index for each in machine.plan.microjobs if len(twins(machine, each.index)) == 1)
    return index, *twins(machine, index)


def test_copies_are_kept_apart_also_from_who_held_the_other_once_and_from_what_is_on_its_way() -> None:
    machine = started(4)
    index, twin = checked_once(machine)
    seat, here = machine.plan.microjobs[twin].seat, machine.plan.microjobs[index].seat
    away, other = (each for each in range(4) if each not in {seat, here})
    assert preferred(machine, index, (seat, away)) == away
    going = asked(machine.handle(HolderLost(twin, (away,)), 0))
    assert preferred(machine, index, (away, other)) == other
    assert preferred(machine, index, (away, seat, other)) == other
    machine.handle(stands(going), 0)
    assert preferred(machine, index, (seat, other)) == other, "who held the copy once has seen it"


def test_where_no_seat_keeps_copies_apart_the_first_takes_over_and_the_copies_are_void() -> None:
    machine = started(4)
    index, twin = checked_once(machine)
    seat = machine.plan.microjobs[twin].seat
    assert machine.evidence().void == frozenset()
    (dispatch,) = moved(machine, index, seat)
    assert isinstance(dispatch, Dispatch)
    mine, others = ({slot.block for slot in machine.plan.microjobs[each].slots} for each in (index, twin))
    assert machine.evidence().void == mine & others
    assert rebuilt(machine, tuple(machine.moves)).evidence().void == mine & others
    moved(machine, index, next(each for each in range(4) if each not in {seat, index % 4}))
    assert machine.evidence().void == mine & others, "what it saw it has seen"


def test_a_seat_that_keeps_copies_apart_comes_before_every_other_also_after_a_refusal() -> None:
    machine = started(4)
    index, twin = checked_once(machine)
    seat, here = machine.plan.microjobs[twin].seat, machine.plan.microjobs[index].seat
    good, better = (each for each in range(4) if each not in {seat, here})
    order = []
    answer = machine.handle(HolderLost(index, (seat, here, good, better)), 0)
    while answer:
        order.append(asked(answer).seat)
        answer = machine.handle(Refused(asked(answer)), 0)
    assert order == [good, better, seat]


def test_a_restart_knows_who_holds_what_and_who_held_it() -> None:
    first = started(4)
    index, twin = checked_once(first)
    seat = first.plan.microjobs[twin].seat
    fitting = next(each for each in range(4) if each not in {seat, index % 4})
    last = next(each for each in range(4) if each not in {seat, index % 4, fitting})
    again = started(4, moves=(Move(index, fitting),))
    assert again.plan.microjobs[index].seat == fitting
    (dispatch,) = again.begin(0)
    assert isinstance(dispatch, Dispatch)
    assert {each.index: each.seat for each in dispatch.microjobs}[index] == fitting
    others = twins(again, twin) - {index}
    if all(again.plan.microjobs[each].seat != last for each in others):
        assert preferred(again, twin, (fitting, index % 4, last)) == last
    assert preferred(again, index, (seat, index % 4)) == index % 4, "what it held itself it may hold again"


class Turmoil:
    """Random losses, refusals, roots and restarts; who saw what is counted here by hand."""

    def __init__(self, operators: int, placement: Placement, history: int) -> None:
        self.rng, self.machine = random.Random(history), started(operators, placement)
        self.operators = [place.operator for place in self.machine.spec.pool]
        self.saw = [{self.operators[each.seat]} for each in self.machine.plan.microjobs]
        self.waiting: list[say.MicroJobReassigned] = []
        self.unasked = 0

    def lose(self, index: int, seats: tuple[int, ...]) -> None:
        """Lose a micro job; with any other seat there it must be on its way at once."""
        idle = index not in self.machine.roots and index not in {each.microjob for each in self.waiting}
        moves = sum(move.microjob == index for move in self.machine.moves)
        due = idle and moves < MOVES_MAX and bool(set(seats) - {self.machine.plan.microjobs[index].seat})
        before = len(self.waiting)
        self.tell(HolderLost(index, seats))
        self.unasked += due != (len(self.waiting) > before)

    def tell(self, stimulus: Stimulus) -> None:
        logs = [each for each in self.machine.handle(stimulus, 0) if isinstance(each, Log)]
        self.waiting += [each.payloads[-1] for each in logs if isinstance(each.payloads[-1], say.MicroJobReassigned)]

    def answer(self) -> None:
        payload = self.waiting.pop(self.rng.randrange(len(self.waiting)))
        refused = payload.microjob in self.machine.roots or self.rng.random() < 0.3
        if not refused:
            self.saw[payload.microjob].add(self.operators[payload.seat])
        self.tell(Refused(payload) if refused else stands(payload))

    def happen(self) -> None:
        index, chance = self.rng.randrange(len(self.saw)), self.rng.random()
        if self.waiting and chance < 0.5:
            self.answer()
        elif chance < 0.55:
            self.tell(root(self.machine, index))
        elif chance < 0.6 and not self.waiting:
            self.machine = rebuilt(self.machine, tuple(self.machine.moves))
        else:
            self.lose(index, tuple(self.rng.sample(range(4), self.rng.randrange(5))))


@settings(max_examples=100)
@given(
    pool=st.sampled_from([(1, Placement.SPREAD), (2, Placement.SPREAD), (4, Placement.SPREAD), (4, Placement.HIDDEN)]),
    history=st.integers(0, 2**32),
)
def test_whatever_is_lost_in_whatever_order_what_one_operator_saw_twice_is_void(
    pool: tuple[int, Placement], history: int
) -> None:
    turmoil = Turmoil(*pool, history)
    for _ in range(60):
        turmoil.happen()
    plan, met = turmoil.machine.plan, set()
    for index, saw in enumerate(turmoil.saw):
        assert turmoil.operators[plan.microjobs[index].seat] in saw
        for twin in twins(turmoil.machine, index):
            if saw & turmoil.saw[twin]:
                one, two = ({slot.block for slot in plan.microjobs[each].slots} for each in (index, twin))
                met |= one & two
    assert turmoil.machine.evidence().void == met
    assert turmoil.unasked == 0


@pytest.mark.parametrize("placement", [Placement.SPREAD, Placement.HIDDEN])
def test_such_turmoil_moves_work_between_operators_and_makes_some_copies_worthless(placement: Placement) -> None:
    turmoils = [Turmoil(4, placement, history) for history in range(20)]
    for turmoil in turmoils:
        for _ in range(60):
            turmoil.happen()
    assert sum(len(saw) > 1 for turmoil in turmoils for saw in turmoil.saw) > 20
    assert sum(bool(turmoil.machine.evidence().void) for turmoil in turmoils) > 10
