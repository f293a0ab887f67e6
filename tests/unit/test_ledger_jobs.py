from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tallystick import commitment
from tallystick.errors import DeadlineError, DuplicateError, RuleError, StakeError, TallyError
from tallystick.job import Placement
from tallystick.ledger import payloads as say
from tallystick.ledger.records import Result, account_key, result_key
from tallystick.ledger.states import EscrowState, JobPhase
from tallystick.verification.deterrence import NO_DETERRENCE
from tests.ledger_world import (
    ASSIGN_SECRET,
    BUYER_SECRET,
    COORDINATOR,
    REQUESTER,
    STRANGER,
    Run,
    World,
    make_run,
)
from tests.orders import DEADLINES, key

LATER = {name: moment + 100_000 for name, moment in msgspec.structs.asdict(DEADLINES).items()}
"""Deadlines of an attempt that is ordered after the first one's have passed."""


def refused(run: Run, who: object, payload: say.Payload, reason: str, error: str) -> TallyError:
    with pytest.raises(TallyError, match=reason) as caught:
        run.world.attempt(who, payload)  # type: ignore[arg-type]
    assert type(caught.value).__name__ == error
    return caught.value


def funded(**changes: Any) -> Run:  # noqa: ANN401 - as make_order
    """A run whose escrow is locked and whose order is not yet given."""
    run = make_run(**changes)
    run.world.send((REQUESTER, run.lock_payload()))
    return run


def test_a_whole_job_is_recorded_step_by_step() -> None:
    run = make_run().until("running")
    for sequence in (1, 2):
        run.world.send((COORDINATOR, run.progress_payload(sequence)))
    for step in (run.post, run.close, run.draw, run.settle, run.complete, run.publish):
        step()
    job, closing = run.world.job(), run.world.closing()
    assert (job.phase, job.progress, job.attempt) == (JobPhase.PUBLISHED, 2, 1)
    assert (job.microjobs, job.size, job.slots) == (8, 4, 30)
    assert (closing.missing, closing.drawn_by, closing.secret) == ((), say.Drawer.BUYER, BUYER_SECRET.hex())
    assert run.world.escrow().state is EscrowState.RELEASED
    posted = run.world.state[result_key("job-1", 1, 0)]
    assert isinstance(posted, Result)
    assert posted.worker == run.spec.pool[0].worker


@pytest.mark.parametrize(
    ("changes", "reason", "error"),
    [
        ({"attempt": 2}, "attempt 2 does not follow", "RuleError"),
        ({"requester": key("stranger").public.hex()}, "belongs to another requester", "AuthorityError"),
        ({"chain_id": "other"}, "the order names chain other", "RuleError"),
        ({"placement": Placement.HIDDEN}, "leave the rate of duplicates at 0", "RuleError"),
        ({"placement": Placement.HIDDEN, "duplicates": 0}, "the order costs", "RuleError"),  # eight copies, not six
        (
            {"placement": Placement.HIDDEN, "duplicates": 0, "operators": "aab", "block": 96},
            "hidden micro jobs cannot be kept",
            "PolicyError",
        ),
        ({"target_width": 95}, "the output must be 96 x 64", "RuleError"),
        ({"block": 8}, "the order costs", "RuleError"),  # four times the blocks for the price of one
        ({"audit": 60_000}, "the order costs", "RuleError"),
        ({"stake": "0"}, "raise the stake to", "PolicyError"),
        ({"stake": "500000000"}, "deposit more", "StakeError"),
        ({"operators": "abd"}, "is not run by operator", "AuthorityError"),
    ],
)
def test_an_order_is_refused_for_exactly_one_reason(changes: dict[str, Any], reason: str, error: str) -> None:
    run = funded()
    pool = changes.pop("operators", "abc")
    other = make_run(pool, **{"chain_id": run.world.chain, **changes})
    other.world = run.world
    refused(run, REQUESTER, other.order_payload(), reason, error)


