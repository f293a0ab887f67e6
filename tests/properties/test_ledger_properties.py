"""Random lives of a ledger: whatever is said by whomever, the supply is constant and every escrow can be left."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import RuleError, VerificationError
from tallystick.job import JobSpec
from tallystick.ledger import payloads as say
from tallystick.ledger.holding import MOVES_MAX
from tallystick.ledger.records import Escrow
from tallystick.ledger.settlement import Counted, audited_blocks_max, exposure, quote, settle
from tallystick.ledger.states import UPLOADED_PHASES, EscrowState, JobPhase
from tallystick.primitives.keys import SigningKey
from tallystick.slicing import layout
from tests.ledger_world import ARBITER, COORDINATOR, REQUESTER, STRANGER, Run, World, make_run
from tests.orders import DEADLINES, forging, honest, key, make_order

OPEN = {EscrowState.LOCKED, EscrowState.DISPUTED}
PEOPLE = (COORDINATOR, ARBITER, REQUESTER, STRANGER, key("worker 0"), key("worker 1"))
DEADLINE_MOMENTS = msgspec.structs.astuple(DEADLINES)


class Life:
    """Two jobs on one pool, and people who try things, right or wrong, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)
        pool = self.source.choice(["abc", "aaa", "aab"])
        law = {"audit": 1_000_000, "audit_blocks": 4} if self.source.random() < 0.5 else {}
        self.world = World()
        self.world.enlist(pool, bond=400_000)
        self.runs = [make_run(pool, world=self.world, job_id=name, **law) for name in ("job-1", "job-2")]
        self.silent = self.source.random() < 0.3
        """Whether the coordinator falls silent once the uploads are closed."""
        self.accepted: Counter[str] = Counter()

    def live(self, steps: int = 80) -> Life:
        """Do this many things and check the money after each."""
        deeds = (self.advance, self.advance, self.post, self.close_late, self.wait, self.leave, self.dispute)
        deeds += (self.resolve, self.transfer, self.bond, self.settle_falsely, self.fail, self.move, self.move)
        for _ in range(steps):
            self.source.choice(deeds)(self.source.choice(self.runs))
            self.world.check_money()
            self.check_locks()
        return self

    def check_locks(self) -> None:
        """Of every bond exactly the stakes are locked of the micro jobs that lie with it in open jobs."""
        due: Counter[int] = Counter()
        for run in self.runs:
            escrow = self.world.state.get(f"escrow/{run.spec.job_id}/1")
            if hasattr(run, "plan") and isinstance(escrow, Escrow) and escrow.state in OPEN:
                due.update(dict.fromkeys(range(3), 0))
                for microjob in run.plan.microjobs:
                    due[microjob.seat] += int(run.spec.policy.stake)
        assert [self.world.node(seat).locked for seat in range(3)] == [str(due[seat]) for seat in range(3)]

    def move(self, run: Run) -> None:
        """Give a micro job away, or try to."""
        if not hasattr(run, "plan"):
            return
        who = COORDINATOR if self.source.random() < 0.9 else self.source.choice(PEOPLE)
        index, seat = self.source.randrange(run.plan.layout.microjobs + 1), self.source.randrange(4)
        if self.attempt(who, run.moved_payload(index, seat)):
            run.note_move(index, seat)

    def attempt(self, who: SigningKey, payload: say.Payload) -> bool:
        """Say something; a refusal must be of the two documented kinds and change nothing."""
        before = dict(self.world.state)
        try:
            self.world.send((who, payload))
        except (RuleError, VerificationError):
            assert self.world.state == before
            return False
        self.accepted[type(payload).__name__] += 1
        return True

    def advance(self, run: Run) -> None:
        """Take the next step of a job as its coordinator and its buyer would."""
        if not hasattr(run, "plan"):
            with contextlib.suppress(RuleError):
                run.submit()
            return
        steps: dict[JobPhase, Callable[[], object]] = {
            JobPhase.SUBMITTED: run.schedule,
            JobPhase.SCHEDULED: run.start,
            JobPhase.RUNNING: run.close,
            JobPhase.CLOSED: run.draw,
            JobPhase.CHALLENGED: run.settle,
            JobPhase.SETTLED: run.complete,
            JobPhase.COMPLETED: run.publish,
        }
        phase = self.world.job(run.spec.job_id).phase
        if self.silent and phase in UPLOADED_PHASES:
            return
        with contextlib.suppress(RuleError, VerificationError):
            steps.get(phase, run.named)()

    def post(self, run: Run) -> None:
        """Post some of the roots that are still missing, one of them over forged blocks."""
        if not hasattr(run, "plan"):
            return
        everyone = range(run.plan.layout.microjobs)
        wanting = [index for index in everyone if index not in run.submissions]
        for index in wanting[: self.source.choice([1, 4, 9])]:
            made = forging if self.source.random() < 0.15 else honest
            run.submissions[index] = made(run.spec, run.plan, index)
            holder = key(f"worker {run.plan.microjobs[index].seat}")
            if not self.attempt(holder, run.result_payload(index)):
                del run.submissions[index]

    def close_late(self, run: Run) -> None:
        if not hasattr(run, "plan") or self.world.job(run.spec.job_id).phase is not JobPhase.RUNNING:
            return
        withheld = set(self.source.sample(range(run.plan.layout.microjobs), self.source.choice([0, 0, 2])))
        missing = sorted(withheld | (set(range(run.plan.layout.microjobs)) - run.submissions.keys()))
        if self.world.refusal(COORDINATOR, run.closed_payload(missing)) == "accepted":
            run.close(missing)

    def wait(self, _run: Run) -> None:
        later = [moment + 1 for moment in DEADLINE_MOMENTS if moment >= self.world.now]
        if later and self.source.random() < 0.2:
            self.world.now = later[0]

    def leave(self, run: Run) -> None:
        kind = self.source.choice([say.EscrowReleased, say.EscrowRefunded])
        if self.silent and hasattr(run, "plan") and self.world.job(run.spec.job_id).phase in UPLOADED_PHASES:
            self.world.now = max(self.world.now, DEADLINES.judge + 1)  # nobody judges, so patience is all that is left
        self.attempt(self.source.choice(PEOPLE), kind(run.spec.job_id, 1))

    def dispute(self, run: Run) -> None:
        bond = self.source.choice(["0", "1000", "5000"])
        self.attempt(self.source.choice(PEOPLE), say.EscrowDisputed(run.spec.job_id, 1, 2, bond))

    def resolve(self, run: Run) -> None:
        upheld = self.source.random() < 0.5
        self.attempt(ARBITER, say.EscrowResolved(run.spec.job_id, 1, self.source.choice(list(say.Exit)), upheld))

    def transfer(self, _run: Run) -> None:
        amount = self.source.choice(["0", "1", "999999999999", "9" * 30])
        self.attempt(self.source.choice(PEOPLE), say.Transfer(self.source.choice(PEOPLE).address, amount))

    def bond(self, _run: Run) -> None:
        kind = self.source.choice([say.StakeDeposited, say.StakeWithdrawn])
        amount = self.source.choice(["1", "280000", "400000", "500000"])
        self.attempt(key(f"worker {self.source.randrange(4)}"), kind(amount))

    def fail(self, run: Run) -> None:
        if self.source.random() < 0.2:
            self.attempt(COORDINATOR, run.failed_payload())

    def settle_falsely(self, run: Run) -> None:
        if not hasattr(run, "plan") or self.world.job(run.spec.job_id).phase is not JobPhase.CHALLENGED:
            return
        payload, seat = run.settled_payload(), self.source.randrange(3)
        lines = list(payload.lines)
        wrong = {"accepted": lines[seat].accepted + 1, "amount": "7", "slashed": "7", "payee": STRANGER.address}
        field = self.source.choice(list(wrong))
        lines[seat] = msgspec.structs.replace(lines[seat], **{field: wrong[field]})
        assert not self.attempt(COORDINATOR, msgspec.structs.replace(payload, lines=tuple(lines)))

    def end(self) -> set[tuple[EscrowState, EscrowState]]:
        """From wherever the jobs are, empty both escrows as a stranger, and say which ways were gone."""
        self.world.now = max(self.world.now, DEADLINES.refund + 1)
        ways = set()
        for run in self.runs:
            found = self.world.state.get(f"escrow/{run.spec.job_id}/1")
            if not isinstance(found, Escrow):
                continue
            if found.state in OPEN:
                ordered = f"order/{run.spec.job_id}/1" in self.world.state
                uploaded = ordered and self.world.job(run.spec.job_id).phase in UPLOADED_PHASES
                kind = say.EscrowReleased if uploaded else say.EscrowRefunded
                self.world.send((STRANGER if ordered else REQUESTER, kind(run.spec.job_id, 1)))
            left = self.world.escrow(run.spec.job_id)
            assert left.state not in OPEN
            assert (left.balance, left.dispute_bond) == ("0", "0")
            ways.add((found.state, left.state))
        assert all(self.world.node(seat).locked == "0" for seat in range(3))
        self.world.check_money()
        return ways


