"""The node of one home: takes orders, has them run and delivered, and goes on after a crash.

Everything that must survive is durable before the next step depends on it: the wish before the escrow, files before
ArtifactPublished, the evidence together with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from tallystick.commitment import Opening, Output, assign_commitment, buyer_commitment
from tallystick.errors import CommitmentError, DeadlineError, IncompleteError, RuleError, UsageError
from tallystick.job import JobSpec, Seat, spec_digest
from tallystick.kernels.raster import raster_digest
from tallystick.ledger import payloads as say
from tallystick.ledger.records import Job
from tallystick.ledger.settlement import Quote, exposure, quote
from tallystick.ledger.states import UNCLOSED_PHASES, UPLOADED_PHASES, EscrowState, JobPhase
from tallystick.ledger.transactions import Draft, Transaction
from tallystick.node.book import Book
from tallystick.node.bundling import bundle, disclose, evidence_key, keep
from tallystick.node.coordinator import Coordinator, Deliver, Secrets
from tallystick.node.crew import Crew, ThreadCrew
from tallystick.node.deliveries import (
    advance_prefix,
    attempt_prefix,
    deliveries_prefix,
    openings_key,
    openings_prefix,
    parse_delivery,
    parse_openings,
)
from tallystick.node.delivery import Delivered, assemble, bundle_path, claim, publish
from tallystick.node.identity import Identity
from tallystick.node.leftovers import delivered, let_go
from tallystick.node.ordering import (
    Source,
    Wish,
    check_price,
    local_pool,
    make_spec,
    order_drafts,
    preparations,
    source_of,
)
from tallystick.node.own_orders import NEVER_SIGNED, OwnOrders
from tallystick.node.ports import Picture, Ports
from tallystick.node.running import JobRun
from tallystick.node.sequencer import Submission
from tallystick.node.team import Bench, LocalTeam, Staff, Team
from tallystick.node.wishes import Wishes
from tallystick.node.worker import Laborer
from tallystick.primitives.digests import field_commitment, sha256
from tallystick.slicing import layout

Hire = Callable[[Wish, int], Laborer]
"""Returns the worker of a seat of this home; the composition root decides who is honest."""


ATTEMPTS_MAX = 5


@dataclass(frozen=True, slots=True)
class Offer:
    """An order that is ready to be locked: what it asks, what it costs, and the decoded input."""

    wish: Wish
    spec: JobSpec
    price: Quote
    picture: Picture


class Node:
    """One home's node, embedded in the process that holds the home's lock."""

    def __init__(
        self,
        book: Book,
        ports: Ports,
        identity: Identity,
        hire: Hire,
        gather: Callable[[], Crew] | None = None,
        staff: Staff | None = None,
    ) -> None:
        """Bind an opened ledger to the world.

        ``gather`` makes the crew of one attempt, by default threads; ``staff`` stands for workers on other machines.
        """
        self.book, self.ports, self.identity, self._hire = book, ports, identity, hire
        self._gather, self.staff = gather, staff
        self.let_go: Callable[[str, set[bytes]], None] = partial(let_go, ports)
        self.wishes = Wishes(ports.store)
        self.own = OwnOrders(book, ports.store, ports.clock, identity)
        self._ordering = threading.Lock()

    def offer(self, wish: Wish, data: bytes) -> Offer:
        """Decode the input and write the order; nothing is locked or kept yet."""
        return self.offer_for(wish, self.ports.images.decode(data), local_pool(wish, self.identity))

    def offer_for(self, wish: Wish, picture: Picture, pool: tuple[Seat, ...]) -> Offer:
        """Write the order as it would be for these workers."""
        source = source_of(picture.raster)
        spec = self._spec(wish, 1, source, pool)
        return Offer(msgspec.structs.replace(wish, source=source), spec, quote(spec), picture)

    def _spec(self, wish: Wish, attempt: int, source: Source, pool: tuple[Seat, ...]) -> JobSpec:
        chain_id, now = self.book.engine.parameters.chain_id, self.ports.clock.now()
        return make_spec(wish, attempt, source, self.identity, pool, chain_id=chain_id, now=now)

    def accept(self, offer: Offer, data: bytes, price_max: int | None = None) -> None:
        """Lock the price and log the order; the wish and its input are durable first.

        Raises:
            PriceError: it costs more than the buyer's maximum; nothing was locked.
        """
        check_price(offer.price, price_max)
        self.keep(offer.wish, data)
        self._lock_first(offer.wish, offer.spec)

    def keep(self, wish: Wish, data: bytes) -> None:
        """Make a wish and its input durable; whoever runs it locks its price.

        Raises:
            CommitmentError: the input is not the one that the wish names.
        """
        if sha256(data).hex() != wish.input:
            raise CommitmentError("input of the wish", expected=wish.input, actual=sha256(data).hex())
        self.ports.desk.write(self.ports.input_path(wish.job_id), data)
        self.wishes.keep(wish)

    def _lock_first(self, wish: Wish, spec: JobSpec) -> None:
        """Lock the price of a first attempt; a wish whose order is refused is no promise that a restart must keep."""
        try:
            self._lock(wish, spec)
        except (RuleError, UsageError):
            self.forget(wish.job_id)
            self.wishes.drop(wish.job_id)
            raise

    def _lock(self, wish: Wish, spec: JobSpec) -> None:
        drafts = preparations(spec, wish, self.identity, self.book.engine.view)
        if drafts:
            self.book.must(Submission(drafts))
        job, secrets = spec_digest(spec), self._secrets(spec)
        buyer = self.identity.account(wish.account)
        commitments = (assign_commitment(job, secrets.assign), buyer_commitment(job, secrets.buyer or b""))
        self.book.must(Submission(order_drafts(spec, buyer, commitments, self.ports.clock.now())))

    def _secrets(self, spec: JobSpec) -> Secrets:
        """Return both secrets of an attempt; where both parties are one home the order's label says so."""
        return Secrets(
            assign=self.identity.job_secret("assign", spec.job_id, spec.attempt),
            buyer=self.own.secret(self.wishes.get(spec.job_id), spec),
        )

    def run(self, job_id: str, picture: Picture | None = None) -> str:
        """Drive a job to its delivery from wherever the ledger says it stands; return where its output lies.

        A deadline that passed while nobody was here refunds the attempt, slashes nobody, and orders the next one.

        Raises:
            IncompleteError: it missed its deadlines too often; none of its money is locked any more.
            UsageError: it was ordered from workers on other machines, and this process reaches none.
        """
        wish = self.wishes.get(job_id)
        if wish.remote and self.staff is None:
            raise UsageError(f"job {job_id} was ordered from workers on other machines: start the node")
        while not self.wishes.is_given_up(job_id):
            job = self.book.job(job_id)
            if job is None or job.phase is JobPhase.FAILED or self._too_late(job_id, job):
                self._start_over(wish, job, picture)
                continue
            try:
                self._drive(wish, job, picture)
            except DeadlineError:
                # A machine that slept wakes up behind a deadline: the next turn ends the attempt as the law says.
                if not self._too_late(job_id, self.book.job(job_id) or job):
                    raise
            else:
                return wish.output_path
        raise IncompleteError(f"job {job_id} missed its deadlines {ATTEMPTS_MAX} times; its money was refunded")

    def _picture(self, job_id: str) -> Picture:
        return self.ports.images.decode(self.ports.desk.read(self.ports.input_path(job_id)))

    def _too_late(self, job_id: str, job: Job) -> bool:
        deadlines, now = self.book.order(job_id, job.attempt).spec.deadlines, self.ports.clock.now()
        if job.phase in UNCLOSED_PHASES:
            return now > deadlines.commit
        return job.phase in UPLOADED_PHASES and now > deadlines.judge

    def _start_over(self, wish: Wish, job: Job | None, picture: Picture | None) -> None:
        """Empty the escrow of a missed attempt, close it, and lock the next one, unless there were too many."""
        attempt = 0 if job is None else job.attempt
        if job is not None and job.phase is not JobPhase.FAILED:
            self._end_attempt(wish.job_id, job)
        if attempt < ATTEMPTS_MAX:
            source = wish.source or source_of((picture or self._picture(wish.job_id)).raster)
            self._order(wish, attempt + 1, source)
        else:
            self.forget(wish.job_id)
            self.wishes.give_up(wish.job_id)

    def _end_attempt(self, job_id: str, job: Job) -> None:
        """Empty the escrow of a missed attempt, unless somebody else asked for that before, and close the attempt."""
        key, payloads = self.identity.coordinator(), list[say.Payload]()
        if self.book.escrow(job_id, job.attempt).state in {EscrowState.LOCKED, EscrowState.DISPUTED}:
            leave = say.EscrowRefunded if job.phase in UNCLOSED_PHASES else say.EscrowReleased
            payloads.append(leave(job_id, job.attempt))
        now = self.ports.clock.now()
        payloads.append(say.JobFailed(job_id, job.attempt, say.FailureCode.DEADLINE_PASSED, now))
        self.book.must(Submission(tuple(Draft(key, payload) for payload in payloads)))

    def _order(self, wish: Wish, attempt: int, source: Source) -> None:
        """Recruit and lock, one order at a time: two that saw the same free bond would both count on it."""
        with self._ordering:
            if self.staff is None or wish.local:
                spec = self._spec(wish, attempt, source, local_pool(wish, self.identity))
            else:
                spec = self._recruited(self.staff, wish, attempt, source)
                check_price(quote(spec), int(wish.price_max) if wish.price_max else None)
            if wish.requester:
                self._offer_own(wish, spec)
            (self._lock_first if attempt == 1 and wish.local else self._lock)(wish, spec)

    def _offer_own(self, wish: Wish, spec: JobSpec) -> None:
        """Leave an order to its buyer's signature (UnsignedError), or give up what was not signed for long."""
        self.own.lay(wish, spec, served=self.staff is not None)
        self.forget(spec.job_id)
        self.wishes.give_up(spec.job_id, NEVER_SIGNED)
        raise RuleError(NEVER_SIGNED)

    def _recruited(self, staff: Staff, wish: Wish, attempt: int, source: Source) -> JobSpec:
        """Write the order for workers who have the bond that it puts at stake."""
        lacking: frozenset[str] = frozenset()
        while True:
            spec = self._spec(wish, attempt, source, staff.recruit(wish, lacking))
            counts = layout(spec)
            short = {
                place.worker
                for seat, place in enumerate(spec.pool)
                if self.book.free_bond(place.worker) < exposure(spec, counts, seat)
            }
            if not short:
                return spec
            lacking |= short

    def _drive(self, wish: Wish, job: Job, picture: Picture | None) -> None:
        if job.phase is not JobPhase.PUBLISHED:
            coordinator = self.coordinator(wish.job_id, job)
            held = picture or self._picture(wish.job_id)
            run = JobRun(self.book, self.ports, coordinator, held, self.team(wish, coordinator, held))
            # From here on the team hears the buyer; what it said just before is in the store.
            coordinator.secrets = self._secrets(coordinator.spec)
            self._deliver(wish, run, run.to_delivery())
        self._finish(wish)

    def team(self, wish: Wish, coordinator: Coordinator, picture: Picture) -> Team:
        """Return who works for an attempt: this home's own workers, or those that its staff recruited."""
        bench = Bench(coordinator.spec, coordinator.plan, picture.raster.samples, self.ports)
        if wish.remote and self.staff is not None:
            return self.staff.team(bench, wish)
        crew = ThreadCrew(self.ports.threads, self.ports.clock) if self._gather is None else self._gather()
        return LocalTeam(bench, [self._hire(wish, seat) for seat in range(wish.workers)], crew)

    def coordinator(self, job_id: str, job: Job) -> Coordinator:
        """Build the coordinator of a job's current attempt from what the ledger and this home know."""
        order, closing = self.book.order(job_id, job.attempt), self.book.closing(job_id, job.attempt)
        roots = self.book.roots(job_id)
        closed = closing is not None and bool(closing.roots_root)
        return Coordinator(
            spec=order.spec,
            secrets=self._secrets(order.spec),
            header=self.book.header(order.height),
            payees=self.book.payees([seat.worker for seat in order.spec.pool]),
            promise=bytes.fromhex(order.buyer_commitment),
            phase=job.phase,
            started=closing.started if closing else 0,
            closing=self.book.header(closing.height) if closing and closed else b"",
            roots_root=bytes.fromhex(closing.roots_root) if closing else b"",
            chal=bytes.fromhex(closing.challenge) if closing else b"",
            missing=closing.missing if closing else (),
            roots={index: posted for index, (posted, _) in roots.items()},
            root_times={index: time for index, (_, time) in roots.items()},
            arrived=self._arrived(job_id, job),
            opened=self._opened(job_id, job),
            progress=job.progress,
            moves=self.book.moves(job_id, job.attempt),
        )

    def _arrived(self, job_id: str, job: Job) -> dict[int, tuple[Output, ...]]:
        prefix = attempt_prefix(job_id, job.attempt)
        found = {}
        for key in self.ports.store.private_keys(prefix):
            kept = self.ports.store.private(key)
            if kept is not None:
                found[int(key.removeprefix(prefix))] = parse_delivery(kept)
        return found

    def _opened(self, job_id: str, job: Job) -> dict[int, tuple[Opening, ...] | None]:
        """Return the openings that a settlement rests on; there are none before it."""
        kept = self.ports.store.private(openings_key(job_id, job.attempt))
        return {} if kept is None else parse_openings(kept)

    def _deliver(self, wish: Wish, run: JobRun, delivery: Deliver) -> None:
        """Write the output, log JobCompleted, sign the files into place, log ArtifactPublished with the evidence."""
        spec = run.coordinator.spec
        plain = self.ports.scratch_path(wish.job_id)
        sink = self.ports.images.writer(plain, spec, run.picture.icc_profile)
        try:
            raster = assemble(spec, run.coordinator.plan.layout, _fetcher(run, delivery), sink)
        except BaseException:
            sink.abort()
            raise
        completed = self._completed(spec, raster)
        statement = claim(spec, completed.nid, self.ports.desk.name(wish.output_path))
        origin = self.ports.input_path(wish.job_id)
        files = publish(
            self.ports.desk, self.ports.credentials, statement, plain=plain, origin=origin, output=wish.output_path
        )
        self._publish(run, delivery, raster, files)

    def _completed(self, spec: JobSpec, raster: bytes) -> Transaction:
        """Return the JobCompleted that names this raster, logging it unless a restart finds it there."""
        for _, entry in self.book.entries_of(spec.job_id):
            if isinstance(entry.payload, say.JobCompleted) and entry.payload.attempt == spec.attempt:
                return entry
        payload = say.JobCompleted(
            job_id=spec.job_id,
            attempt=spec.attempt,
            output=self._commitment(spec, "output", raster),
            width=spec.task.target_width,
            height=spec.task.target_height,
            occurred_at=self.ports.clock.now(),
        )
        accepted, _ = self.book.must(Submission((Draft(self.identity.coordinator(), payload),)))
        return accepted.transactions[0]

    def _commitment(self, spec: JobSpec, name: str, value: bytes) -> str:
        salt = self.identity.salt(name, spec.job_id, spec.attempt)
        return field_commitment(spec_digest(spec), name, salt, value).hex()

    def _publish(self, run: JobRun, delivery: Deliver, raster: bytes, files: Delivered) -> None:
        spec = run.coordinator.spec
        payload = say.ArtifactPublished(
            job_id=spec.job_id,
            attempt=spec.attempt,
            artifact=self._commitment(spec, "artifact", files.artifact),
            sidecar=self._commitment(spec, "sidecar", files.sidecar),
            occurred_at=self.ports.clock.now(),
        )
        opened = disclose(
            self.identity,
            spec,
            source=raster_digest(run.picture.raster),
            raster=raster,
            artifact=files.artifact,
            sidecar=files.sidecar,
        )
        kept = keep(delivery.evidence, delivery.judgement, opened)
        private = ((evidence_key(spec.job_id), kept),)
        self.book.must(Submission((Draft(self.identity.coordinator(), payload),), private))

    def bundle(self, job_id: str) -> bytes:
        """Write a finished job's bundle under the newest checkpoint."""
        return bundle(self.book, self.ports.store, job_id)

    def _finish(self, wish: Wish) -> None:
        """Write the bundle beside the output and forget the blocks, which the output now holds."""
        self.ports.desk.write(bundle_path(wish.output_path), self.bundle(wish.job_id))
        self.forget(wish.job_id)
        self.wishes.finish(wish.job_id)

    def forget(self, job_id: str) -> None:
        """Drop what only a job in progress needs; a crash in between drops it again."""
        store = self.ports.store
        self.let_go(job_id, delivered(store, job_id))
        deliveries = store.private_keys(deliveries_prefix(job_id))
        for path in (self.ports.scratch_path(job_id), self.ports.input_path(job_id)):
            self.ports.desk.remove(path)
        opened = (*store.private_keys(openings_prefix(job_id)), *store.private_keys(advance_prefix(job_id)))
        store.put_private([(key, None) for key in (*deliveries, *opened, *self.own.keys(job_id))])


def _fetcher(run: JobRun, delivery: Deliver) -> Callable[[int], bytes]:
    """Return how accepted blocks are read."""
    accepted = {block.block: bytes.fromhex(block.accepted) for block in delivery.judgement.blocks}
    return lambda block: run.accepted_bytes(block, accepted[block])
