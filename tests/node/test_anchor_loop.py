"""The thread that anchors: it follows the policy, survives everything that fails, and ends at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tallystick.adapters.local import SystemClock
from tallystick.errors import ConflictError, StoreError, UsageError
from tallystick.node.anchor_loop import AnchorLoop
from tallystick.node.anchor_outbox import Drawer, Target
from tallystick.node.anchor_policy import parse
from tallystick.node.anchor_words import Phase, Terms
from tallystick.node.anchoring import Anchoring, Chains
from tallystick.node.feed import Feed
from tallystick.node.ledger_thread import SharedBook
from tallystick.node.sequencer import Submission
from tallystick.node.solo import SoloEngine
from tallystick.simulation.disk import Disk, SimulatedStore, SimulatedTiles
from tallystick.simulation.world import START
from tests.anchor_world import CONTRACT, IDENTITY, NAME, RECORDER, ScriptedChain, payment


class Running:
    """A ledger's thread and an anchoring thread over one simulated disk."""

    def __init__(self) -> None:
        self.disk, self.chain, self.troubles = Disk(), ScriptedChain(automine=True, confirmations=0), list[str]()
        store, clock, feed = (
            SimulatedStore(self.disk),
            SystemClock(),
            Feed(lambda error: self.troubles.append(str(error))),
        )
        engine = SoloEngine(IDENTITY.parameters(IDENTITY.genesis(START)), store, SimulatedTiles(self.disk), clock)
        self.book, self.drawer = SharedBook(engine, lambda _transaction, _index: None, feed), Drawer(store)
        self.book.start()
        self.anchoring = Anchoring(
            self.book,
            self.drawer,
            IDENTITY.coordinator(),
            clock,
            Chains(lambda _target: self.chain, NAME, RECORDER),
            tell=self.troubles.append,
            terms=lambda chain, _: Terms(chain.confirmations, poll=10, backoff_most=20),
        )
        self.loop = AnchorLoop(self.anchoring, self.drawer, self.troubles.append)
        feed.subscribe(self.loop.notice)

    def grow(self) -> None:
        self.book.must(Submission((payment(),)))

    def wait(self, true: Callable[[], bool], seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < until, (self.loop.status, self.troubles)
            time.sleep(0.005)

    def anchors(self) -> int:
        return len(self.chain.seen())


def newest_size(running: Running) -> int | None:
    newest = running.loop.status.newest
    return None if newest is None else newest.payload.size


@pytest.fixture
def running() -> Iterator[Running]:
    world = Running()
    world.loop.start()
    yield world
    world.loop.stop()
    world.book.close()


def test_it_follows_its_policy_as_the_log_grows(running: Running) -> None:
    running.grow()
    assert running.anchors() == 0
    running.loop.set_policy(parse("1"))
    running.wait(lambda: len(running.book.engine.index.anchors) == 1)
    running.grow()
    running.wait(lambda: len(running.book.engine.index.anchors) == 2)
    assert running.anchors() == 2
    running.loop.notice()
    running.wait(lambda: newest_size(running) == 6)
    assert running.loop.status.waiting == 0
    assert running.drawer.policy() == parse("1")


def test_it_anchors_when_asked_and_says_how_it_stands_at_once(running: Running) -> None:
    running.grow()
    running.loop.set_policy(parse("off"))
    assert running.loop.ask().phase is Phase.IDLE
    running.wait(lambda: running.loop.status.newest is not None)
    assert running.anchors() == 1


def test_a_chain_that_fails_is_seen_and_asked_again(running: Running) -> None:
    running.chain.faults["next_nonce"] = ["lost before"] * 3
    running.grow()
    running.loop.set_policy(parse("event"))
    running.loop.ask()
    running.wait(lambda: running.loop.status.error is not None)
    running.loop.set_policy(parse("1"))
    running.wait(lambda: running.anchors() == 1)
    running.wait(lambda: running.loop.status.error is None)
    assert running.loop.alive


def test_a_store_that_fails_is_told_and_does_not_end_it(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    failing: Any = StoreError("the disk is full")

    def turn(**_asked: bool) -> int | None:
        raise failing

    monkeypatch.setattr(running.anchoring, "turn", turn)
    running.loop.notice()
    running.wait(lambda: "anchoring: the disk is full" in running.troubles)
    assert running.loop.alive


def test_another_chain_is_taken_up_while_it_runs(running: Running) -> None:
    running.grow()
    first, running.chain = running.chain, ScriptedChain(name="eip155:1", automine=True, confirmations=0)
    running.loop.set_target(Target(rpc="http://one.example", chain="eip155:1"))
    running.loop.ask()
    running.wait(lambda: running.anchors() == 1)
    running.wait(lambda: running.loop.status.chain == "eip155:1")
    assert first.seen() == []


def test_what_is_asked_while_one_is_under_way_comes_after_it(running: Running) -> None:
    running.chain.automine = False
    running.grow()
    assert running.loop.ask().asked
    running.wait(lambda: running.loop.status.size is not None)
    running.wait(lambda: not running.loop.status.asked)
    running.grow()
    assert running.loop.ask().asked
    running.wait(lambda: len(running.chain.pool) == 1)
    assert running.loop.status.asked
    running.chain.mine()
    running.wait(lambda: running.anchors() == 1 and len(running.chain.pool) == 1)
    running.chain.mine()
    running.wait(lambda: len(running.book.engine.index.anchors) == 2)
    running.wait(lambda: not running.loop.status.asked and running.loop.status.size is None)
    assert running.loop.status.waiting == 0


def test_what_was_asked_and_failed_is_answered_with_the_reason(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing: Any = StoreError("the disk is full")

    def turn(**_asked: bool) -> int | None:
        raise failing

    monkeypatch.setattr(running.anchoring, "turn", turn)
    assert running.loop.ask().asked
    running.wait(lambda: not running.loop.status.asked)
    assert running.loop.status.error == "the disk is full"


def test_a_chain_is_not_left_while_an_anchor_is_on_its_way_there(running: Running) -> None:
    running.chain.automine = False
    running.grow()
    running.loop.ask()
    running.wait(lambda: running.loop.status.size is not None)
    with pytest.raises(ConflictError, match=f"on its way to {CONTRACT} on {NAME}"):
        running.loop.set_target(Target(rpc="http://one.example", chain="eip155:1"))
    running.loop.set_target(Target(rpc="http://another.example", chain=NAME, contract=CONTRACT))
    assert running.drawer.target().rpc == "http://another.example"
    running.wait(lambda: len(running.chain.pool) == 1)
    running.chain.mine()
    running.wait(lambda: running.anchors() == 1)


@pytest.mark.parametrize("target", [Target(chain=NAME), Target(contract=CONTRACT)])
def test_a_chain_without_a_url_is_none(running: Running, target: Target) -> None:
    with pytest.raises(UsageError, match="needs rpc"):
        running.loop.set_target(target)
    assert running.drawer.target() == Target()


def test_it_ends_in_less_than_a_second_even_while_a_chain_hangs() -> None:
    world, hangs = Running(), threading.Event()

    def hang() -> int:
        hangs.set()
        time.sleep(3)
        return 0

    world.chain.next_nonce = hang  # type: ignore[method-assign]
    world.grow()
    world.loop.start()
    world.loop.ask()
    assert hangs.wait(5)
    begun = time.monotonic()
    world.loop.stop()
    assert time.monotonic() - begun < 1
    world.book.close()


def test_an_idle_loop_ends_at_once() -> None:
    world = Running()
    world.loop.start()
    begun = time.monotonic()
    world.loop.stop()
    assert time.monotonic() - begun < 0.5
    assert not world.loop.alive
    world.book.close()