def test_an_order_without_its_price_is_refused() -> None:
    run = make_run()
    refused(run, REQUESTER, run.order_payload(), "no escrow is known", "RuleError")
    run.world.send((STRANGER, run.lock_payload()))
    refused(run, REQUESTER, run.order_payload(), "another requester's", "RuleError")


def test_a_weak_law_needs_its_label() -> None:
    weak = funded(stake="0")
    refused(weak, REQUESTER, weak.order_payload(), "does not deter", "PolicyError")
    labelled = funded(stake="0", labels=(NO_DETERRENCE,))
    labelled.world.send((REQUESTER, labelled.order_payload()))


def test_a_pool_whose_copies_must_meet_is_refused_before_money_is_locked_for_long() -> None:
    world = World()
    world.enlist("aaab")
    run = make_run("aaab", world=world, duplicates=1_000_000)
    world.send((REQUESTER, run.lock_payload()))
    refused(run, REQUESTER, run.order_payload(), "add operators", "PolicyError")
    world.send((REQUESTER, say.EscrowRefunded("job-1", 1)))
    assert world.escrow().state is EscrowState.REFUNDED


def test_a_bond_that_another_job_holds_does_not_count() -> None:
    world = World()
    world.enlist("abc", bond=200_000)
    make_run(world=world).until("submitted")
    second = make_run(world=world, job_id="job-2")
    world.send((REQUESTER, second.lock_payload()))
    error = refused(
        second, REQUESTER, second.order_payload(), "80000 wei of bond free, 120000 are at stake", "StakeError"
    )
    assert isinstance(error, StakeError)


def test_a_worker_that_is_not_registered_cannot_be_in_a_pool() -> None:
    world = World()
    world.enlist("ab")
    run = make_run("abc", world=world)
    world.send((REQUESTER, run.lock_payload()))
    refused(run, REQUESTER, run.order_payload(), "no node is known", "RuleError")


def test_simulated_workers_make_a_simulated_order() -> None:
    world = World()
    world.enlist("abc")
    worker = key("worker 1")
    world.send((worker, world.registration(1, "b", simulated=True)))
    honest = make_run(world=world)
    world.send((REQUESTER, honest.lock_payload()))
    refused(honest, REQUESTER, honest.order_payload(), "must say simulated", "RuleError")
    told = make_run(world=world, simulated=True)
    world.send((REQUESTER, told.order_payload()))
    assert world.job().phase is JobPhase.SUBMITTED


@pytest.mark.parametrize(
    ("phase", "said", "deadline"),
    [
        ("", lambda run: (REQUESTER, run.order_payload()), "commit"),
        ("submitted", lambda run: (COORDINATOR, run.scheduled_payload()), "commit"),
        ("scheduled", lambda _run: (COORDINATOR, say.JobStarted("job-1", 1, 0)), "commit"),
        ("running", lambda run: (key("worker 0"), run.result_payload(0)), "commit"),
        ("posted", lambda run: (COORDINATOR, run.closed_payload()), "reveal"),
        ("challenged", lambda run: (COORDINATOR, run.settled_payload()), "judge"),
        ("closed", lambda _run: (REQUESTER, say.EscrowDisputed("job-1", 1, 0, "1000")), "dispute"),
    ],
)
def test_what_comes_at_its_deadline_is_in_time_and_a_millisecond_later_late(
    phase: str, said: Callable[[Run], tuple[object, say.Payload]], deadline: str
) -> None:
    run = make_run().until(phase) if phase else funded()
    who, payload = said(run)
    moment = getattr(DEADLINES, deadline)
    run.world.now = moment
    run.world.attempt(who, payload)  # type: ignore[arg-type]
    run.world.now = moment + 1
    error = refused(run, who, payload, f"came at {moment + 1}, after its deadline {moment}", "DeadlineError")
    assert isinstance(error, DeadlineError)