@pytest.mark.parametrize("decade", range(12))
def test_whatever_happens_money_is_conserved_and_every_escrow_can_be_left(decade: int) -> None:
    """Ten lives each; the seed of a failing one is `seed` in the traceback."""
    for seed in range(10 * decade, 10 * decade + 10):
        Life(seed).live().end()


def test_these_lives_go_every_way_there_is() -> None:
    lives = [Life(seed).live() for seed in range(120)]
    ways = set().union(*(life.end() for life in lives))
    final = {EscrowState.RELEASED, EscrowState.SPLIT, EscrowState.REFUNDED}
    assert {before for before, _ in ways} == final | OPEN
    assert {after for _, after in ways} == final
    said = sum((life.accepted for life in lives), Counter[str]())
    assert {
        "SubmitResult",
        "EscrowReleased",
        "EscrowRefunded",
        "EscrowDisputed",
        "EscrowResolved",
        "JobFailed",
        "MicroJobReassigned",
    } <= set(said)


@st.composite
def counted(draw: st.DrawFn, spec: JobSpec) -> list[Counted]:
    """Counts that a judge could have reached for a pool of three."""
    counts, lines = layout(spec), []
    for seat in range(3):
        held = range(seat, counts.microjobs, 3)
        slots = sum(counts.slots_of(index) for index in held)
        absent = draw(st.integers(0, len(held)))
        faulted = draw(st.integers(0, len(held) - absent))
        lost = draw(st.integers(min(slots, absent + faulted), slots))
        refuted = draw(st.integers(0, lost)) if faulted else 0
        lines.append(Counted(f"w{seat}", slots - lost, refuted, lost - refuted, faulted, absent))
    return lines


