"""Lost work goes to another seat: who may be given what, whose stake is held, and who is paid for it."""

from typing import Any

import msgspec
import pytest

from tallystick.errors import TallyError
from tallystick.ledger import payloads as say
from tallystick.ledger.holding import MOVES_MAX, holders
from tallystick.ledger.records import Moved, Overlay, moved_key
from tallystick.ledger.states import EscrowState, JobPhase
from tests.ledger_world import ARBITER, COORDINATOR, REQUESTER, STRANGER, Run, World, make_run
from tests.orders import DEADLINES, forging, honest, key

STAKE = 40_000


def refused(run: Run, who: Any, payload: say.Payload, reason: str, error: str) -> None:  # noqa: ANN401 - a key
    with pytest.raises(TallyError, match=reason) as caught:
        run.world.attempt(who, payload)
    assert type(caught.value).__name__ == error


def locked(run: Run) -> list[int]:
    return [int(run.world.node(seat).locked) for seat in range(3)]


def running(**changes: Any) -> Run:  # noqa: ANN401 - as make_order
    return make_run(**changes).until("running")


def test_a_move_takes_the_stake_along_and_is_remembered() -> None:
    run = running()
    assert locked(run) == [3 * STAKE, 3 * STAKE, 2 * STAKE]
    run.move(0, 2)
    assert locked(run) == [2 * STAKE, 3 * STAKE, 3 * STAKE]
    assert run.world.state[moved_key("job-1", 1, 0)] == Moved(seat=2, moves=1)
    assert holders(Overlay(run.world.state), run.spec, 8) == (2, 1, 2, 0, 1, 2, 0, 1)
    assert run.world.job().phase is JobPhase.RUNNING
    run.move(0, 1)
    assert locked(run) == [2 * STAKE, 4 * STAKE, 2 * STAKE]


@pytest.mark.parametrize(
    ("index", "seat", "reason", "error"),
    [
        (8, 1, "there is no micro job 8 for seat 1", "RuleError"),
        (0, 3, "there is no micro job 0 for seat 3", "RuleError"),
        (0, 0, "already lies with seat 0", "RuleError"),
    ],
)
def test_a_move_names_a_micro_job_and_another_seat_of_the_pool(index: int, seat: int, reason: str, error: str) -> None:
    run = running()
    refused(run, COORDINATOR, run.moved_payload(index, seat), reason, error)


def test_only_the_coordinator_moves() -> None:
    run = running()
    for who in (REQUESTER, ARBITER, STRANGER, key("worker 0"), key("worker 1")):
        refused(run, who, run.moved_payload(0, 1), "must be signed by the coordinator", "AuthorityError")


def test_a_move_comes_while_the_job_runs_and_at_the_commit_deadline_at_the_latest() -> None:
    early = make_run().until("scheduled")
    refused(early, COORDINATOR, early.moved_payload(0, 1), "not allowed in state scheduled", "TransitionError")
    run = running()
    run.world.now = DEADLINES.commit
    run.world.attempt(COORDINATOR, run.moved_payload(0, 1))
    run.world.now += 1
    refused(run, COORDINATOR, run.moved_payload(0, 1), "after its deadline", "DeadlineError")
    closed = make_run().until("closed")
    refused(closed, COORDINATOR, closed.moved_payload(0, 1), "not allowed in state closed", "TransitionError")
    other = say.MicroJobReassigned("job-1", 2, 0, 1, 0)
    refused(run, COORDINATOR, other, "is at attempt 1, not 2", "RuleError")


def test_what_has_a_root_stays_where_it_is() -> None:
    run = running()
    run.post(skip=range(1, 8))
    refused(run, COORDINATOR, run.moved_payload(0, 1), "root of micro job 0 was recorded before", "DuplicateError")
    run.move(1, 2)


def test_the_new_holder_must_have_the_stake_free() -> None:
    world = World()
    world.enlist("abc", bond=3 * STAKE)
    run = make_run(world=world).until("running")
    refused(run, COORDINATOR, run.moved_payload(0, 1), "has 0 wei of bond free, 40000 are at stake", "StakeError")
    run.move(0, 2)  # two micro jobs of its own, so there is room for one
    refused(run, COORDINATOR, run.moved_payload(1, 2), "has 0 wei of bond free", "StakeError")
    run.move(1, 0)  # whose stake the first move freed


def test_a_worker_that_turned_simulated_meanwhile_is_not_given_real_work() -> None:
    run = running()
    for index in (2, 5):
        run.move(index, 0)
    run.world.send((key("worker 2"), run.world.registration(2, "c", simulated=True)))
    refused(run, COORDINATOR, run.moved_payload(1, 2), "is simulated, so the order must say", "RuleError")