COORDINATED: dict[str, tuple[str, Callable[[Run], say.Payload]]] = {
    "JobScheduled": ("submitted", lambda run: run.scheduled_payload()),
    "JobStarted": ("scheduled", lambda _run: say.JobStarted("job-1", 1, 0)),
    "JobProgressUpdate": ("running", lambda run: run.progress_payload(1)),
    "UploadsClosed": ("posted", lambda run: run.closed_payload()),
    "ChallengeDrawn": ("closed", lambda run: run.drawn_payload()),
    "JobSettled": ("challenged", lambda run: run.settled_payload()),
    "JobCompleted": ("settled", lambda run: run.completed_payload()),
    "ArtifactPublished": ("completed", lambda run: run.published_payload()),
}


@pytest.mark.parametrize("name", COORDINATED)
def test_only_the_coordinator_may_say_what_the_node_did(name: str) -> None:
    phase, make = COORDINATED[name]
    run = make_run().until(phase)
    payload = make(run)
    for who in (REQUESTER, key("worker 0"), key("arbiter"), STRANGER):
        refused(run, who, payload, f"{name} must be signed by the coordinator, not by {who.address}", "AuthorityError")
    run.world.send((COORDINATOR, payload))


@pytest.mark.parametrize("attempt", [2, 9])
def test_an_event_of_another_attempt_is_refused(attempt: int) -> None:
    run = make_run().until("submitted")
    payload = msgspec.structs.replace(run.scheduled_payload(), attempt=attempt)
    refused(run, COORDINATOR, payload, f"at attempt 1, not {attempt}", "RuleError")


def test_a_schedule_of_another_size_is_refused() -> None:
    run = make_run().until("submitted")
    payload = msgspec.structs.replace(run.scheduled_payload(), microjobs=9)
    refused(run, COORDINATOR, payload, "8 micro jobs, not 9", "RuleError")


def test_a_repeated_event_names_the_first_and_changes_nothing() -> None:
    run = make_run().until("submitted")
    first = run.world.send((COORDINATOR, run.scheduled_payload()))
    for _ in range(2):
        error = refused(run, COORDINATOR, run.scheduled_payload(), "was recorded before", "DuplicateError")
        assert isinstance(error, DuplicateError)
        assert (error.key, error.first) == ("gpu-job-job-1-JobScheduled", first.tx_hash)
    order = run.world.state[f"seen/{REQUESTER.address}/gpu-job-job-1-JobSubmitted"]
    repeated = refused(run, REQUESTER, run.order_payload(), "was recorded before", "DuplicateError")
    assert isinstance(repeated, DuplicateError)
    assert repeated.first == order.tx_hash  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("sequence", "changes", "reason"),
    [
        (2, {}, "does not follow 0"),
        (0, {}, "does not follow 0"),
        (1, {"total": 7}, "progress 1 of 7"),
        (1, {"done": 9}, "9 cannot have arrived"),
    ],
)
def test_progress_is_counted_one_by_one(sequence: int, changes: dict[str, int], reason: str) -> None:
    run = make_run().until("running")
    refused(run, COORDINATOR, run.progress_payload(sequence, **changes), reason, "RuleError")


def test_there_are_no_more_progress_updates_than_micro_jobs() -> None:
    run = make_run().until("running")
    for sequence in range(1, 9):
        run.world.send((COORDINATOR, run.progress_payload(sequence)))
    refused(run, COORDINATOR, run.progress_payload(9, done=8), "cannot have arrived", "RuleError")


