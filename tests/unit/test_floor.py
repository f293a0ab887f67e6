"""The floor of remote workers: turns between buyers, leases, silence, and what is lost when.

Knows: the pure machine with a clock of its own. Refuses to know: sockets, threads, the ledger.
"""

from __future__ import annotations

from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tallystick.node.floor import (
    Floor,
    HangUp,
    Lost,
    Order,
    Piece,
    Rhythm,
    SendCancel,
    SendChallenge,
    SendPiece,
)

RHYTHM: Final = Rhythm(heartbeat=5, silence=15, lease=100, grace=20)
A, B = "aa", "bb"


def piece(microjob: int, job: str = "job-1") -> Piece:
    return Piece(job, 1, microjob)


def sent(orders: tuple[Order, ...]) -> list[Piece]:
    return [order.piece for order in orders if isinstance(order, SendPiece)]


def lost(orders: tuple[Order, ...]) -> list[Piece]:
    return [order.piece for order in orders if isinstance(order, Lost)]


def test_a_piece_goes_out_at_once_when_its_worker_has_room_and_waits_otherwise() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 1, 0)
    assert sent(floor.hand(piece(0), A, "ann", 0)) == [piece(0)]
    assert sent(floor.hand(piece(1), A, "ann", 0)) == []
    assert sent(floor.finished(piece(0), 1)) == [piece(1)]


def test_a_piece_for_an_absent_worker_goes_out_when_it_joins() -> None:
    floor = Floor(RHYTHM)
    assert floor.hand(piece(0), A, "ann", 0) == ()
    assert sent(floor.join(1, A, 1, 5)) == [piece(0)]


def test_buyers_take_turns_whatever_they_queued_first() -> None:
    floor = Floor(RHYTHM)
    for number in range(4):
        floor.hand(piece(number, "big"), A, "ann", 0)
    floor.hand(piece(0, "small"), A, "bob", 0)
    order = sent(floor.join(1, A, 2, 0))
    order += sent(floor.finished(order[0], 1))
    order += sent(floor.finished(order[1], 1))
    assert [each.job_id for each in order] == ["big", "small", "big", "big"]


def test_what_a_closed_line_held_goes_out_again_when_the_worker_is_back_in_time() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 2, 0)
    floor.hand(piece(0), A, "ann", 0)
    floor.leave(1, 1)
    assert lost(floor.tick(20)) == []
    assert sent(floor.join(2, A, 2, 20)) == [piece(0)]
    assert lost(floor.tick(60)) == [], "the line is heard of"


def test_a_worker_that_stays_away_longer_than_the_grace_loses_its_pieces_again_and_again() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 1, 0)
    floor.hand(piece(0), A, "ann", 0)
    floor.leave(1, 1)
    assert lost(floor.tick(22)) == [piece(0)]
    assert lost(floor.tick(23)) == []
    assert lost(floor.tick(43)) == [piece(0)]


def test_a_silent_line_is_closed_and_a_heard_one_is_not() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 1, 0)
    floor.join(2, B, 1, 0)
    floor.heard(2, 10)
    orders = floor.tick(16)
    assert [order.line for order in orders if isinstance(order, HangUp)] == [1]
    assert floor.worker_of(1) is None
    assert floor.worker_of(2) == B


def test_a_declined_piece_is_lost_at_once_and_waits_for_whoever_gets_it() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 1, 0)
    floor.join(2, B, 1, 0)
    floor.hand(piece(0), A, "ann", 0)
    assert floor.decline(piece(0), 1) == (Lost(piece(0)),)
    assert floor.decline(piece(0), 1) == (), "it is not out any more"
    assert sent(floor.hand(piece(0), B, "ann", 1)) == [piece(0)]
    floor.rooted(piece(0))
    assert floor.decline(piece(0), 2) == (), "its root stands: nobody else can make good on it"
    assert floor.decline(piece(7), 2) == ()


def test_a_lease_ends_however_alive_its_holder_is() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 1, 0)
    floor.hand(piece(0), A, "ann", 0)
    for now in range(0, 101, 10):
        floor.heard(1, now)
        assert lost(floor.tick(now)) == []
    orders = floor.tick(101)
    assert lost(orders) == [piece(0)]
    assert SendCancel(1, piece(0), "its lease is over") in orders


def test_leaving_and_coming_back_prolongs_no_lease() -> None:
    floor = Floor(RHYTHM)
    floor.hand(piece(0), A, "ann", 0)
    leases = []
    for number in range(1, 12):
        now = number * 10
        floor.leave(number - 1, now)
        leases += [order.lease for order in floor.join(number, A, 1, now) if isinstance(order, SendPiece)]
        if now <= 110:
            assert lost(floor.tick(now)) == []
    assert set(leases) == {110}
    floor.leave(11, 111)
    assert lost(floor.tick(111)) == [piece(0)], "away or not, its lease is over"
    again = floor.join(12, A, 1, 112)
    assert [order.lease for order in again if isinstance(order, SendPiece)] == [212], "nobody else took it"


def test_a_rooted_piece_is_given_again_with_time_to_deliver() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 1, 0)
    floor.hand(piece(0), A, "ann", 0)
    floor.rooted(piece(0))
    floor.leave(1, 150)
    assert [order.lease for order in floor.join(2, A, 1, 151) if isinstance(order, SendPiece)] == [251]


def test_a_rooted_piece_is_never_lost_and_goes_to_its_worker_again() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 1, 0)
    floor.hand(piece(0), A, "ann", 0)
    floor.rooted(piece(0))
    floor.leave(1, 1)
    assert lost(floor.tick(1_000)) == []
    assert sent(floor.join(2, A, 1, 1_000)) == [piece(0)]