def test_nobody_is_handed_work_for_ever() -> None:
    run = running()
    for turn in range(MOVES_MAX):
        run.move(0, (turn + 1) % 3)
    here = run.plan.microjobs[0].seat
    refused(run, COORDINATOR, run.moved_payload(0, (here + 1) % 3), "moved 16 times, which is the most", "RuleError")
    run.move(3, 1)  # another one has its own count
    for step in (run.post, run.close, run.draw, run.settle):
        step()
    assert locked(run) == [0, 0, 0]


def test_only_the_holder_of_the_hour_may_post() -> None:
    run = running()
    late = run.result_payload(0)
    run.move(0, 1)
    refused(run, key("worker 0"), late, "is not held by", "AuthorityError")
    run.world.attempt(key("worker 1"), run.result_payload(0))
    run.move(0, 0)
    refused(run, key("worker 1"), run.result_payload(0), "is not held by", "AuthorityError")
    run.world.send((key("worker 0"), late))
    refused(run, key("worker 0"), late, "recorded before", "DuplicateError")


def test_who_takes_over_is_paid_and_who_lost_it_is_neither_paid_nor_slashed() -> None:
    run = running()
    for index in (1, 4, 7):  # all that seat 1 had
        run.move(index, 0)
    for step in (run.post, run.close, run.draw, run.settle):
        step()
    payload = run.settled_payload()
    gone = payload.lines[1]
    assert (gone.accepted, gone.absent, gone.amount, gone.slashed) == (0, 0, "0", "0")
    assert sum(line.accepted for line in payload.lines) == 30
    assert payload.lines[0].amount == str(sum(len(run.plan.microjobs[i].slots) for i in (0, 1, 3, 4, 6, 7)) * 1200)
    assert run.world.escrow().state is EscrowState.RELEASED
    assert [run.world.node(seat).bond for seat in range(3)] == [str(10**9)] * 3
    assert locked(run) == [0, 0, 0]


def settling(pool: str, *moves: tuple[int, int], **law: Any) -> Run:  # noqa: ANN401 - as make_order
    """A job that only lacks its settlement, all honest, with these moves."""
    run = make_run(pool, **law).until("running")
    for index, seat in moves:
        run.move(index, seat)
    for step in (run.post, run.close, run.draw):
        step()
    return run


def test_copies_that_met_their_originals_are_recomputed_for_the_buyers_money() -> None:
    run = settling("abc", (1, 0), (4, 0), (7, 0), audit=0, labels=("deterrence: none",))
    void, payload = run.evidence().void, run.settled_payload()
    assert len(void) == payload.redone > 0
    assert (payload.referee_fee, payload.refund) == (str(1000 * len(void)), str(6000 - 1000 * len(void)))
    assert {block.block for block in run.judgement().blocks if block.reference} == void
    run.settle()
    assert run.world.escrow().state is EscrowState.RELEASED
    run.world.check_money()


def repaid(run: Run, redone: int) -> say.JobSettled:
    """The settlement of a coordinator that claims so many redone blocks, with the amounts that follow."""
    payload, more = run.settled_payload(), redone - run.settled_payload().redone
    fee, refund = int(payload.referee_fee) + 1000 * more, int(payload.refund) - 1000 * more
    return msgspec.structs.replace(payload, redone=redone, referee_fee=str(fee), refund=str(refund))


@pytest.mark.parametrize(
    ("pool", "moves", "most"),
    [
        ("abc", (), 0),
        ("aaa", ((0, 1), (1, 2)), 0),
        ("abc", ((7, 0),), 2),
        ("abc", ((7, 0), (7, 1), (7, 2)), 2),
        ("abc", ((0, 1),), 4),
        ("abc", ((0, 1), (1, 0), (2, 0)), 6),
    ],
    ids=["no move", "no worker's copy", "two slots", "the same two slots", "four slots", "all copies"],
)
def test_where_nothing_fell_no_more_is_redone_than_moves_can_have_brought_together(
    pool: str, moves: tuple[tuple[int, int], ...], most: int
) -> None:
    run = settling(pool, *moves)
    reason = f"met at most {most} copies" if most else "no checked micro job was moved"
    refused(run, COORDINATOR, repaid(run, most + 1), reason, "RuleError")
    assert run.world.refusal(COORDINATOR, repaid(run, most)) == "accepted"


def test_a_fault_in_moved_work_costs_the_new_holder() -> None:
    run = running(audit=1_000_000, audit_blocks=4)
    run.move(0, 1)
    run.submissions[0] = forging(run.spec, run.plan, 0)
    for step in (run.post, run.close, run.draw, run.settle):
        step()
    assert [10**9 - int(run.world.node(seat).bond) for seat in range(3)] == [0, STAKE, 0]
    assert locked(run) == [0, 0, 0]


def test_a_slash_reaches_as_far_as_the_stakes_that_were_moved() -> None:
    """Seat 0 ends with one micro job of three: its lock, and so what can be taken, is one stake."""
    run = running(audit=1_000_000, audit_blocks=4)
    for index in (3, 6):
        run.move(index, 1)
    run.submissions |= {index: forging(run.spec, run.plan, index) for index in (0, 1, 3, 4, 6, 7)}
    for step in (run.post, run.close, run.draw, run.settle):
        step()
    assert [10**9 - int(run.world.node(seat).bond) for seat in range(3)] == [STAKE, 5 * STAKE, 0]
    assert locked(run) == [0, 0, 0]


