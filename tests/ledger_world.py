"""A ledger in memory, with blocks, and a whole job driven by hand through it.

Knows: how a block is made (an overlay over the state, a header, its Sealed record) and the steps of one job. Refuses to
know: storage, time and randomness: keys, secrets and moments follow from names. It shares no code with the node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tallystick import commitment
from tallystick.errors import TallyError
from tallystick.job import JobSpec, spec_digest
from tallystick.ledger import payloads as say
from tallystick.ledger.accounts import operator_digest
from tallystick.ledger.block import Tip, check_header, header_payload, next_tip
from tallystick.ledger.context import Context
from tallystick.ledger.genesis import Allocation, Genesis, chain_id, genesis_digest
from tallystick.ledger.machine import apply, check
from tallystick.ledger.records import (
    Account,
    Changes,
    Closing,
    Escrow,
    Job,
    Node,
    Overlay,
    Record,
    Sealed,
    account_key,
    closing_key,
    escrow_key,
    header_key,
    job_key,
    node_key,
    supply,
)
from tallystick.ledger.settled import results_root, settled_results
from tallystick.ledger.settlement import Counted, quote, settle, stakes
from tallystick.ledger.transactions import Draft, Transaction, decode, sign
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.merkle import CompactRange, leaf_hash
from tallystick.slicing import Move, Plan, layout, plan, reassign
from tallystick.verification.challenge import challenge, challenged, plan_seed
from tallystick.verification.judge import judge, wanted
from tallystick.verification.separation import void_pairs
from tallystick.verification.verdict import Evidence, Judgement, Submission, WorkerCount
from tests.orders import START, honest, key, make_order, references

COORDINATOR: Final = key("coordinator")
ARBITER: Final = key("arbiter")
REQUESTER: Final = key("requester")
STRANGER: Final = key("stranger")
ASSIGN_SECRET: Final = sha256(b"assign secret")
BUYER_SECRET: Final = sha256(b"buyer secret")
RICH: Final = 10**12


def make_genesis(gas_price_min: int = 0, **changes: Any) -> Genesis:  # noqa: ANN401 - any field
    """A first page on which everybody of these tests is rich."""
    names = ["coordinator", "arbiter", "requester", "stranger", *(f"worker {seat}" for seat in range(4))]
    genesis = Genesis(
        version=1,
        network="tally-test",
        time=START,
        log_origin="tally.test/log",
        log_vkey="tally.test/log+00000000+AAAA",
        coordinator=COORDINATOR.public.hex(),
        arbiter=ARBITER.public.hex(),
        allocations=tuple(Allocation(key(name).address, str(RICH)) for name in names),
        gas_price_min=gas_price_min,
        gas_limit=10_000_000,
    )
    return msgspec.structs.replace(genesis, **changes)


def payout(seat: int) -> str:
    """Where a worker's pay goes."""
    return key(f"payout {seat}").address