@pytest.mark.parametrize(
    ("changes", "reason", "error"),
    [
        ({"microjob": 8}, "there is no 8", "RuleError"),
        ({"microjob": 1}, "micro job 1 is not held by", "AuthorityError"),
        ({"worker_address": key("worker 1").address}, "is not held by", "AuthorityError"),
        ({"tree_size": 3}, "has 4 slots, the root is over 3", "RuleError"),
        ({"class_id": "01" * 32}, "class_id must be 32 zero bytes", "RuleError"),
        ({"result_hash": "00" * 32}, "signature", "SignatureError"),
        ({"signature": "11" * 64}, "signature", "SignatureError"),
        ({"attempt": 2}, "at attempt 1, not 2", "RuleError"),
        ({"task_id": "job-2"}, "no job is known", "RuleError"),
    ],
)
def test_a_root_is_refused_for_exactly_one_reason(changes: dict[str, Any], reason: str, error: str) -> None:
    run = make_run().until("running")
    payload = msgspec.structs.replace(run.result_payload(0), **changes)
    refused(run, key("worker 0"), payload, reason, error)


def test_only_the_seat_that_holds_a_micro_job_may_post_its_root() -> None:
    run = make_run().until("running")
    refused(run, key("worker 1"), run.result_payload(0), "is not held by", "AuthorityError")
    refused(run, COORDINATOR, run.result_payload(0), "is not held by", "AuthorityError")


def test_a_copied_commitment_is_not_the_copiers() -> None:
    """The inner signature covers the worker's key, so another's cannot be posted for one's own micro job."""
    run = make_run().until("running")
    theirs = run.result_payload(1)
    own = msgspec.structs.replace(theirs, microjob=0, worker_address=key("worker 0").address)
    refused(run, key("worker 0"), own, "signature", "SignatureError")


def test_a_second_root_names_the_first() -> None:
    run = make_run().until("running")
    first = run.world.send((key("worker 0"), run.result_payload(0)))
    error = refused(run, key("worker 0"), run.result_payload(0), "the root of micro job 0", "DuplicateError")
    assert isinstance(error, DuplicateError)
    assert error.first == first.tx_hash


@pytest.mark.parametrize(
    ("changes", "reason", "error"),
    [
        ({"roots_root": "00" * 32}, "roots_root of UploadsClosed", "VerificationError"),
        ({"missing": (3, 2)}, "listed once, ascending", "RuleError"),
        ({"missing": (2, 2)}, "listed once, ascending", "RuleError"),
        ({"missing": (8,)}, "and exist", "RuleError"),
        ({"missing": (2,)}, "closing the uploads without micro job 2 is possible after", "DeadlineError"),
    ],
)
def test_a_closing_is_refused_for_exactly_one_reason(changes: dict[str, Any], reason: str, error: str) -> None:
    run = make_run().until("posted")
    refused(run, COORDINATOR, msgspec.structs.replace(run.closed_payload(), **changes), reason, error)


def test_a_missing_micro_job_has_its_full_time() -> None:
    run = make_run().until("running")
    run.post(skip=(2,))
    refused(run, COORDINATOR, run.closed_payload(), "micro job 2 has no root in time", "RuleError")
    for missing, deadline in (((2,), DEADLINES.commit), ((2, 5), DEADLINES.upload)):
        run.world.now = deadline
        refused(run, COORDINATOR, run.closed_payload(missing), "without micro job", "DeadlineError")
        run.world.now = deadline + 1
        run.world.attempt(COORDINATOR, run.closed_payload(missing))
    run.close((2, 5))
    assert run.world.closing().missing == (2, 5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"header": "00" * 32}, "header and roots_root of the challenge"),
        ({"roots_root": "00" * 32}, "header and roots_root of the challenge"),
        ({"secret": "00" * 32}, "commitment to the revealed secret"),
        ({"secret": ASSIGN_SECRET.hex()}, "commitment to the revealed secret"),
        ({"challenge": "00" * 32}, "challenge: expected"),
    ],
)
def test_a_challenge_must_follow_from_what_was_promised(changes: dict[str, str], reason: str) -> None:
    run = make_run().until("closed")
    refused(run, COORDINATOR, msgspec.structs.replace(run.drawn_payload(), **changes), reason, "VerificationError")


