"""Where the buyer's money goes: settlement, every changed word of it refused, and every exit."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from tallystick.errors import TallyError
from tallystick.ledger import payloads as say
from tallystick.ledger.records import BURNED
from tallystick.ledger.settlement import quote
from tallystick.ledger.states import EscrowState
from tests.ledger_world import ARBITER, COORDINATOR, REQUESTER, RICH, STRANGER, Run, World, make_run, payout
from tests.orders import DEADLINES, forging, key, make_order

PRICE = quote(make_order()).total
FULL = {"audit": 1_000_000, "audit_blocks": 4}


def refused(run: Run, who: Any, payload: say.Payload, reason: str, error: str = "RuleError") -> None:  # noqa: ANN401 - a key
    with pytest.raises(TallyError, match=reason) as caught:
        run.world.attempt(who, payload)
    assert type(caught.value).__name__ == error


def with_liar(**changes: Any) -> Run:  # noqa: ANN401 - as make_order
    """A challenged job in which worker 2 forged its first micro job, under full audit."""
    run = make_run(**{**FULL, **changes}).until("running")
    run.submissions[2] = forging(run.spec, run.plan, 2)
    run.post()
    run.close()
    run.draw()
    return run


def with_missing(missing: Iterable[int], skip: Iterable[int] = ()) -> Run:
    """A challenged job in which these micro jobs did not arrive; those of ``skip`` have no root either."""
    run = make_run().until("running")
    run.post(skip=skip)
    run.world.now = DEADLINES.upload + 1
    run.close(sorted({*missing, *skip}))
    run.draw()
    return run


def unlocked(world: World) -> bool:
    return all(world.node(seat).locked == "0" for seat in range(3))


def earned(world: World) -> list[int]:
    return [world.balance(payout(seat)) for seat in range(3)]


def test_the_escrow_holds_the_price_apart_from_all_accounts() -> None:
    run = make_run()
    run.world.send((REQUESTER, run.lock_payload()))
    escrow = run.world.escrow()
    assert (escrow.state, escrow.balance, escrow.requester) == (EscrowState.LOCKED, "44000", REQUESTER.public.hex())
    assert run.world.balance(REQUESTER.address) == RICH - 44_000
    refused(run, REQUESTER, run.lock_payload(), "already has its escrow")
    for attempt in (2, 3):
        refused(run, REQUESTER, say.EscrowLocked("job-1", attempt, "1", "0", "0", "0"), f"no attempt {attempt} to pay")
    refused(run, key("poor"), say.EscrowLocked("job-9", 1, "1", "0", "0", "0"), "1 are needed", "FundsError")
    refused(run, STRANGER, say.EscrowLocked("job-9", 1, str(2**256), "0", "0", "0"), "between 0 and 2")


def test_an_escrow_without_an_order_goes_back_to_its_requester_alone() -> None:
    run = make_run()
    run.world.send((REQUESTER, run.lock_payload()))
    for who in (STRANGER, COORDINATOR, ARBITER):
        refused(run, who, say.EscrowRefunded("job-1", 1), "its requester, who must ask for it", "AuthorityError")
    run.world.send((REQUESTER, say.EscrowRefunded("job-1", 1)))
    assert run.world.balance(REQUESTER.address) == RICH
    assert run.world.escrow().balance == "0"


def test_an_honest_job_is_paid_and_the_rest_returns() -> None:
    run = make_run().until("settled")
    assert earned(run.world) == [12 * 1200, 10 * 1200, 8 * 1200]
    assert run.world.balance(COORDINATOR.address) == RICH + 2_000
    assert run.world.balance(REQUESTER.address) == RICH - 38_000
    assert run.world.balance(BURNED) == 0
    assert run.world.escrow().state is EscrowState.RELEASED
    assert unlocked(run.world)


def test_a_liar_is_unpaid_and_slashed_and_the_honest_are_paid() -> None:
    run = with_liar()
    payload = run.settled_payload()
    assert (payload.lines[2].accepted, payload.lines[2].refuted, payload.lines[2].amount) == (4, 4, "0")
    run.settle()
    assert earned(run.world) == [14_400, 12_000, 0]
    assert run.world.node(2).bond == str(10**9 - 40_000)
    assert run.world.balance(BURNED) == 40_000 - int(payload.redone) * 1000
    assert run.world.escrow().state is EscrowState.SPLIT
    assert unlocked(run.world)


def test_the_absent_pay_the_small_slash_and_the_withholders_the_full_one() -> None:
    run = with_missing(missing=(1,), skip=(2,))
    lines = run.settled_payload().lines
    assert [(line.absent, line.faulted, line.slashed) for line in lines] == [
        (0, 0, "0"),
        (0, 1, "40000"),
        (1, 0, "3000"),
    ]
    run.settle()
    assert earned(run.world) == [14_400, 0, 4_800]
    assert run.world.escrow().state is EscrowState.SPLIT


def test_where_nobody_did_anything_the_buyer_pays_its_two_audits_and_the_absent_pay_the_rest() -> None:
    run = with_missing(missing=(), skip=range(8))
    run.settle()
    assert run.world.escrow().state is EscrowState.REFUNDED
    assert earned(run.world) == [0, 0, 0]
    slashed = sum(10**9 - int(run.world.node(seat).bond) for seat in range(3))
    assert slashed == 8 * 3_000
    assert run.world.balance(COORDINATOR.address) == RICH + 24 * 1000  # the referee computed everything
    assert run.world.balance(REQUESTER.address) == RICH - 2 * 1000
    assert run.world.balance(BURNED) == 8 * 3_000 - 22 * 1000


def test_with_one_operator_the_referee_is_paid_for_its_copies() -> None:
    run = make_run("aaa").until("settled")
    assert run.world.balance(COORDINATOR.address) >= RICH + 6 * 1000


def line_with(payload: say.JobSettled, seat: int, **changes: Any) -> say.JobSettled:  # noqa: ANN401 - any field
    lines = list(payload.lines)
    lines[seat] = msgspec.structs.replace(lines[seat], **changes)
    return msgspec.structs.replace(payload, lines=tuple(lines))


@pytest.mark.parametrize(
    ("changes", "reason", "error"),
    [
        ({"assign_secret": "00" * 32}, "commitment to the assignment", "VerificationError"),
        ({"referee_fee": "1999"}, "amounts of JobSettled", "VerificationError"),
        ({"refund": "6001"}, "amounts of JobSettled", "VerificationError"),
        ({"burned": "1"}, "amounts of JobSettled", "VerificationError"),
        ({"results": 7}, "24 verdicts over 8 results are due", "RuleError"),
        ({"verdicts": 23}, "24 verdicts over 8 results are due", "RuleError"),
        ({"copies": 1}, "0 copies for the referee and at most 2 audited", "RuleError"),
        ({"audited": 3}, "0 copies for the referee and at most 2 audited", "RuleError"),
        ({"audited": 1}, "amounts of JobSettled", "VerificationError"),
        ({"redone": 1}, "every slot is accepted and no checked micro job was moved", "RuleError"),
        ({"lines": ()}, "one line per seat", "RuleError"),
        ({"attempt": 2}, "at attempt 1, not 2", "RuleError"),
        ({"job_id": "job-2"}, "no job is known", "RuleError"),
    ],
)
def test_a_changed_settlement_is_refused(changes: dict[str, Any], reason: str, error: str) -> None:
    run = make_run().until("challenged")
    refused(run, COORDINATOR, msgspec.structs.replace(run.settled_payload(), **changes), reason, error)


@pytest.mark.parametrize(
    ("changes", "reason", "error"),
    [
        ({"worker": key("worker 1").public.hex()}, "in the order of the pool", "RuleError"),
        ({"payee": key("thief").address}, "the payee of", "RuleError"),
        ({"accepted": 13}, "does not account for its 12 slots", "RuleError"),
        ({"accepted": 11}, "does not account for its 12 slots", "RuleError"),
        ({"accepted": 11, "refuted": 1}, "0 faulted micro jobs do not agree", "RuleError"),
        ({"accepted": 11, "unavailable": 1}, "0 faulted micro jobs do not agree", "RuleError"),
        ({"accepted": 11, "refuted": 1, "faulted": 2}, "2 faulted micro jobs do not agree", "RuleError"),
        ({"accepted": 0, "refuted": 12, "faulted": 4}, "4 faulted micro jobs do not agree", "RuleError"),
        ({"faulted": 1}, "1 faulted micro jobs do not agree", "RuleError"),
        ({"absent": 1}, "0 micro jobs of .* have no root, its line says 1", "RuleError"),
        ({"amount": "14401"}, "amounts of JobSettled", "VerificationError"),
        ({"slashed": "1"}, "amounts of JobSettled", "VerificationError"),
        ({"accepted": 11, "refuted": 1, "faulted": 1}, "amounts of JobSettled", "VerificationError"),
    ],
)
def test_a_changed_line_is_refused(changes: dict[str, Any], reason: str, error: str) -> None:
    run = make_run().until("challenged")
    refused(run, COORDINATOR, line_with(run.settled_payload(), 0, **changes), reason, error)


def test_lines_come_in_the_order_of_the_pool() -> None:
    run = make_run().until("challenged")
    payload = run.settled_payload()
    reordered = msgspec.structs.replace(payload, lines=payload.lines[::-1])
    refused(run, COORDINATOR, reordered, "in the order of the pool")


@pytest.mark.parametrize(
    ("seat", "changes", "reason"),
    [
        (1, {"accepted": 10, "unavailable": 0, "faulted": 0}, "counts slots whose bytes are missing"),
        (1, {"faulted": 0}, "0 faulted micro jobs do not agree"),
        (2, {"absent": 0}, "1 micro jobs of .* have no root, its line says 0"),
        (2, {"absent": 2}, "1 micro jobs of .* have no root, its line says 2"),
        (2, {"absent": 1, "faulted": 1}, "1 faulted micro jobs do not agree"),
    ],
)
def test_a_line_cannot_contradict_what_the_log_says_is_missing(seat: int, changes: dict[str, int], reason: str) -> None:
    run = with_missing(missing=(1,), skip=(2,))
    payload = run.settled_payload()
    with pytest.raises(TallyError, match=reason):
        run.world.attempt(COORDINATOR, line_with(payload, seat, **changes))
    run.world.attempt(COORDINATOR, payload)


def test_the_referee_cannot_claim_more_blocks_than_there_are() -> None:
    run = with_liar()
    payload = run.settled_payload()
    assert payload.audited == 24
    refused(run, COORDINATOR, msgspec.structs.replace(payload, redone=1), "more blocks than the job has")


def test_a_settlement_must_open_the_assignment_that_was_scheduled() -> None:
    run = make_run().until("submitted")
    other = msgspec.structs.replace(run.scheduled_payload(), assignments_root="00" * 32)
    run.world.send((COORDINATOR, other))
    run.start()
    run.post()
    run.close()
    run.draw()
    refused(run, COORDINATOR, run.settled_payload(), "assignments_root of JobScheduled", "VerificationError")


# Exits


def test_before_the_uploads_close_the_price_returns_and_nobody_is_slashed() -> None:
    run = make_run().until("running")
    run.post(skip=(2,))
    run.world.now = DEADLINES.commit
    refused(run, COORDINATOR, say.EscrowRefunded("job-1", 1), "is possible after", "DeadlineError")
    run.world.now = DEADLINES.reveal
    for who in (REQUESTER, STRANGER, key("worker 0")):
        refused(run, who, say.EscrowRefunded("job-1", 1), "is possible after", "DeadlineError")
    run.world.attempt(COORDINATOR, say.EscrowRefunded("job-1", 1))
    run.world.now = DEADLINES.reveal + 1
    run.world.send((STRANGER, say.EscrowRefunded("job-1", 1)))
    assert run.world.balance(REQUESTER.address) == RICH
    assert [run.world.node(seat).bond for seat in range(3)] == [str(10**9)] * 3
    assert unlocked(run.world)


@pytest.mark.parametrize("phase", ["submitted", "scheduled", "running"])
def test_there_is_a_refund_from_every_phase_before_the_closing(phase: str) -> None:
    run = make_run().until(phase)
    run.world.now = DEADLINES.reveal + 1
    refused(run, STRANGER, say.EscrowReleased("job-1", 1), "pays uploads that nobody judged")
    run.world.send((STRANGER, say.EscrowRefunded("job-1", 1)))
    assert run.world.escrow().state is EscrowState.REFUNDED
    assert unlocked(run.world)


@pytest.mark.parametrize("phase", ["closed", "challenged"])
def test_with_a_silent_coordinator_uploaded_work_is_paid(phase: str) -> None:
    run = make_run().until(phase)
    run.world.now = DEADLINES.judge
    refused(run, STRANGER, say.EscrowReleased("job-1", 1), "is possible after", "DeadlineError")
    refused(run, STRANGER, say.EscrowRefunded("job-1", 1), "what was earned is paid by EscrowReleased")
    run.world.now = DEADLINES.judge + 1
    run.world.send((STRANGER, say.EscrowReleased("job-1", 1)))
    assert earned(run.world) == [14_400, 12_000, 9_600]
    assert run.world.balance(REQUESTER.address) == RICH - 36_000
    assert run.world.balance(COORDINATOR.address) == RICH
    assert run.world.escrow().state is EscrowState.RELEASED
    assert unlocked(run.world)


@pytest.mark.parametrize(
    ("missing", "skip", "state", "paid"),
    [
        ((1,), (2,), EscrowState.SPLIT, [14_400, 7_200, 4_800]),
        (range(8), (), EscrowState.REFUNDED, [0, 0, 0]),
        ((), range(8), EscrowState.REFUNDED, [0, 0, 0]),
    ],
)
def test_a_release_pays_only_what_was_committed_and_uploaded(
    missing: Iterable[int], skip: Iterable[int], state: EscrowState, paid: list[int]
) -> None:
    run = with_missing(missing, skip)
    run.world.now = DEADLINES.judge + 1
    run.world.send((STRANGER, say.EscrowReleased("job-1", 1)))
    assert (run.world.escrow().state, earned(run.world)) == (state, paid)
    assert [run.world.node(seat).bond for seat in range(3)] == [str(10**9)] * 3
    assert unlocked(run.world)


def dispute(run: Run, who: Any = REQUESTER, bond: str = "1000") -> None:  # noqa: ANN401 - a key
    run.world.send((who, say.EscrowDisputed("job-1", 1, 3, bond)))


@pytest.mark.parametrize(
    ("who", "payload", "reason", "error"),
    [
        (
            STRANGER,
            say.EscrowDisputed("job-1", 1, 3, "1000"),
            "only the requester or a worker of the pool",
            "AuthorityError",
        ),
        (COORDINATOR, say.EscrowDisputed("job-1", 1, 3, "1000"), "only the requester or a worker", "AuthorityError"),
        (REQUESTER, say.EscrowDisputed("job-1", 1, 24, "1000"), "there is no block 24", "RuleError"),
        (REQUESTER, say.EscrowDisputed("job-1", 1, 3, "999"), "must cover the referee's cost of 1000 wei", "RuleError"),
        (REQUESTER, say.EscrowDisputed("job-1", 1, 3, str(RICH)), "are needed", "FundsError"),
    ],
)
def test_a_dispute_needs_standing_a_block_and_a_bond(who: Any, payload: say.Payload, reason: str, error: str) -> None:  # noqa: ANN401
    refused(make_run().until("closed"), who, payload, reason, error)


def test_there_is_nothing_to_dispute_before_the_uploads_close() -> None:
    run = make_run().until("posted")
    refused(run, REQUESTER, say.EscrowDisputed("job-1", 1, 3, "1000"), "a dispute is about uploaded work")


def test_a_disputed_escrow_waits_for_the_arbiter_until_the_refund_deadline() -> None:
    run = make_run().until("challenged")
    dispute(run)
    assert (run.world.escrow().state, run.world.escrow().dispute_bond) == (EscrowState.DISPUTED, "1000")
    run.world.now = DEADLINES.refund
    refused(run, STRANGER, say.EscrowReleased("job-1", 1), "is possible after", "DeadlineError")
    run.world.now = DEADLINES.refund + 1
    run.world.send((STRANGER, say.EscrowReleased("job-1", 1)))
    assert earned(run.world) == [14_400, 12_000, 9_600]
    assert run.world.balance(REQUESTER.address) == RICH - 36_000  # the bond came back: the arbiter was silent
    assert run.world.escrow().dispute_bond == "0"


def test_a_dispute_does_not_stop_the_judge() -> None:
    """Else a liar that sees its challenge would dispute, and be paid in the end for uploading."""
    run = with_liar()
    dispute(run, key("worker 2"))
    run.settle()
    assert earned(run.world) == [14_400, 12_000, 0]
    assert run.world.node(2).bond == str(10**9 - 40_000)
    assert run.world.balance(key("worker 2").address) == RICH - 10**9  # its dispute's bond came back
    assert run.world.escrow().state is EscrowState.SPLIT


@pytest.mark.parametrize("upheld", [True, False])
@pytest.mark.parametrize(
    ("exit_", "state", "cost"), [("released", EscrowState.RELEASED, 36_000), ("refunded", EscrowState.REFUNDED, 0)]
)
def test_the_arbiter_ends_a_dispute(upheld: bool, exit_: str, state: EscrowState, cost: int) -> None:  # noqa: FBT001 - a parameter
    run = make_run().until("challenged")
    dispute(run)
    payload = say.EscrowResolved("job-1", 1, say.Exit(exit_), upheld=upheld)
    for who in (STRANGER, REQUESTER, COORDINATOR):
        refused(run, who, payload, "must be signed by the arbiter", "AuthorityError")
    run.world.send((ARBITER, payload))
    assert run.world.escrow().state is state
    assert run.world.balance(REQUESTER.address) == RICH - cost - 1000 * upheld
    assert run.world.balance(ARBITER.address) == RICH + 1000 * upheld
    assert unlocked(run.world)
    for again in (payload, say.EscrowReleased("job-1", 1)):
        refused(run, ARBITER, again, "not allowed in state", "TransitionError")
    run.world.send((COORDINATOR, run.failed_payload()))


@pytest.mark.parametrize(
    ("missing", "exit_", "reason"),
    [
        ((), "split", "leaves the escrow released"),
        ((1,), "released", "leaves the escrow split"),
        (range(8), "split", "refunded"),
    ],
)
def test_the_arbiter_must_call_the_exit_by_its_name(missing: Iterable[int], exit_: str, reason: str) -> None:
    run = with_missing(missing)
    dispute(run)
    refused(run, ARBITER, say.EscrowResolved("job-1", 1, say.Exit(exit_), upheld=False), reason)


def test_a_split_pays_what_was_uploaded() -> None:
    run = with_missing((1,))
    dispute(run, key("worker 0"), "1500")
    run.world.send((ARBITER, say.EscrowResolved("job-1", 1, say.Exit.SPLIT, upheld=True)))
    assert earned(run.world) == [14_400, 7_200, 9_600]
    assert run.world.balance(ARBITER.address) == RICH + 1500


def test_there_is_no_resolution_without_a_dispute() -> None:
    run = make_run().until("challenged")
    refused(
        run, ARBITER, say.EscrowResolved("job-1", 1, say.Exit.RELEASED, upheld=True), "not allowed", "TransitionError"
    )