@given(st.data())
def test_every_division_is_exact_and_nobody_owes_anything(data: st.DataObject) -> None:
    price = st.sampled_from(["0", "1", "7", "1000", "123456789012345678901"])
    pool = data.draw(st.sampled_from(["abc", "aaa"]))
    spec = make_order(pool, referee_block=data.draw(price), stake=data.draw(price), absence=data.draw(price))
    spec = msgspec.structs.replace(spec, price=msgspec.structs.replace(spec.price, block=data.draw(price)))
    counts, lines = layout(spec), data.draw(counted(spec))
    checked = data.draw(st.integers(0, min(counts.blocks, counts.copies + audited_blocks_max(spec, counts))))
    redone = data.draw(st.integers(0, counts.blocks - checked))
    bonds = [exposure(spec, counts, seat) for seat in range(3)]
    held = quote(spec).total
    division = settle(spec, held, lines, checked=checked, redone=redone, bonds=bonds)
    assert division.paid + division.referee_fee + division.burned + division.refund == held + sum(division.slashes)
    assert min(*division.amounts, *division.slashes, division.referee_fee, division.burned, division.refund) >= 0
    assert all(slash <= bond for slash, bond in zip(division.slashes, bonds, strict=True))
    assert division.referee_fee <= (checked + redone) * spec.price.referee_wei
    assert division.burned <= sum(division.slashes)


@given(st.sampled_from(["abc", "aab", "aaa"]), st.data())
def test_a_job_whose_work_was_moved_anywhere_ends_with_its_reserve_and_never_more(
    pool: str, data: st.DataObject
) -> None:
    """Nobody is at fault: the referee is paid for what moves made worthless, at most for every copy, by the buyer."""
    run: Run = make_run(pool).until("running")
    counts, price = run.plan.layout, quote(run.spec)
    for index, seat in data.draw(st.lists(st.tuples(st.integers(0, counts.microjobs - 1), st.integers(0, 2)))):
        if run.plan.microjobs[index].seat != seat and [move.microjob for move in run.moves].count(index) < MOVES_MAX:
            run.move(index, seat)
    for step in (run.post, run.close, run.draw):
        step()
    payload = run.settled_payload()
    run.settle()
    run.world.check_money()
    void = run.evidence().void
    assert void <= run.drawn.duplicated()
    moved = sum(counts.slots_of(index) for index in {move.microjob for move in run.moves})
    assert payload.redone <= len(void) <= min(moved, 0 if pool == "aaa" else counts.copies)
    assert [line.slashed for line in payload.lines] == ["0"] * 3
    assert int(payload.refund) == price.audits + price.reserve - (payload.audited + payload.redone) * 1000
    assert int(payload.refund) >= 0
    assert run.world.escrow().balance == "0"


@given(st.lists(st.sampled_from(["abc", "aaa"]), min_size=1, max_size=1), st.integers(0, 7), st.booleans())
def test_a_job_that_runs_to_its_end_pays_exactly_its_price(pools: list[str], liar: int, full: bool) -> None:  # noqa: FBT001
    law = {"audit": 1_000_000, "audit_blocks": 4} if full else {}
    run: Run = make_run(pools[0], **law).until("running")
    if liar < run.plan.layout.microjobs:
        run.submissions[liar] = forging(run.spec, run.plan, liar)
    run.post()
    for step in (run.close, run.draw, run.settle, run.complete, run.publish):
        step()
    assert run.world.escrow().balance == "0"
    slashed = run.world.node(liar % 3).bond != str(10**9)
    assert slashed or not full or liar >= run.plan.layout.microjobs
