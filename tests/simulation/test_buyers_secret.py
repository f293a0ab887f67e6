"""The coordinator and a buyer of another home: it draws with the buyer's secret, once, and not a moment too early."""

from __future__ import annotations

import pytest

from tallystick.commitment import buyer_commitment
from tallystick.job import PPM
from tallystick.ledger import payloads as say
from tallystick.ledger.states import JobPhase
from tallystick.node.coordinator import BuyerRevealed, Coordinator, Instruction, Log, Secrets, Tick
from tallystick.primitives.digests import sha256
from tests.simulation.test_order_of_knowledge import fresh, ordered

SECRET = sha256(b"the buyer's")


@pytest.fixture
def closed() -> Coordinator:
    """A coordinator whose uploads are closed and who does not know the buyer's secret."""
    machine = fresh(ordered(PPM, 3))
    machine.secrets = Secrets(machine.secrets.assign, None)
    machine.promise = buyer_commitment(machine.job, SECRET)
    machine.phase, machine.closing, machine.roots_root = JobPhase.CLOSED, sha256(b"header"), sha256(b"roots")
    return machine


def drawn(instructions: tuple[Instruction, ...]) -> say.ChallengeDrawn:
    (logged,) = instructions
    assert isinstance(logged, Log)
    (payload,) = logged.payloads
    assert isinstance(payload, say.ChallengeDrawn)
    return payload


def test_it_waits_for_the_buyer_until_the_reveal_deadline(closed: Coordinator) -> None:
    deadline = closed.spec.deadlines.reveal
    assert closed.begin(deadline) == ()
    assert closed.handle(Tick(), deadline) == ()
    assert closed.next_deadline(deadline) == deadline
    challenge = drawn(closed.handle(Tick(), deadline + 1))
    assert (challenge.drawn_by, challenge.secret) == (say.Drawer.OPERATOR, closed.secrets.assign.hex())


def test_the_secret_that_was_promised_draws_once(closed: Coordinator) -> None:
    now = closed.spec.deadlines.upload
    challenge = drawn(closed.handle(BuyerRevealed(SECRET), now))
    assert (challenge.drawn_by, challenge.secret) == (say.Drawer.BUYER, SECRET.hex())
    assert closed.handle(BuyerRevealed(SECRET), now) == ()
    assert closed.handle(Tick(), closed.spec.deadlines.reveal + 1) == ()


def test_another_secret_changes_nothing(closed: Coordinator) -> None:
    now = closed.spec.deadlines.upload
    assert closed.handle(BuyerRevealed(sha256(b"another")), now) == ()
    assert closed.secrets.buyer is None
    assert drawn(closed.handle(BuyerRevealed(SECRET), now)).drawn_by is say.Drawer.BUYER


@pytest.mark.parametrize("phase", [JobPhase.SUBMITTED, JobPhase.RUNNING, JobPhase.CHALLENGED, JobPhase.SETTLED])
def test_a_secret_that_comes_too_early_or_too_late_is_not_used(closed: Coordinator, phase: JobPhase) -> None:
    closed.phase = phase
    assert closed.handle(BuyerRevealed(SECRET), closed.spec.deadlines.commit) == ()
    assert closed.secrets.buyer is None


def test_a_secret_after_the_operators_draw_does_not_make_a_second_one(closed: Coordinator) -> None:
    late = closed.spec.deadlines.reveal + 1
    drawn(closed.handle(Tick(), late))
    assert closed.handle(BuyerRevealed(SECRET), late) == ()


def test_what_was_kept_before_a_restart_draws_at_once(closed: Coordinator) -> None:
    closed.secrets = Secrets(closed.secrets.assign, SECRET)
    assert drawn(closed.begin(closed.spec.deadlines.upload)).drawn_by is say.Drawer.BUYER