def test_the_operator_draws_only_when_the_buyer_let_its_deadline_pass() -> None:
    run = make_run().until("closed")
    run.world.now = DEADLINES.reveal
    drawn = run.drawn_payload(say.Drawer.OPERATOR)
    refused(run, COORDINATOR, drawn, "a challenge drawn by the operator is possible after", "DeadlineError")
    run.world.now = DEADLINES.reveal + 1
    false = msgspec.structs.replace(run.drawn_payload(), drawn_by=say.Drawer.OPERATOR)
    refused(run, COORDINATOR, false, "commitment to the revealed secret", "VerificationError")
    run.draw(say.Drawer.OPERATOR)
    assert run.world.closing().drawn_by is say.Drawer.OPERATOR


def test_a_challenge_waits_for_the_header_that_closes_the_uploads() -> None:
    run = make_run().until("closed")
    drawn = run.drawn_payload()
    del run.world.state[f"header/{run.world.closing().height}"]
    refused(run, COORDINATOR, drawn, "no sealed is known", "RuleError")


@pytest.mark.parametrize("changes", [{"width": 95}, {"height": 65}])
def test_the_output_has_the_ordered_size(changes: dict[str, int]) -> None:
    run = make_run().until("settled")
    payload = msgspec.structs.replace(run.completed_payload(), **changes)
    refused(run, COORDINATOR, payload, "not the ordered one", "RuleError")


def test_a_job_never_fails_with_its_price_locked() -> None:
    run = make_run().until("running")
    refused(run, COORDINATOR, run.failed_payload(), "refund or release the escrow first", "DeadlineError")
    run.world.now = DEADLINES.commit + 1
    run.world.send((COORDINATOR, say.EscrowRefunded("job-1", 1)))
    for who in (REQUESTER, STRANGER):
        refused(run, who, run.failed_payload(), "must be signed by the coordinator", "AuthorityError")
    run.world.send((COORDINATOR, run.failed_payload()))
    assert run.world.job().phase is JobPhase.FAILED


def test_a_failed_job_is_ordered_again_as_the_next_attempt_by_its_requester() -> None:
    run = make_run().until("running")
    run.world.now = DEADLINES.commit + 1
    run.world.send((COORDINATOR, say.EscrowRefunded("job-1", 1)), (COORDINATOR, run.failed_payload()))
    again = make_run(world=run.world, attempt=2, **LATER)
    refused(run, STRANGER, again.lock_payload(), "another requester", "AuthorityError")
    skipped = msgspec.structs.replace(again.lock_payload(), attempt=3)
    refused(run, REQUESTER, skipped, "has no attempt 3", "RuleError")
    again.until("published")
    assert (run.world.job().attempt, run.world.job().phase) == (2, JobPhase.PUBLISHED)
    assert run.world.escrow(attempt=1).state is EscrowState.REFUNDED
    assert f"seen/{COORDINATOR.address}/gpu-job-job-1-JobScheduled-2.0" in run.world.state


def test_a_job_id_belongs_to_its_first_requester() -> None:
    run = failed_run()
    again = make_run(world=run.world, attempt=2, **LATER, requester=STRANGER.public.hex())
    with pytest.raises(RuleError, match="another requester"):
        run.world.attempt(STRANGER, again.order_payload())


def failed_run() -> Run:
    run = make_run().until("running")
    run.world.now = DEADLINES.commit + 1
    run.world.send((COORDINATOR, say.EscrowRefunded("job-1", 1)), (COORDINATOR, run.failed_payload()))
    return run


def test_apply_reads_and_never_writes_the_view() -> None:
    run = make_run().until("posted")
    before = dict(run.world.state)
    run.world.attempt(COORDINATOR, run.closed_payload())
    assert run.world.state == before
    assert account_key(COORDINATOR.address) in before


def test_roots_are_closed_over_in_micro_job_order() -> None:
    run = make_run().until("posted")
    roots = [run.submissions[index].commitment for index in range(8)]
    expected = commitment.roots_root([None if each is None else each.root for each in roots])
    assert run.closed_payload().roots_root == expected.hex()
