"""The two tables, and the full products of state and event walked through apply()."""

from collections.abc import Callable
from itertools import product

import msgspec
import pytest

from tallystick.errors import TransitionError
from tallystick.ledger import payloads as say
from tallystick.ledger.authority import SIGNERS, Signer
from tallystick.ledger.states import (
    ESCROW_TRANSITIONS,
    JOB_TRANSITIONS,
    OPEN_PHASES,
    UNCLOSED_PHASES,
    UPLOADED_PHASES,
    EscrowState,
    JobPhase,
    check_escrow_event,
    check_escrow_step,
    event_key,
    next_phase,
)
from tests.ledger_world import COORDINATOR, REQUESTER, Run, make_run
from tests.orders import DEADLINES, forging, key

JOB_EVENTS = sorted({event for _, event in JOB_TRANSITIONS}, key=lambda event: event.__name__)
ESCROW_EVENTS = sorted({event for _, event in ESCROW_TRANSITIONS}, key=lambda event: event.__name__)


def test_the_whole_product_of_phases_and_events_is_a_row_or_an_error() -> None:
    for phase, event in product(JobPhase, JOB_EVENTS):
        target = JOB_TRANSITIONS.get((phase, event))
        if target is not None:
            assert next_phase(phase, event) is target
            continue
        with pytest.raises(TransitionError, match=f"job: .* is not allowed in state {phase.value}"):
            next_phase(phase, event)


def test_the_whole_product_of_escrow_states_and_events_is_a_row_or_an_error() -> None:
    for state, event, target in product(EscrowState, ESCROW_EVENTS, EscrowState):
        targets = ESCROW_TRANSITIONS.get((state, event), frozenset())
        if targets:
            check_escrow_event(state, event)
        else:
            with pytest.raises(TransitionError, match=f"not allowed in state {state.value}"):
                check_escrow_event(state, event)
        if target in targets:
            check_escrow_step(state, event, target)
        else:
            with pytest.raises(TransitionError, match=f"to {target.value} is not allowed"):
                check_escrow_step(state, event, target)


def test_a_refused_event_is_named_as_it_stands_in_the_log() -> None:
    with pytest.raises(TransitionError, match="SUBMIT_RESULT is not allowed"):
        next_phase(JobPhase.CLOSED, say.SubmitResult)


def test_every_way_ends_and_no_final_state_holds_money() -> None:
    final = {EscrowState.RELEASED, EscrowState.REFUNDED, EscrowState.SPLIT}
    assert {state for state, _ in ESCROW_TRANSITIONS} == set(EscrowState) - final
    for state in (EscrowState.LOCKED, EscrowState.DISPUTED):
        assert ESCROW_TRANSITIONS[state, say.EscrowReleased] == final
    ended = {JobPhase.PUBLISHED}
    for phase in set(JobPhase) - ended:
        assert any(source is phase for source, _ in JOB_TRANSITIONS)
    assert UNCLOSED_PHASES | UPLOADED_PHASES < OPEN_PHASES


def test_an_event_key_has_a_suffix_from_the_second_attempt_on() -> None:
    assert event_key("j", "JobStarted", 1) == "gpu-job-j-JobStarted"
    assert event_key("j", "JobStarted", 2) == "gpu-job-j-JobStarted-2.0"
    assert event_key("j", "JobProgressUpdate", 1, 3) == "gpu-job-j-JobProgressUpdate-1.3"


def test_the_table_of_signers_names_every_type() -> None:
    assert set(SIGNERS) == set(say.TYPE_NAMES)
    assert [kind.__name__ for kind, signer in SIGNERS.items() if signer is Signer.ENGINE] == ["BlockHeader"]


def failed() -> Run:
    run = make_run().until("running")
    run.world.now = DEADLINES.reveal + 1
    run.world.send((REQUESTER, say.EscrowRefunded("job-1", 1)))
    run.world.send((COORDINATOR, run.failed_payload()))
    return run


PHASES: dict[JobPhase, Callable[[], Run]] = {
    JobPhase.SUBMITTED: lambda: make_run().until("submitted"),
    JobPhase.SCHEDULED: lambda: make_run().until("scheduled"),
    JobPhase.RUNNING: lambda: make_run().until("running"),
    JobPhase.CLOSED: lambda: make_run().until("closed"),
    JobPhase.CHALLENGED: lambda: make_run().until("challenged"),
    JobPhase.SETTLED: lambda: make_run().until("settled"),
    JobPhase.COMPLETED: lambda: make_run().until("completed"),
    JobPhase.PUBLISHED: lambda: make_run().until("published"),
    JobPhase.FAILED: failed,
}