def test_who_took_over_and_never_posted_is_absent() -> None:
    run = running()
    run.move(0, 1)
    run.post(skip=[0])
    run.world.now = DEADLINES.commit + 1
    for step in (lambda: run.close([0]), run.draw, run.settle):
        step()
    lines = run.settled_payload().lines
    assert [line.absent for line in lines] == [0, 1, 0]
    assert [line.slashed for line in lines] == ["0", "3000", "0"]
    wrong = run.settled_payload()
    assert wrong.lines[0].unavailable == 0


def test_a_settlement_by_the_plan_before_the_move_is_refused() -> None:
    run = running()
    run.move(0, 1)
    for step in (run.post, run.close, run.draw):
        step()
    payload = run.settled_payload()
    slots, (first, second, third) = len(run.plan.microjobs[0].slots), payload.lines
    replace = msgspec.structs.replace
    lines = (
        replace(first, accepted=first.accepted + slots),
        replace(second, accepted=second.accepted - slots),
        third,
    )
    refused(run, COORDINATOR, replace(payload, lines=lines), "does not account for its", "RuleError")


@pytest.mark.parametrize("way", ["refunded", "released", "resolved", "returned"])
def test_every_exit_frees_what_was_moved(way: str) -> None:
    run = running()
    run.move(0, 1)
    run.move(1, 2)
    run.move(0, 2)
    if way == "refunded":
        run.world.now = DEADLINES.reveal + 1
        run.world.send((STRANGER, say.EscrowRefunded("job-1", 1)))
    else:
        run.post()
        run.close()
    if way == "released":
        run.world.now = DEADLINES.judge + 1
        before = run.world.balance(key("payout 2").address)
        run.world.send((STRANGER, say.EscrowReleased("job-1", 1)))
        slots = sum(len(each.slots) for each in run.plan.microjobs if each.seat == 2)
        assert run.world.balance(key("payout 2").address) - before == slots * 1200
    if way in {"resolved", "returned"}:
        leave = say.Exit.RELEASED if way == "resolved" else say.Exit.REFUNDED
        run.world.send((REQUESTER, say.EscrowDisputed("job-1", 1, 0, "1000")))
        run.world.send((ARBITER, say.EscrowResolved("job-1", 1, leave, upheld=True)))
    assert locked(run) == [0, 0, 0]
    run.world.check_money()


def test_another_attempt_begins_with_the_plan() -> None:
    run = running()
    run.move(0, 1)
    run.world.now = DEADLINES.reveal + 1
    run.world.send((REQUESTER, say.EscrowRefunded("job-1", 1)))
    run.world.send((COORDINATOR, run.failed_payload()))
    later = {name: moment + 100_000 for name, moment in msgspec.structs.asdict(DEADLINES).items()}
    again = make_run(world=run.world, attempt=2, **later).until("running")
    assert holders(Overlay(run.world.state), again.spec, 8) == (0, 1, 2, 0, 1, 2, 0, 1)
    again.world.send((key("worker 0"), again.result_payload(0)))


def test_a_worker_whose_work_is_gone_may_name_another_payee_without_stopping_the_settlement() -> None:
    run = running()
    for index in (1, 4, 7):
        run.move(index, 0)
    elsewhere = key("elsewhere").address
    run.world.send((key("worker 1"), run.world.registration(1, "b", payout=elsewhere)))
    for step in (run.post, run.close, run.draw):
        step()
    payload, replace = run.settled_payload(), msgspec.structs.replace
    own = key("worker 1").address

    def paying(seat: int, payee: str) -> say.JobSettled:
        lines = [replace(line, payee=payee) if at == seat else line for at, line in enumerate(payload.lines)]
        return replace(payload, lines=tuple(lines))

    refused(run, COORDINATOR, payload, f"is {elsewhere}, not", "RuleError")
    refused(run, COORDINATOR, paying(0, key("worker 0").address), "the payee of", "RuleError")
    run.world.attempt(COORDINATOR, paying(1, elsewhere))
    run.world.send((COORDINATOR, paying(1, own)))


def test_a_worker_with_moved_work_may_not_name_another_payee() -> None:
    run = running()
    for index in (1, 4, 7):
        run.move(index, 0)
    run.move(0, 1)
    refused(
        run,
        key("worker 1"),
        run.world.registration(1, "b", payout=key("elsewhere").address),
        "has open jobs",
        "AuthorityError",
    )


def test_the_honest_submission_of_a_moved_micro_job_is_its_new_holders() -> None:
    run = running()
    run.move(0, 2)
    assert honest(run.spec, run.plan, 0).worker == key("worker 2").public