@dataclass
class World:
    """The state, the chain so far and the clock."""

    genesis: Genesis = field(default_factory=make_genesis)
    state: dict[str, Record] = field(default_factory=dict)
    entries: list[bytes] = field(default_factory=list)
    now: int = START
    tree: CompactRange = field(default_factory=CompactRange)
    tip: Tip = field(init=False)

    def __post_init__(self) -> None:
        self.state = {account_key(each.address): Account(each.amount) for each in self.genesis.allocations}
        self.tip = Tip(0, genesis_digest(self.genesis), bytes(32), self.genesis.time)
        self.born = supply(self.state)

    @property
    def chain(self) -> str:
        return chain_id(self.genesis)

    @property
    def context(self) -> Context:
        """The context of the next block."""
        return Context(
            chain_id=self.chain,
            coordinator=COORDINATOR.public,
            arbiter=ARBITER.public,
            gas_price_min=self.genesis.gas_price_min,
            gas_limit=self.genesis.gas_limit,
            height=self.tip.height + 1,
            time=self.now,
        )

    def nonce(self, address: str, view: Mapping[str, Record] | Overlay | None = None) -> int:
        account = (self.state if view is None else view).get(account_key(address))
        return account.nonce if isinstance(account, Account) else 0

    def sign(self, who: SigningKey, payload: say.Payload, gas_price: int = 0) -> Transaction:
        """Number and sign a payload as its sender's next entry."""
        return sign(Draft(who, payload, gas_price), self.chain, self.nonce(who.address))

    def attempt(self, who: SigningKey, payload: say.Payload) -> Changes:
        """What a payload would do now; nothing is kept, and nothing may change."""
        before = dict(self.state)
        try:
            return apply(self.state, self.sign(who, payload), self.context)
        finally:
            assert self.state == before

    def refusal(self, who: SigningKey, payload: say.Payload) -> str:
        """Name of the error that refuses a payload, or ``accepted``."""
        try:
            self.attempt(who, payload)
        except TallyError as error:
            return type(error).__name__
        return "accepted"

    def send(self, *drafts: tuple[SigningKey, say.Payload]) -> Transaction:
        """Make one block of these drafts, check the header like a stranger, and return the last transaction."""
        overlay, gas, root, sent = Overlay(self.state), 0, None, []
        for who, payload in drafts:
            transaction = sign(Draft(who, payload), self.chain, self.nonce(who.address, overlay))
            check(decode(transaction.entry), self.chain)
            changes = apply(overlay, decode(transaction.entry), self.context)
            overlay.writes.update(changes.writes)
            gas, root = gas + changes.gas, changes.results_root or root
            sent.append(transaction)
        self.seal(overlay, sent, gas, root)
        return sent[-1]

    def seal(self, overlay: Overlay, sent: list[Transaction], gas: int, root: bytes | None) -> None:
        """Close a block: the coordinator's nonce counts the header, Sealed stands outside the state root."""
        context = self.context
        self.tree = self.tree.extend(leaf_hash(each.entry) for each in sent)
        nonce = self.nonce(COORDINATOR.address, overlay)
        account = overlay.find(Account, account_key(COORDINATOR.address)) or Account()
        overlay.put(account_key(COORDINATOR.address), Account(account.balance, nonce + 1))
        expected = header_payload(
            self.tip, context, tx_root=self.tree.root(), writes=overlay.writes, gas_used=gas, results_root=root
        )
        header = sign(Draft(COORDINATOR, expected), self.chain, nonce)
        check_header(decode(header.entry), expected, context)
        self.tree = self.tree.append(leaf_hash(header.entry))
        self.entries += [*(each.entry for each in sent), header.entry]
        self.state |= overlay.writes
        self.state[header_key(context.height)] = Sealed(header.digest.hex(), context.time)
        self.tip = next_tip(self.tip, header)
        self.check_money()

    def check_money(self) -> None:
        """The supply is what it was, and nobody holds less than nothing."""
        assert supply(self.state) == self.born
        for record in self.state.values():
            if isinstance(record, Account):
                assert int(record.balance) >= 0
            if isinstance(record, Node):
                assert 0 <= int(record.locked) <= int(record.bond)
            if isinstance(record, Escrow):
                assert int(record.balance) >= 0 <= int(record.dispute_bond)

    def balance(self, address: str) -> int:
        account = self.state.get(account_key(address))
        return int(account.balance) if isinstance(account, Account) else 0

    def node(self, seat: int) -> Node:
        found = self.state[node_key(key(f"worker {seat}").public.hex())]
        assert isinstance(found, Node)
        return found

    def job(self, job_id: str = "job-1") -> Job:
        found = self.state[job_key(job_id)]
        assert isinstance(found, Job)
        return found

    def escrow(self, job_id: str = "job-1", attempt: int = 1) -> Escrow:
        found = self.state[escrow_key(job_id, attempt)]
        assert isinstance(found, Escrow)
        return found

    def closing(self, job_id: str = "job-1", attempt: int = 1) -> Closing:
        found = self.state[closing_key(job_id, attempt)]
        assert isinstance(found, Closing)
        return found

    def registration(self, seat: int, operator: str, **changes: Any) -> say.NodeRegistered:  # noqa: ANN401 - any field
        """A worker's registration with its operator's consent."""
        where = changes.pop("payout", payout(seat))
        digest = operator_digest(self.chain, key(f"worker {seat}").public, where)
        registered = say.NodeRegistered(
            operator=key(f"operator {operator}").public.hex(),
            operator_signature=key(f"operator {operator}").sign(digest).hex(),
            payout=where,
            tier=say.Tier.DECLARED,
            backend="numpy",
            simulated=False,
        )
        return msgspec.structs.replace(registered, **changes)

    def enlist(self, operators: str = "abc", bond: int = 10**9) -> None:
        """Register and bond one worker per letter."""
        for seat, operator in enumerate(operators):
            who = key(f"worker {seat}")
            self.send((who, self.registration(seat, operator)), (who, say.StakeDeposited(str(bond))))