def said(event: type, run: Run) -> tuple[object, say.Payload]:
    """An event that would be right in its phase, with its signer."""
    finished = make_run(world=None).until("challenged")
    if event is say.SubmitResult:
        return key("worker 0"), run.result_payload(0)
    makers: dict[type, Callable[[], say.Payload]] = {
        say.JobScheduled: run.scheduled_payload,
        say.JobStarted: lambda: say.JobStarted("job-1", 1, 0),
        say.JobProgressUpdate: lambda: run.progress_payload(1),
        say.MicroJobReassigned: lambda: run.moved_payload(0, 1),
        say.UploadsClosed: finished.closed_payload,
        say.ChallengeDrawn: finished.drawn_payload,
        say.JobSettled: finished.settled_payload,
        say.JobCompleted: run.completed_payload,
        say.ArtifactPublished: run.published_payload,
        say.JobFailed: run.failed_payload,
        say.JobSubmitted: run.order_payload,
    }
    return (REQUESTER if event is say.JobSubmitted else COORDINATOR), makers[event]()


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.value)
def test_apply_accepts_no_event_that_the_table_does_not_name(phase: JobPhase) -> None:
    run = PHASES[phase]()
    assert run.world.job().phase is phase
    for event in JOB_EVENTS:
        if (phase, event) not in JOB_TRANSITIONS:
            who, payload = said(event, run)
            assert run.world.refusal(who, payload) in {"TransitionError", "DuplicateError"}, event.__name__  # type: ignore[arg-type]


def disputed() -> Run:
    run = make_run().until("closed")
    run.world.send((REQUESTER, say.EscrowDisputed("job-1", 1, 0, "1000")))
    return run


def refunded() -> Run:
    run = make_run().until("running")
    run.world.now = DEADLINES.reveal + 1
    run.world.send((REQUESTER, say.EscrowRefunded("job-1", 1)))
    return run


def split() -> Run:
    run = make_run(audit=1_000_000, audit_blocks=4).until("running")
    run.submissions[2] = forging(run.spec, run.plan, 2)
    run.post()
    run.close()
    run.draw()
    run.settle()
    return run


ESCROWS: dict[EscrowState, Callable[[], Run]] = {
    EscrowState.LOCKED: lambda: make_run().until("closed"),
    EscrowState.DISPUTED: disputed,
    EscrowState.RELEASED: lambda: make_run().until("settled"),
    EscrowState.REFUNDED: refunded,
    EscrowState.SPLIT: split,
}


@pytest.mark.parametrize("state", ESCROWS, ids=lambda state: state.value)
def test_apply_accepts_no_escrow_event_that_the_table_does_not_name(state: EscrowState) -> None:
    run = ESCROWS[state]()
    assert run.world.escrow().state is state
    run.world.now = DEADLINES.refund + 1
    settlement = make_run().until("challenged").settled_payload()
    events: dict[type, tuple[object, say.Payload]] = {
        say.EscrowLocked: (REQUESTER, run.lock_payload()),
        say.EscrowReleased: (REQUESTER, say.EscrowReleased("job-1", 1)),
        say.EscrowRefunded: (REQUESTER, say.EscrowRefunded("job-1", 1)),
        say.EscrowDisputed: (REQUESTER, say.EscrowDisputed("job-1", 1, 0, "1000")),
        say.EscrowResolved: (key("arbiter"), say.EscrowResolved("job-1", 1, say.Exit.RELEASED, upheld=False)),
        say.JobSettled: (COORDINATOR, settlement),
    }
    assert set(events) == set(ESCROW_EVENTS)
    for event, (who, payload) in events.items():
        if (state, event) not in ESCROW_TRANSITIONS:
            expected = {"RuleError"} if event is say.EscrowLocked else {"TransitionError"}
            assert run.world.refusal(who, payload) in expected, event.__name__  # type: ignore[arg-type]


def test_an_escrow_that_was_never_locked_has_no_exit() -> None:
    world = make_run().world
    for payload in (
        say.EscrowReleased("job-1", 1),
        say.EscrowRefunded("job-1", 1),
        say.EscrowDisputed("job-1", 1, 0, "1"),
    ):
        assert world.refusal(REQUESTER, payload) == "RuleError"
    unknown = msgspec.structs.replace(make_run().until("challenged").settled_payload(), job_id="other")
    assert world.refusal(COORDINATOR, unknown) == "RuleError"