def test_given_to_another_worker_a_piece_is_called_back_from_the_first() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 1, 0)
    floor.join(2, B, 1, 0)
    floor.hand(piece(0), A, "ann", 0)
    orders = floor.hand(piece(0), B, "ann", 1)
    assert SendCancel(1, piece(0), "it was given to another worker") in orders
    assert SendPiece(2, piece(0), 101) in orders
    assert not floor.holds(1, piece(0))
    assert floor.holds(2, piece(0))


def test_a_draining_line_gets_nothing_and_its_waiting_pieces_are_lost_after_the_grace() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 1, 0)
    floor.hand(piece(0), A, "ann", 0)
    floor.hand(piece(1), A, "ann", 0)
    floor.drain(1)
    assert sent(floor.finished(piece(0), 1)) == []
    floor.heard(1, 30)
    assert lost(floor.tick(30)) == [piece(1)]
    assert A not in floor.here()


def test_the_newest_line_of_a_worker_is_the_one_that_counts() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 1, 0)
    floor.hand(piece(0), A, "ann", 0)
    orders = floor.join(2, A, 1, 1)
    assert HangUp(1, "another line of this worker was opened") in orders
    assert sent(orders) == [piece(0)]
    assert floor.leave(1, 2) == ()


def test_a_challenge_waits_for_its_worker_and_is_sent_again_after_a_break() -> None:
    floor = Floor(RHYTHM)
    assert floor.ask(piece(0), A, "ann") == ()
    assert floor.join(1, A, 1, 0) == (SendChallenge(1, piece(0)),)
    floor.leave(1, 1)
    assert lost(floor.tick(10_000)) == []
    assert floor.join(2, A, 1, 10_000) == (SendChallenge(2, piece(0)),)


def test_a_withdrawn_job_leaves_nothing_and_makes_room() -> None:
    floor = Floor(RHYTHM)
    floor.join(1, A, 1, 0)
    floor.hand(piece(0, "gone"), A, "ann", 0)
    floor.hand(piece(1, "gone"), A, "ann", 0)
    floor.hand(piece(0, "kept"), A, "bob", 0)
    orders = floor.withdraw("gone", "cancelled", 1)
    assert SendCancel(1, piece(0, "gone"), "cancelled") in orders
    assert sent(orders) == [piece(0, "kept")]
    assert floor.withdraw("gone", "cancelled", 2) == ()


class AnyLife(RuleBasedStateMachine):
    """Whatever happens, no line holds more than it may, and no piece is held twice or forgotten."""

    @initialize()
    def begin(self) -> None:
        self.floor, self.now, self.number = Floor(RHYTHM), 0, 0
        self.open: dict[int, int] = {}
        self.owner: dict[Piece, str] = {}
        self.out: dict[Piece, int] = {}

    def follow(self, orders: tuple[Order, ...]) -> None:
        for order in orders:
            match order:
                case SendPiece(line=line, piece=each):
                    assert each in self.owner, "a forgotten piece was sent"
                    assert each not in self.out, "a piece was sent twice"
                    self.out[each] = line
                case SendCancel(piece=each):
                    self.out.pop(each, None)
                case HangUp(line=line):
                    self.gone(line)
                case _:
                    pass

    def gone(self, line: int) -> None:
        self.open.pop(line, None)
        for each in [each for each, held in self.out.items() if held == line]:
            del self.out[each]

    @rule(worker=st.sampled_from([A, B]), capacity=st.integers(1, 3))
    def join(self, worker: str, capacity: int) -> None:
        self.number += 1
        self.open[self.number] = capacity
        older = [line for line in self.open if line != self.number and self.floor.worker_of(line) == worker]
        for line in older:
            self.gone(line)
        self.follow(self.floor.join(self.number, worker, capacity, self.now))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        line = data.draw(st.sampled_from(sorted(self.open)))
        self.gone(line)
        self.follow(self.floor.leave(line, self.now))

    @rule(number=st.integers(0, 5), job=st.sampled_from(["x", "y"]), worker=st.sampled_from([A, B]))
    def hand(self, number: int, job: str, worker: str) -> None:
        each = piece(number, job)
        self.owner[each] = worker
        before = self.out.pop(each, None)
        orders = self.floor.hand(each, worker, job, self.now)
        if before is not None:
            assert any(isinstance(order, SendCancel) and order.piece == each for order in orders)
        self.follow(tuple(order for order in orders if not (isinstance(order, SendCancel) and order.piece == each)))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        each = data.draw(st.sampled_from(sorted(self.out)))
        del self.out[each], self.owner[each]
        self.follow(self.floor.finished(each, self.now))

    @rule(step=st.integers(1, 120), data=st.data())
    def wait(self, step: int, data: st.DataObject) -> None:
        self.now += step
        for line in sorted(self.open):
            if data.draw(st.booleans()):
                self.floor.heard(line, self.now)
        self.follow(self.floor.tick(self.now))

    @rule(job=st.sampled_from(["x", "y"]))
    def withdraw(self, job: str) -> None:
        for each in [each for each in self.owner if each.job_id == job]:
            del self.owner[each]
        self.follow(self.floor.withdraw(job, "enough", self.now))
        assert not any(each.job_id == job for each in self.out)

    @invariant()
    def nobody_holds_more_than_it_may(self) -> None:
        if not hasattr(self, "floor"):
            return
        for line, capacity in self.open.items():
            held = [each for each, at in self.out.items() if at == line]
            assert len(held) <= capacity
            assert all(self.owner[each] == self.floor.worker_of(line) for each in held)
        assert self.floor.pieces_out() == len(self.out)


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