@dataclass
class Run:
    """One attempt of one job, step by step; every step is one block."""

    world: World
    spec: JobSpec
    plan: Plan = field(init=False)
    drawn: Plan = field(init=False)
    moves: list[Move] = field(default_factory=list)
    submissions: dict[int, Submission] = field(default_factory=dict)

    @property
    def job(self) -> bytes:
        return spec_digest(self.spec)

    def named(self) -> dict[str, Any]:
        return {"job_id": self.spec.job_id, "attempt": self.spec.attempt}

    def lock_payload(self) -> say.EscrowLocked:
        price = quote(self.spec)
        parts = (str(part) for part in (price.work, price.duplicates, price.audits, price.reserve))
        return say.EscrowLocked(self.spec.job_id, self.spec.attempt, *parts)

    def order_payload(self) -> say.JobSubmitted:
        return say.JobSubmitted(
            spec=self.spec,
            assign_commitment=commitment.assign_commitment(self.job, ASSIGN_SECRET).hex(),
            buyer_commitment=commitment.buyer_commitment(self.job, BUYER_SECRET).hex(),
            occurred_at=self.world.now,
        )

    def submit(self) -> None:
        self.world.send((REQUESTER, self.lock_payload()))
        self.world.send((REQUESTER, self.order_payload()))
        self.plan = self.drawn = plan(self.spec, plan_seed(self.job, ASSIGN_SECRET, self.world.tip.header))

    def scheduled_payload(self) -> say.JobScheduled:
        holders = [bytes.fromhex(self.spec.pool[each.seat].worker) for each in self.plan.microjobs]
        root = commitment.assignments_root(self.job, ASSIGN_SECRET, holders).hex()
        return say.JobScheduled(
            microjobs=len(holders), assignments_root=root, occurred_at=self.world.now, **self.named()
        )

    def schedule(self) -> None:
        self.world.send((COORDINATOR, self.scheduled_payload()))

    def start(self) -> None:
        self.world.send((COORDINATOR, say.JobStarted(occurred_at=self.world.now, **self.named())))

    def progress_payload(self, sequence: int, **changes: Any) -> say.JobProgressUpdate:  # noqa: ANN401 - any field
        update = say.JobProgressUpdate(
            sequence=sequence,
            done=sequence,
            total=self.plan.layout.microjobs,
            occurred_at=self.world.now,
            **self.named(),
        )
        return msgspec.structs.replace(update, **changes)

    def result_payload(self, index: int) -> say.SubmitResult:
        posted = self.submissions.get(index, honest(self.spec, self.plan, index)).commitment
        assert posted is not None
        return say.SubmitResult(
            task_id=self.spec.job_id,
            attempt=self.spec.attempt,
            microjob=index,
            tree_size=posted.tree_size,
            class_id=posted.class_id.hex(),
            worker_address=key(f"worker {self.plan.microjobs[index].seat}").address,
            result_hash=posted.root.hex(),
            signature=posted.signature.hex(),
        )

    def post(self, skip: Iterable[int] = ()) -> None:
        """Every worker posts its roots, but for these micro jobs."""
        for index in sorted(set(range(self.plan.layout.microjobs)) - set(skip)):
            self.submissions.setdefault(index, honest(self.spec, self.plan, index))
            self.world.send((key(f"worker {self.plan.microjobs[index].seat}"), self.result_payload(index)))

    def moved_payload(self, index: int, seat: int) -> say.MicroJobReassigned:
        return say.MicroJobReassigned(microjob=index, seat=seat, occurred_at=self.world.now, **self.named())

    def move(self, index: int, seat: int) -> None:
        """Give a micro job to another seat."""
        self.world.send((COORDINATOR, self.moved_payload(index, seat)))
        self.note_move(index, seat)

    def note_move(self, index: int, seat: int) -> None:
        """Remember a move that stands."""
        self.moves.append(Move(index, seat))
        self.plan = reassign(self.drawn, self.moves)

    def closed_payload(self, missing: Iterable[int] = ()) -> say.UploadsClosed:
        roots = [self._posted_root(index) for index in range(self.plan.layout.microjobs)]
        return say.UploadsClosed(
            roots_root=commitment.roots_root(roots).hex(),
            missing=tuple(missing),
            occurred_at=self.world.now,
            **self.named(),
        )

    def _posted_root(self, index: int) -> bytes | None:
        posted = self.submissions.get(index)
        return None if posted is None or posted.commitment is None else posted.commitment.root

    def close(self, missing: Iterable[int] = ()) -> None:
        for index in missing:
            if index in self.submissions:
                self.submissions[index] = _undelivered(self.submissions[index])
        self.world.send((COORDINATOR, self.closed_payload(missing)))

    def drawn_payload(self, drawer: say.Drawer = say.Drawer.BUYER) -> say.ChallengeDrawn:
        closing = self.world.closing(self.spec.job_id, self.spec.attempt)
        sealed = self.world.state[header_key(closing.height)]
        assert isinstance(sealed, Sealed)
        secret = BUYER_SECRET if drawer is say.Drawer.BUYER else ASSIGN_SECRET
        chal = challenge(self.job, bytes.fromhex(closing.roots_root), bytes.fromhex(sealed.header), secret)
        return say.ChallengeDrawn(
            header=sealed.header,
            roots_root=closing.roots_root,
            challenge=chal.hex(),
            secret=secret.hex(),
            drawn_by=drawer,
            occurred_at=self.world.now,
            **self.named(),
        )

    def draw(self, drawer: say.Drawer = say.Drawer.BUYER) -> None:
        self.world.send((COORDINATOR, self.drawn_payload(drawer)))

    def evidence(self) -> Evidence:
        closing = self.world.closing(self.spec.job_id, self.spec.attempt)
        return Evidence(
            spec=self.spec,
            job=self.job,
            plan=self.plan,
            challenged=challenged(self.spec, self.plan, bytes.fromhex(closing.challenge)),
            submissions=tuple(
                self.submissions.get(each.index) or _absent(bytes.fromhex(self.spec.pool[each.seat].worker))
                for each in self.plan.microjobs
            ),
            void=void_pairs(self.spec.pool, self.drawn, self.moves),
        )

    def judgement(self) -> Judgement:
        evidence = self.evidence()
        return judge(evidence, references(evidence, wanted))

    def settled_payload(self) -> say.JobSettled:
        """The settlement that follows from the evidence."""
        judgement, counts = self.judgement(), layout(self.spec)
        known = {each.worker.hex(): each for each in judgement.workers}
        tallies = [known.get(place.worker, WorkerCount(b"", 0, 0, 0, 0, 0)) for place in self.spec.pool]
        lines = [
            Counted(place.worker, each.accepted, each.refuted, each.unavailable, each.faulted, each.absent)
            for place, each in zip(self.spec.pool, tallies, strict=True)
        ]
        referee = judgement.referee
        division = settle(
            self.spec,
            quote(self.spec).total,
            lines,
            checked=referee.copies + referee.audited,
            redone=referee.redone,
            bonds=stakes(self.spec, [each.seat for each in self.plan.microjobs]),
        )
        results = settled_results(self.evidence(), judgement, [None] * counts.microjobs)
        return say.JobSettled(
            assign_secret=ASSIGN_SECRET.hex(),
            lines=tuple(
                say.SettlementLine(
                    payee=payout(seat),
                    amount=str(division.amounts[seat]),
                    slashed=str(division.slashes[seat]),
                    **{name: getattr(line, name) for name in line.__slots__},
                )
                for seat, line in enumerate(lines)
            ),
            copies=referee.copies,
            audited=referee.audited,
            redone=referee.redone,
            referee_fee=str(division.referee_fee),
            burned=str(division.burned),
            refund=str(division.refund),
            verdicts=len(judgement.blocks),
            verdicts_root=judgement.root().hex(),
            results=len(results),
            results_root=results_root(results).hex(),
            occurred_at=self.world.now,
            **self.named(),
        )

    def settle(self) -> None:
        self.world.send((COORDINATOR, self.settled_payload()))

    def completed_payload(self) -> say.JobCompleted:
        task = self.spec.task
        size = {"width": task.target_width, "height": task.target_height}
        return say.JobCompleted(output="cd" * 32, occurred_at=self.world.now, **size, **self.named())

    def complete(self) -> None:
        self.world.send((COORDINATOR, self.completed_payload()))

    def published_payload(self) -> say.ArtifactPublished:
        return say.ArtifactPublished(artifact="ef" * 32, sidecar="01" * 32, occurred_at=self.world.now, **self.named())

    def publish(self) -> None:
        self.world.send((COORDINATOR, self.published_payload()))

    def failed_payload(self) -> say.JobFailed:
        code = say.FailureCode.DEADLINE_PASSED
        return say.JobFailed(error_code=code, occurred_at=self.world.now, **self.named())

    def until(self, phase: str) -> Run:
        """Go on, with honest workers, until the job is in this phase."""
        steps = {
            "submitted": self.submit,
            "scheduled": self.schedule,
            "running": self.start,
            "posted": self.post,
            "closed": self.close,
            "challenged": self.draw,
            "settled": self.settle,
            "completed": self.complete,
            "published": self.publish,
        }
        names = list(steps)
        for name in names[: names.index(phase) + 1]:
            steps[name]()
        return self


def _undelivered(submission: Submission) -> Submission:
    return Submission(submission.worker, submission.commitment, None, None)


def _absent(worker: bytes) -> Submission:
    return Submission(worker, None, None, None)


def make_run(operators: str = "abc", world: World | None = None, **changes: Any) -> Run:  # noqa: ANN401 - as make_order
    """A world with a bonded pool, and an order for it."""
    chosen = World() if world is None else world
    if world is None:
        chosen.enlist(operators)
    return Run(chosen, make_order(operators, **{"chain_id": chosen.chain, **changes}))
