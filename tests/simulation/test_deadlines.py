"""A deadline that passed while nobody was at home slashes nobody; while the home is open, the law applies."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tallystick.errors import IncompleteError
from tallystick.job import PPM
from tallystick.ledger import payloads as say
from tallystick.ledger.records import Escrow, escrow_key
from tallystick.ledger.states import EscrowState
from tallystick.node.ordering import Windows
from tallystick.node.shell import ATTEMPTS_MAX
from tallystick.simulation.dishonest import Cheat
from tallystick.simulation.disk import PowerCut
from tallystick.simulation.world import World
from tallystick.verification.verdict import Verdict
from tests.worlds import (
    JOB,
    KERNEL,
    PICTURE,
    SUPPLY,
    assert_at_rest,
    balance,
    bond,
    cheating,
    cut_before,
    deposited,
    of_seat,
    pixels,
    right_pixels,
)

WANTED: Final[dict[str, Any]] = {"block": 8, "operators": 3, "audit": PPM}
COMMIT_HOURS: Final = 6
JUDGE_HOURS: Final = 7 * 24


def stopped_before(entry: type, **wanted: Any) -> World:  # noqa: ANN401 - fields of a Wish
    """A world whose power went off just before an entry of this type was logged for the first time."""
    world = World(0, executor=KERNEL)
    cut_before(world, entry)
    with pytest.raises(PowerCut):
        ordered_and_run(world, **wanted)
    return world


def ordered_and_run(world: World, **wanted: Any) -> None:  # noqa: ANN401 - fields of a Wish
    """Order the job and drive it."""
    world.accept(PICTURE, **WANTED | wanted)
    world.node.run(JOB)


def assert_nobody_lost(world: World) -> None:
    """No bond shrank."""
    assert [bond(world, seat) for seat in range(3)] == [deposited(world, seat) for seat in range(3)]


def escrow_state(world: World, attempt: int) -> EscrowState:
    record = world.records[escrow_key(JOB, attempt)]
    assert isinstance(record, Escrow)
    return record.state


@pytest.mark.parametrize(
    "entry",
    [say.JobScheduled, say.JobStarted, say.SubmitResult, say.UploadsClosed],
    ids=["submitted", "scheduled", "running", "all-uploaded"],
)
def test_the_commit_deadline_passed_while_the_home_was_closed(entry: type) -> None:
    world = stopped_before(entry).restarted(hours=COMMIT_HOURS + 0.5)
    world.node.run(JOB)
    assert len(world.payloads(say.EscrowRefunded)) == 1
    assert [each.error_code for each in world.payloads(say.JobFailed)] == [say.FailureCode.DEADLINE_PASSED]
    assert [each.spec.attempt for each in world.payloads(say.JobSubmitted)] == [1, 2]
    (settled,) = world.payloads(say.JobSettled)
    assert settled.attempt == 2
    assert all(int(line.amount) > 0 and line.slashed == "0" for line in settled.lines)
    assert escrow_state(world, 1) is EscrowState.REFUNDED
    assert_nobody_lost(world)
    assert_at_rest(world)
    assert pixels(world.output()) == right_pixels()


@pytest.mark.parametrize("entry", [say.ChallengeDrawn, say.JobSettled], ids=["closed", "challenged"])
def test_the_judges_deadline_passed_while_the_home_was_closed(entry: type) -> None:
    world = stopped_before(entry).restarted(hours=JUDGE_HOURS + 1)
    world.node.run(JOB)
    assert len(world.payloads(say.EscrowReleased)) == 1
    (first, second) = world.payloads(say.JobSubmitted)
    (settled,) = world.payloads(say.JobSettled)
    assert (first.spec.attempt, second.spec.attempt, settled.attempt) == (1, 2, 2)
    # Uploaded work of the first attempt was paid unseen; the second attempt was judged and paid again.
    for seat, line in enumerate(settled.lines):
        slots = len(of_seat(world, seat))
        paid = balance(world, world.identity.payout(3, seat))
        assert paid == int(line.amount) + slots * first.spec.price.block_wei
    assert escrow_state(world, 1) is EscrowState.RELEASED
    assert_nobody_lost(world)
    assert_at_rest(world)


@pytest.mark.parametrize("entry", [say.ChallengeDrawn, say.JobSettled, say.JobCompleted, say.ArtifactPublished])
def test_a_job_that_waits_for_its_judge_goes_on_after_days(entry: type) -> None:
    hours = JUDGE_HOURS - 1 if entry in {say.ChallengeDrawn, say.JobSettled} else 10 * JUDGE_HOURS
    world = stopped_before(entry).restarted(hours=hours)
    world.node.run(JOB)
    assert len(world.payloads(say.JobSubmitted)) == len(world.payloads(say.JobSettled)) == 1
    assert_nobody_lost(world)
    assert_at_rest(world)


def test_a_job_interrupted_for_an_hour_goes_on_where_it_was() -> None:
    world = stopped_before(say.UploadsClosed)
    computed = len(world.payloads(say.SubmitResult))
    later = world.restarted(hours=1)
    later.node.run(JOB)
    assert len(later.payloads(say.SubmitResult)) == computed
    assert len(later.payloads(say.JobSubmitted)) == 1
    assert_at_rest(later)


def test_after_five_missed_attempts_the_money_is_back_and_the_error_says_so() -> None:
    world = stopped_before(say.UploadsClosed)
    assert world.disk.blobs
    for _ in range(ATTEMPTS_MAX - 1):
        world = world.restarted(hours=COMMIT_HOURS + 0.5)
        cut_before(world, say.JobScheduled)
        with pytest.raises(PowerCut):
            world.node.run(JOB)
    world = world.restarted(hours=COMMIT_HOURS + 0.5)
    with pytest.raises(IncompleteError, match="missed its deadlines 5 times; its money was refunded"):
        world.node.run(JOB)
    assert [each.spec.attempt for each in world.payloads(say.JobSubmitted)] == [1, 2, 3, 4, 5]
    assert len(world.payloads(say.EscrowRefunded)) == len(world.payloads(say.JobFailed)) == ATTEMPTS_MAX
    assert (world.locked(), world.supply()) == ([], SUPPLY)
    assert world.node.wishes.is_given_up(JOB)
    assert not world.node.wishes.is_done(JOB)
    assert world.node.wishes.unfinished() == ()
    assert world.disk.blobs == {}
    assert_nobody_lost(world)
    entries = len(world.disk.entries)
    with pytest.raises(IncompleteError, match="missed its deadlines"):
        world.restarted().node.run(JOB)
    assert len(world.disk.entries) == entries


def test_the_second_attempt_uses_other_secrets_salts_and_plan() -> None:
    world = stopped_before(say.UploadsClosed).restarted(hours=COMMIT_HOURS + 0.5)
    world.node.run(JOB)
    first, second = world.payloads(say.JobSubmitted)
    assert first.assign_commitment != second.assign_commitment
    assert first.buyer_commitment != second.buyer_commitment
    assert first.spec.input != second.spec.input
    roots = [each.result_hash for each in world.payloads(say.SubmitResult)]
    assert len(set(roots)) == len(roots)


def test_a_machine_that_slept_behind_the_deadlines_refunds_and_begins_again() -> None:
    """The home is open all the time, but its clock jumps: DeadlineError from the ledger, not an endless loop."""
    world = World(0, executor=KERNEL)
    world.accept(PICTURE, **WANTED)
    handed_out, jumps = world.crew.__class__.submit, [9 * 3_600_000]

    def submit(crew: Any, act: Any) -> None:  # noqa: ANN401 - of the crew
        handed_out(crew, act)
        if jumps:
            world.clock.time += jumps.pop()

    world.crew.__class__.submit = submit  # type: ignore[method-assign]
    try:
        world.node.run(JOB)
    finally:
        world.crew.__class__.submit = handed_out  # type: ignore[method-assign]
    assert [each.spec.attempt for each in world.payloads(say.JobSubmitted)] == [1, 2]
    assert len(world.payloads(say.EscrowRefunded)) == 1
    assert_nobody_lost(world)
    assert_at_rest(world)


def test_with_the_home_open_a_late_worker_pays_and_the_job_is_one_attempt() -> None:
    world = World(0, cast={2: cheating(Cheat.COMMIT_LATE)}, executor=KERNEL)
    world.accept(PICTURE, **WANTED)
    world.node.run(JOB)
    assert len(world.payloads(say.JobSubmitted)) == 1
    assert bond(world, 2) < deposited(world, 2)
    assert [bond(world, seat) for seat in (0, 1)] == [deposited(world, seat) for seat in (0, 1)]
    assert_at_rest(world)
    assert pixels(world.output()) == right_pixels()


def test_bytes_that_come_after_a_restart_count_and_are_noted() -> None:
    """The root is logged, its worker vanishes, the home restarts, the bytes come: once told, no crash unsays it."""
    world = World(0, cast={1: cheating(Cheat.VANISH_AFTER_COMMIT)}, executor=KERNEL)
    cut_before(world, say.JobProgressUpdate, number=4)
    with pytest.raises(PowerCut):
        ordered_and_run(world)
    assert 1 in {each.microjob % 3 for each in world.payloads(say.SubmitResult)}
    later = world.restarted(cast={})
    cut_before(later, say.ChallengeDrawn)
    with pytest.raises(PowerCut):
        later.node.run(JOB)
    (closed,) = later.payloads(say.UploadsClosed)
    assert closed.missing == ()
    last_life = later.restarted(cast={})
    last_life.node.run(JOB)
    assert {slot.verdict for slot in of_seat(last_life, 1)} == {Verdict.UPHELD}
    assert_nobody_lost(last_life)
    assert_at_rest(last_life)


def test_windows_of_an_order_can_be_chosen_and_hold() -> None:
    windows = Windows(commit=60_000, upload=120_000, reveal=180_000, judge=240_000, dispute=300_000, refund=360_000)
    world = World(0, cast={2: cheating(Cheat.NEVER_COMMIT)}, executor=KERNEL)
    offer = world.accept(PICTURE, **WANTED, windows=windows)
    world.node.run(JOB)
    (closed,) = world.payloads(say.UploadsClosed)
    assert offer.spec.deadlines.commit < closed.occurred_at <= offer.spec.deadlines.commit + 1000
    assert_at_rest(world)
