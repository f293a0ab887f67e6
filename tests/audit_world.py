"""A whole small job in memory, from genesis to bundle, with real kernel blocks: what the audit's tests look at.

Every payload passes through `twist` before it is signed, so that a test can let the true coordinator lie; then the
rule book is not asked (`lawful=False`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from tallystick import commitment
from tallystick.audit.bundle import (
    Bundle,
    BundledSubmission,
    DeliveredBlock,
    Disclosure,
    Disclosures,
    LoggedEntry,
    OpenedLeaf,
)
from tallystick.audit.entries import job_of
from tallystick.audit.trust import CoordinatorPin, LogPin, Trust
from tallystick.commitment import Commitment, Opening, Output, Place
from tallystick.errors import ImageError
from tallystick.job import (
    ZERO_CLASS_ID,
    Deadlines,
    Grid,
    JobSpec,
    Placement,
    Price,
    Seat,
    TaskType,
    Upscale,
    VerificationClass,
    VerificationPolicy,
    spec_digest,
)
from tallystick.kernels.lanczos import KERNEL_NAME, resample, resample_region
from tallystick.kernels.raster import Raster, block_bytes, raster_digest, samples_from_bytes
from tallystick.ledger import machine
from tallystick.ledger import payloads as say
from tallystick.ledger.accounts import operator_digest
from tallystick.ledger.block import Tip, header_payload, next_tip
from tallystick.ledger.context import Context, gas_of
from tallystick.ledger.genesis import Allocation, Genesis, chain_id, genesis_digest
from tallystick.ledger.records import Account, Overlay, Record, Sealed, account_key, header_key
from tallystick.ledger.settled import results_root, settled_results
from tallystick.ledger.settlement import Counted, quote, settle, stakes
from tallystick.ledger.transactions import Draft, Transaction, sign
from tallystick.primitives import merkle
from tallystick.primitives.digests import field_commitment, sha256
from tallystick.primitives.keys import SigningKey, address_of
from tallystick.primitives.notes import Checkpoint, NoteSigner
from tallystick.slicing import Move, Plan, block_region, plan, reassign
from tallystick.verification.challenge import challenge, challenged, missing_from, plan_seed
from tallystick.verification.judge import judge, wanted
from tallystick.verification.separation import void_pairs
from tallystick.verification.verdict import Evidence, Submission, WorkerCount

Payload = say.Payload
Twist = Callable[[Payload], Payload]

START = 1_800_000_000_000
MAGIC = b"RASTER"


def secret(*parts: str) -> bytes:
    return hashlib.sha256("/".join(parts).encode()).digest()


def encode_picture(raster: Raster) -> bytes:
    shape = (raster.width, raster.height, raster.channels, raster.depth)
    return MAGIC + b"".join(each.to_bytes(4, "big") for each in shape) + block_bytes(raster.samples)


def decode_picture(data: bytes) -> Raster:
    if not data.startswith(MAGIC) or len(data) < 22:
        raise ImageError("the picture", "it is none")
    width, height, channels, depth = (int.from_bytes(data[at : at + 4], "big") for at in range(6, 22, 4))
    return Raster(samples_from_bytes(data[22:], height, width, channels, depth))


class Ledger:
    """A log, its state and its keys."""

    def __init__(self, name: str = "home", network: str = "tally") -> None:
        self.name = name
        self.coordinator = SigningKey(secret(name, "coordinator"))
        self.requester = SigningKey(secret(name, "requester"))
        self.stranger = SigningKey(secret(name, "stranger"))
        self.workers = [SigningKey(secret(name, "worker", str(index))) for index in range(4)]
        self.operators = [SigningKey(secret(name, "operator", str(index))) for index in range(4)]
        self.log = NoteSigner(f"log.example/{name}", secret(name, "log"))
        self.genesis = Genesis(
            version=1,
            network=network,
            time=START,
            log_origin=f"log.example/{name}",
            log_vkey=self.log.vkey,
            coordinator=self.coordinator.public.hex(),
            arbiter=self.coordinator.public.hex(),
            allocations=tuple(
                Allocation(key.address, str(10**18)) for key in (self.requester, self.stranger, *self.workers)
            ),
            gas_price_min=0,
            gas_limit=30_000_000,
        )
        self.chain = chain_id(self.genesis)
        self.records: dict[str, Record] = {
            account_key(each.address): Account(balance=each.amount) for each in self.genesis.allocations
        }
        self.tip = Tip(0, genesis_digest(self.genesis), bytes(32), START)
        self.log_entries: list[Transaction] = []
        self.nonces: dict[bytes, int] = {}
        self.time = START
        self.sealer = self.coordinator
        self.twist_header: Callable[[say.BlockHeader], say.BlockHeader] = lambda header: header

    def get(self, key: str) -> Record | None:
        return self.records.get(key)

    def context(self) -> Context:
        key = self.coordinator.public
        return Context(self.chain, key, key, 0, self.genesis.gas_limit, self.tip.height + 1, self.time)

    def sign(self, key: SigningKey, payload: Payload) -> Transaction:
        nonce = self.nonces.get(key.public, 0)
        self.nonces[key.public] = nonce + 1
        return sign(Draft(key, payload), self.chain, nonce)

    def block(self, *said: tuple[SigningKey, Payload], lawful: bool = True) -> int:
        """Log these and a header over them; return the index of the first."""
        first, overlay, context, root, gas = len(self.log_entries), Overlay(self), self.context(), None, 0
        for key, payload in said:
            transaction = self.sign(key, payload)
            gas += gas_of(transaction)
            if lawful:
                changes = machine.apply(overlay, transaction, context)
                overlay.writes.update(changes.writes)
                root = changes.results_root or root
            elif isinstance(payload, say.JobSettled):
                root = bytes.fromhex(payload.results_root)
            self.log_entries.append(transaction)
        header = header_payload(
            self.tip, context, tx_root=self.root(), writes=overlay.writes, gas_used=gas, results_root=root
        )
        self.seal(header, overlay)
        return first

    def seal(self, header: say.BlockHeader, overlay: Overlay) -> None:
        header = self.twist_header(header)
        signed = self.sign(self.sealer, header)
        self.log_entries.append(signed)
        self.records.update(overlay.writes)
        self.records[header_key(header.height)] = Sealed(signed.digest.hex(), header.time)
        key = account_key(self.coordinator.address)
        account = self.records.get(key)
        balance = account.balance if isinstance(account, Account) else "0"
        self.records[key] = Account(balance, self.nonces.get(self.coordinator.public, 0))
        self.tip = next_tip(self.tip, signed)
        self.time += 1000

    def leaves(self) -> list[bytes]:
        return [merkle.leaf_hash(each.entry) for each in self.log_entries]

    def root(self) -> bytes:
        return merkle.root(self.leaves())

    def checkpoint(self) -> str:
        return self.log.sign(Checkpoint(self.genesis.log_origin, len(self.log_entries), self.root()).text())

    def logged(self, indices: Sequence[int]) -> tuple[LoggedEntry, ...]:
        leaves = self.leaves()
        return tuple(
            LoggedEntry(
                index,
                msgspec.Raw(self.log_entries[index].entry),
                tuple(each.hex() for each in merkle.inclusion_proof(leaves, index)),
            )
            for index in indices
        )

    def trust(self) -> Trust:
        return Trust(
            version=1,
            chain_id=self.chain,
            log=LogPin(origin=self.genesis.log_origin, vkey=self.log.vkey, first=0),
            coordinators=(CoordinatorPin(key=self.coordinator.public.hex(), first=0),),
        )

    def consent(self, operator: SigningKey, worker: SigningKey) -> bytes:
        return operator.sign(operator_digest(self.chain, worker.public, operator.address))

    def enroll(self, count: int, operators: int, *, simulated: bool = False, bond: int = 10**9) -> None:
        """Register and bond workers, and let somebody else do something, too."""
        said: list[tuple[SigningKey, Payload]] = []
        for index in range(count):
            worker, operator = self.workers[index], self.operators[index % operators]
            consent = self.consent(operator, worker)
            registered = say.NodeRegistered(
                operator.public.hex(), consent.hex(), operator.address, say.Tier.DECLARED, "numpy", simulated
            )
            said += [(worker, registered), (worker, say.StakeDeposited(str(bond)))]
        self.block(*said)
        self.block((self.stranger, say.Transfer(self.requester.address, "1")))


@dataclass(frozen=True)
class Wish:
    """What is ordered, and who misbehaves how: `lies` maps a seat to forge, swap, garble, withhold, mute or absent."""

    job_id: str = "job-1"
    workers: int = 3
    operators: int = 3
    size: tuple[int, int] = (40, 28)
    block: int = 16
    channels: int = 3
    audit: int = 1_000_000
    duplicates: int = 125_000
    simulated: bool = False
    labels: tuple[str, ...] = ()
    buyer_silent: bool = False
    failed_first: bool = False
    lies: dict[int, str] = field(default_factory=dict)
    moves: tuple[tuple[int, int], ...] = ()
    """Micro jobs that are given to other seats once the job is started, in this order."""
    late: tuple[tuple[int, int], ...] = ()
    """The same once all roots are posted, which no ledger takes."""
    careless: bool = False
    """The coordinator has nothing recomputed for what its moves brought together."""
    twist: Twist | None = None
    rekey: Callable[[SigningKey, Payload], SigningKey] | None = None
    interrupt: bool = False
    publish: Callable[[Raster, dict[str, object]], tuple[bytes, bytes]] | None = None


@dataclass(frozen=True)
class Played:
    """A finished job with everything that its owner holds."""

    ledger: Ledger
    bundle: Bundle
    picture: bytes
    sidecar: bytes
    source: Raster
    claim: dict[str, object]

    @property
    def trust(self) -> Trust:
        return self.ledger.trust()


@dataclass
class _Job:
    ledger: Ledger
    wish: Wish
    source: Raster
    attempt: int = 1
    indices: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.assign = secret(self.wish.job_id, "assign", str(self.attempt))
        self.buyer = secret(self.wish.job_id, "buyer", str(self.attempt))
        self.salts = {name: secret(self.wish.job_id, name)[:16] for name in ("input", "output", "artifact", "sidecar")}
        self.spec = self._spec()
        self.job = spec_digest(self.spec)

    def log(self, *said: tuple[SigningKey, Payload]) -> None:
        twist = self.wish.twist or (lambda payload: payload)
        rekey = self.wish.rekey or (lambda key, _: key)
        lawful = self.wish.twist is None and self.wish.rekey is None
        self.ledger.block(*((rekey(key, each), twist(each)) for key, each in said), lawful=lawful)

    def by_coordinator(self, *payloads: Payload) -> None:
        self.log(*((self.ledger.coordinator, each) for each in payloads))

    def _spec(self) -> JobSpec:
        wish, ledger, now = self.wish, self.ledger, self.ledger.time
        width, height = wish.size
        return JobSpec(
            version=1,
            chain_id=ledger.chain,
            job_id=wish.job_id,
            attempt=self.attempt,
            requester=ledger.requester.public.hex(),
            task_type=TaskType.IMAGE_UPSCALING,
            task=Upscale(KERNEL_NAME, "2", width, height, 2 * width, 2 * height, wish.channels, 8),
            input=field_commitment(
                sha256(wish.job_id.encode()), "input", self.salts["input"], raster_digest(self.source)
            ).hex(),
            grid=Grid(wish.block, 3, 4),
            pool=tuple(
                Seat(ledger.workers[index].public.hex(), ledger.operators[index % wish.operators].public.hex())
                for index in range(wish.workers)
            ),
            policy=VerificationPolicy(
                law=VerificationClass.EXACT,
                placement=Placement.SPREAD,
                duplicates=wish.duplicates,
                audit=wish.audit,
                audit_blocks=3,
                ringers=0,
                colluding=0,
                gain="0",
                stake="3000",
                absence="500",
            ),
            price=Price("120", "100"),
            deadlines=Deadlines(*(now + 100_000_000 * step for step in range(1, 7))),
            labels=wish.labels,
            simulated=wish.simulated,
        )

    def order(self) -> None:
        price, requester = quote(self.spec), self.ledger.requester
        parts = (str(part) for part in (price.work, price.duplicates, price.audits, price.reserve))
        self.log(
            (requester, say.EscrowLocked(self.spec.job_id, self.attempt, *parts)),
            (
                requester,
                say.JobSubmitted(
                    self.spec,
                    commitment.assign_commitment(self.job, self.assign).hex(),
                    commitment.buyer_commitment(self.job, self.buyer).hex(),
                    self.ledger.time,
                ),
            ),
        )

    def fail(self) -> None:
        self.ledger.time = self.spec.deadlines.commit + 1
        name, attempt, now = self.spec.job_id, self.attempt, self.ledger.time
        self.by_coordinator(
            say.EscrowRefunded(name, attempt),
            say.JobFailed(name, attempt, say.FailureCode.DEADLINE_PASSED, now),
        )

    def draw_plan(self) -> Plan:
        return plan(self.spec, plan_seed(self.job, self.assign, self.ledger.tip.header))

    def owner(self, index: int) -> SigningKey:
        return self.ledger.workers[self.seat(index)]

    def seat(self, index: int) -> int:
        return dict(self.wish.moves).get(index, index % self.wish.workers)

    def lie(self, index: int) -> str:
        return self.wish.lies.get(self.seat(index), "")

    def work(self, drawn: Plan, started: int) -> tuple[list[Submission], list[int | None]]:
        """Execute, commit and deliver every micro job, each by its owner's honesty."""
        meta, target = commitment.meta_digest("numpy", KERNEL_NAME), self.spec.task
        done = 0
        submissions, elapsed = [], list[int | None]()
        for each in drawn.microjobs:
            key, lie = self.owner(each.index), self.lie(each.index)
            honest = []
            for slot in each.slots:
                region = block_region(self.spec, drawn.layout, slot.block)
                data = block_bytes(
                    resample_region(self.source.samples, (target.target_width, target.target_height), region)
                )
                honest.append(Output(sha256(data), len(data), meta))
            outputs = [other_bytes(output) if lie == "forge" else output for output in honest]
            place = Place(self.job, each.index, key.public)
            seed = commitment.worker_secret(secret("w", key.address), self.job)
            salts = [commitment.leaf_salt(seed, self.job, each.index, slot) for slot in range(len(outputs))]
            law = VerificationClass.EXACT
            leaves = [
                commitment.leaf_hash(place, slot, salts[slot], law, output) for slot, output in enumerate(outputs)
            ]
            posted = commitment.commit(key, self.job, each.index, bytes.fromhex(ZERO_CLASS_ID), leaves)
            delivered: list[Output] | None = [other_bytes(o) for o in outputs] if lie == "swap" else outputs
            openings: list[Opening] | None = [Opening(s, leaf) for s, leaf in zip(salts, leaves, strict=True)]
            if lie == "garble":
                openings = [Opening(s, sha256(leaf)) for s, leaf in zip(salts, leaves, strict=True)]
            if lie == "mute":
                openings = None
            if lie in {"withhold", "absent"}:
                delivered = openings = None
            if lie == "absent":
                submissions.append(Submission(key.public, None, None, None))
                elapsed.append(None)
                continue
            said: list[tuple[SigningKey, Payload]] = [(key, self._result(key, posted))]
            if delivered is not None:
                done += 1
                said.append((self.ledger.coordinator, self._progress(done, len(drawn.microjobs))))
            elapsed.append(self.ledger.time - started)
            self.log(*said)
            submissions.append(
                Submission(
                    key.public,
                    posted,
                    None if delivered is None else tuple(delivered),
                    None if openings is None else tuple(openings),
                )
            )
        return submissions, elapsed

    def _result(self, key: SigningKey, posted: Commitment) -> say.SubmitResult:
        return say.SubmitResult(
            task_id=self.spec.job_id,
            attempt=self.attempt,
            microjob=posted.place.microjob,
            tree_size=posted.tree_size,
            class_id=posted.class_id.hex(),
            worker_address=key.address,
            result_hash=posted.root.hex(),
            signature=posted.signature.hex(),
        )

    def _progress(self, done: int, total: int) -> say.JobProgressUpdate:
        return say.JobProgressUpdate(self.spec.job_id, self.attempt, done, done, total, self.ledger.time)

    def run(self) -> tuple[Evidence, dict[int, bytes]]:
        """From the schedule to the settlement."""
        name, attempt, ledger = self.spec.job_id, self.attempt, self.ledger
        drawn = self.draw_plan()
        owners = [self.ledger.workers[each.seat].public for each in drawn.microjobs]
        root = commitment.assignments_root(self.job, self.assign, owners).hex()
        self.by_coordinator(
            say.JobScheduled(name, attempt, len(owners), root, ledger.time),
            say.JobStarted(name, attempt, ledger.time),
        )
        started = ledger.tip.time
        for index, seat in self.wish.moves:
            self.by_coordinator(say.MicroJobReassigned(name, attempt, index, seat, ledger.time))
        moves = [Move(*each) for each in self.wish.moves]
        void = frozenset() if self.wish.careless else void_pairs(self.spec.pool, drawn, moves)
        drawn = reassign(drawn, moves)
        if self.wish.interrupt:
            ledger.block((ledger.stranger, say.Transfer(ledger.requester.address, "2")))
        submissions, elapsed = self.work(drawn, started)
        for index, seat in self.wish.late:
            self.by_coordinator(say.MicroJobReassigned(name, attempt, index, seat, ledger.time))
        if any(each.delivered is None for each in submissions):
            ledger.time = self.spec.deadlines.upload + 1
        roots = [None if each.commitment is None else each.commitment.root for each in submissions]
        all_roots = commitment.roots_root(roots)
        missing = missing_from([i for i, each in enumerate(submissions) if each.delivered is not None], len(roots))
        self.by_coordinator(say.UploadsClosed(name, attempt, all_roots.hex(), missing, ledger.time))
        chal = self._draw(all_roots)
        evidence = Evidence(self.spec, self.job, drawn, challenged(self.spec, drawn, chal), tuple(submissions), void)
        reference = self._refer(evidence)
        self._settle(evidence, reference, elapsed)
        return evidence, reference

    def _draw(self, all_roots: bytes) -> bytes:
        closing, silent = self.ledger.tip.header, self.wish.buyer_silent
        if silent:
            self.ledger.time = self.spec.deadlines.reveal + 1
        opened = self.assign if silent else self.buyer
        chal = challenge(self.job, all_roots, closing, opened)
        drawer = say.Drawer.OPERATOR if silent else say.Drawer.BUYER
        self.by_coordinator(
            say.ChallengeDrawn(
                self.spec.job_id,
                self.attempt,
                closing.hex(),
                all_roots.hex(),
                chal.hex(),
                opened.hex(),
                drawer,
                self.ledger.time,
            )
        )
        return chal

    def _refer(self, evidence: Evidence) -> dict[int, bytes]:
        reference: dict[int, bytes] = {}
        size = (self.spec.task.target_width, self.spec.task.target_height)
        while blocks := wanted(evidence, reference):
            for block in blocks:
                region = block_region(self.spec, evidence.plan.layout, block)
                reference[block] = sha256(block_bytes(resample_region(self.source.samples, size, region)))
        return reference

    def _settle(self, evidence: Evidence, reference: dict[int, bytes], elapsed: Sequence[int | None]) -> None:
        spec, judgement = self.spec, judge(evidence, reference)
        known = {each.worker.hex(): each for each in judgement.workers}
        tallies = [known.get(seat.worker, WorkerCount(b"", 0, 0, 0, 0, 0)) for seat in spec.pool]
        lines = [
            Counted(seat.worker, t.accepted, t.refuted, t.unavailable, t.faulted, t.absent)
            for seat, t in zip(spec.pool, tallies, strict=True)
        ]
        referee = judgement.referee
        division = settle(
            spec,
            quote(spec).total,
            lines,
            checked=referee.copies + referee.audited,
            redone=referee.redone,
            bonds=stakes(spec, [each.seat for each in evidence.plan.microjobs]),
        )
        results = settled_results(evidence, judgement, elapsed)
        self.by_coordinator(
            say.JobSettled(
                job_id=spec.job_id,
                attempt=self.attempt,
                assign_secret=self.assign.hex(),
                lines=tuple(
                    say.SettlementLine(
                        line.worker,
                        address_of(bytes.fromhex(seat.operator)),
                        line.accepted,
                        line.refuted,
                        line.unavailable,
                        line.faulted,
                        line.absent,
                        str(amount),
                        str(slashed),
                    )
                    for line, seat, amount, slashed in zip(
                        lines, spec.pool, division.amounts, division.slashes, strict=True
                    )
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
                occurred_at=self.ledger.time,
            )
        )

    def disclose(self, name: str, value: bytes) -> tuple[str, Disclosure]:
        job = sha256(self.spec.job_id.encode()) if name == "input" else self.job
        salt = self.salts[name]
        return field_commitment(job, name, salt, value).hex(), Disclosure(salt.hex(), value.hex())


def other_bytes(output: Output) -> Output:
    """Other bytes of the same length."""
    return Output(sha256(output.digest), output.length, output.meta)


def picture_of(wish: Wish) -> Raster:
    width, height = wish.size
    generator = np.random.default_rng(len(wish.job_id) + width)
    return Raster(generator.integers(0, 256, (height, width, wish.channels), dtype=np.uint8))


def play(wish: Wish | None = None, ledger: Ledger | None = None) -> Played:
    """Play one job to its end and bundle it."""
    wish = wish or Wish()
    ledger = ledger or enrolled(wish)
    source = picture_of(wish)
    attempt = 1
    if wish.failed_first:
        first = _Job(ledger, wish, source)
        first.order()
        first.fail()
        attempt = 2
    job = _Job(ledger, wish, source, attempt)
    job.order()
    evidence, reference = job.run()
    size = (2 * source.width, 2 * source.height)
    raster = Raster(resample(source.samples, size))
    output, output_shown = job.disclose("output", raster_digest(raster))
    job.by_coordinator(say.JobCompleted(wish.job_id, attempt, output, raster.width, raster.height, ledger.time))
    claim = claim_of(job)
    picture, sidecar = (wish.publish or plainly)(raster, claim)
    artifact, artifact_shown = job.disclose("artifact", sha256(picture))
    beside, beside_shown = job.disclose("sidecar", sha256(sidecar))
    job.by_coordinator(say.ArtifactPublished(wish.job_id, attempt, artifact, beside, ledger.time))
    ledger.block((ledger.stranger, say.Transfer(ledger.requester.address, "3")))
    bundle = Bundle(
        format="tallystick/bundle/v1",
        genesis=ledger.genesis,
        checkpoint=ledger.checkpoint(),
        job_id=wish.job_id,
        attempt=attempt,
        entries=ledger.logged(indices_of(ledger, wish.job_id)),
        submissions=tuple(_bundled(index, each) for index, each in enumerate(evidence.submissions)),
        verdicts=judge(evidence, reference).blocks,
        disclosures=Disclosures(
            input=job.disclose("input", raster_digest(source))[1],
            output=output_shown,
            artifact=artifact_shown,
            sidecar=beside_shown,
        ),
    )
    return Played(ledger, bundle, picture, sidecar, source, claim)


def plainly(raster: Raster, claim: dict[str, object]) -> tuple[bytes, bytes]:
    """Publish the picture in the format of these tests, and its claim unsigned."""
    return encode_picture(raster), msgspec.json.encode(claim)


def enrolled(wish: Wish) -> Ledger:
    ledger = Ledger()
    ledger.enroll(wish.workers, wish.operators, simulated=wish.simulated)
    return ledger


def claim_of(job: _Job) -> dict[str, object]:
    completed = next(each for each in reversed(job.ledger.log_entries) if isinstance(each.payload, say.JobCompleted))
    claim: dict[str, object] = {
        "version": 1,
        "jobId": job.spec.job_id,
        "chainId": job.ledger.chain,
        "completedNid": completed.nid,
        "taskType": job.spec.task_type.value,
        "kernel": KERNEL_NAME,
        "workers": len(job.spec.pool),
        "softwareVersion": "0",
    }
    return {**claim, "simulated": True} if job.spec.simulated else claim


def indices_of(ledger: Ledger, job_id: str) -> list[int]:
    """Registrations and bonds, the job's entries, and the headers around them."""
    said = [each.payload for each in ledger.log_entries]
    mine = [index for index, each in enumerate(said) if (job_of(each) or ("",))[0] == job_id]
    headers = [index for index, each in enumerate(said) if isinstance(each, say.BlockHeader)]
    before = max((index for index in headers if index < mine[0]), default=0)
    after = min(index for index in headers if index > mine[-1])
    pool = {each.worker for at in mine if isinstance(each0 := said[at], say.JobSubmitted) for each in each0.spec.pool}
    bonds = [
        index
        for index, each in enumerate(said)
        if isinstance(each, say.NodeRegistered | say.StakeDeposited | say.StakeWithdrawn)
        and index < after
        and ledger.log_entries[index].sender.hex() in pool
    ]
    return sorted({*mine, *bonds, *(index for index in headers if before <= index <= after)})


def _bundled(index: int, submission: Submission) -> BundledSubmission:
    delivered, openings = submission.delivered, submission.openings
    return BundledSubmission(
        microjob=index,
        meta="00" * 32 if delivered is None else delivered[0].meta.hex(),
        delivered=None if delivered is None else tuple(DeliveredBlock(o.digest.hex(), o.length) for o in delivered),
        openings=None if openings is None else tuple(OpenedLeaf(o.salt.hex(), o.leaf.hex()) for o in openings),
    )
