"""Threads beside the one that owns the ledger: facts come out, failures are facts, waiting ends when it should."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tallystick.node import crew as crew_room
from tallystick.node.crew import Broken, Fact, Refereed, ThreadCrew
from tallystick.simulation.world import SimulatedClock


@contextmanager
def hired(threads: int = 2) -> Iterator[ThreadCrew]:
    crew = ThreadCrew(threads, SimulatedClock(1_000))
    try:
        yield crew
    finally:
        crew.close()


def refereed(block: int) -> Refereed:
    return Refereed(block, bytes([block]) * 32)


def gathered(crew: ThreadCrew, count: int) -> list[Fact]:
    facts: list[Fact] = []
    while len(facts) < count:
        facts += crew.wait(None)
    return facts


def test_every_act_becomes_one_fact() -> None:
    with hired() as crew:
        for block in range(50):
            crew.submit(lambda block=block: refereed(block))
        facts = gathered(crew, 50)
    assert sorted(fact.block for fact in facts if isinstance(fact, Refereed)) == list(range(50))


@pytest.mark.parametrize("error", [ValueError, MemoryError, KeyboardInterrupt, SystemExit])
def test_a_failure_is_a_fact(error: type[BaseException]) -> None:
    def fail() -> Refereed:
        raise error

    with hired() as crew:
        crew.submit(fail)
        (fact,) = gathered(crew, 1)
    assert isinstance(fact, Broken)
    assert isinstance(fact.error, error)


def test_acts_run_side_by_side_and_no_more_than_there_are_threads() -> None:
    inside, most, lock = [0], [0], threading.Lock()
    together = threading.Barrier(2, timeout=10)

    def act() -> Refereed:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        together.wait()
        with lock:
            inside[0] -= 1
        return refereed(0)

    with hired(threads=2) as crew:
        for _ in range(6):
            crew.submit(act)
        gathered(crew, 6)
    assert most == [2]


def test_waiting_ends_when_the_time_may_have_come() -> None:
    with hired() as crew:
        begun = time.monotonic()
        assert crew.wait(until=1_000) == ()
        assert crew.wait(until=500) == ()
        assert crew.wait(until=1_050) == ()
        assert time.monotonic() - begun < 10


def test_a_long_wait_looks_at_the_wall_clock_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers of a machine that sleeps stand still: nobody may sleep through a deadline for hours."""
    monkeypatch.setattr(crew_room, "NAP_SECONDS", 0.01)
    with hired() as crew:
        assert crew.wait(until=1_000 + 6 * 3_600_000) == ()
        assert crew.wait(until=None) == ()


def test_closing_waits_for_what_runs_and_drops_what_did_not_begin() -> None:
    started, released, ran = threading.Event(), threading.Event(), []

    def slow() -> Refereed:
        started.set()
        released.wait(10)
        ran.append("slow")
        return refereed(0)

    def never() -> Refereed:
        ran.append("never")
        return refereed(1)

    with hired(threads=1) as crew:
        crew.submit(slow)
        crew.submit(never)
        assert started.wait(10)
        threading.Timer(0.05, released.set).start()
    assert ran == ["slow"]
