"""Many orders at once: a queue that is fair between buyers, one thread per running job, workers elsewhere.

An order is durable before it is acknowledged. Whatever stops a job, short of its deadlines, leaves it in the queue; a
restart fills the queue again from what the home kept.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from tallystick.errors import (
    AbsentError,
    ClosingError,
    ConflictError,
    PriceError,
    RuleError,
    TallyError,
    UnmatchedError,
    UnsignedError,
    UsageError,
)
from tallystick.job import Seat
from tallystick.ledger.records import Escrow, Overlay, escrow_key
from tallystick.node.billing import bill
from tallystick.node.delivery import bundle_path, sidecar_path
from tallystick.node.exchange import Exchange
from tallystick.node.feed import Feed
from tallystick.node.forms import strangers, wish_of
from tallystick.node.ledger_thread import SharedBook
from tallystick.node.leftovers import sweep
from tallystick.node.ordering import Wish, local_pool
from tallystick.node.own_orders import UNSIGNED
from tallystick.node.ports import Entropy
from tallystick.node.remote import RemoteStaff, nobody_here
from tallystick.node.room import Limits, check_room, weight
from tallystick.node.shell import Node, Offer
from tallystick.node.views import BuyerStep, JobState, JobView, OrderForm, PriceView, counted, moment, price_view
from tallystick.primitives.digests import sha256

TICK_SECONDS: Final = 1.0
RETRY_MS: Final = 3_000
CLOSE_SECONDS: Final = 1.0
JOB_NAME_BYTES: Final = 8
OUTPUT, SIDECAR, BUNDLE = "output", "sidecar", "bundle"
FAILURE: Final = "something of the node failed; it is tried again"


@dataclass(slots=True)
class _Order:
    """One order in the queue or at work."""

    wish: Wish
    state: JobState
    waiting: str = ""
    cost: str | None = None
    """In wei, once nothing can change it."""
    not_before: int = 0


@dataclass(slots=True)
class Host:
    """One node for many buyers. ``output_folder`` is where results lie until their buyers fetch them."""

    node: Node
    book: SharedBook
    exchange: Exchange
    feed: Feed
    entropy: Entropy
    output_folder: Path
    trouble: Callable[[str, Exception], None]
    limits: Limits = field(default_factory=Limits)
    _orders: dict[str, _Order] = field(default_factory=dict)
    _wake: threading.Condition = field(default_factory=threading.Condition)
    _closing: bool = False
    _threads: dict[str, threading.Thread] = field(default_factory=dict)
    _foreman: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        """Fill the queue from what the home kept."""
        self.node.staff = RemoteStaff(self.exchange, self.node.identity)
        self.exchange.changed = self.node.own.changed = self._poke
        self.node.own.tell = self.exchange.tell
        self.node.let_go = self.exchange.let_go
        self._foreman = threading.Thread(target=self._oversee, name="foreman", daemon=True)
        unfinished = set(self.node.wishes.unfinished())
        for wish in self.node.wishes.every():
            if wish.job_id in unfinished:
                self._orders[wish.job_id] = _Order(wish, JobState.QUEUED)
            else:
                done = self.node.wishes.is_done(wish.job_id)
                reason = self.node.wishes.reason(wish.job_id)
                ended = JobState.DONE if done else JobState.CANCELLED if reason == _CANCELLED else JobState.FAILED
                self._orders[wish.job_id] = _Order(wish, ended, reason)

    def start(self) -> None:
        """Begin to work off the queue; what an earlier process left half done is swept away before."""
        sweep(self.node.ports)
        self._foreman.start()

    def close(self) -> bool:
        """Stop every job where it is, and return whether all threads ended in time; a restart goes on in any case."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._foreman.join(CLOSE_SECONDS)
        self.exchange.stop(ClosingError("the node is closing"))
        for thread in list(self._threads.values()):
            thread.join(CLOSE_SECONDS / max(1, len(self._threads)))
        return not any(thread.is_alive() for thread in self._threads.values())

    def quote(self, account: str, form: OrderForm, data: bytes, requester: str = "") -> PriceView:
        """Return what an order would cost now; nothing is kept.

        Raises:
            UsageError: it cannot be ordered.
            ImageError: the picture cannot be read.
            PolicyError: its checks would not deter.
        """
        _, offer = self._offered(account, form, data, requester=requester)
        return price_view(offer.spec, offer.price, assumed=not self.exchange.here())

    def submit(
        self, account: str, form: OrderForm, data: bytes, job_id: str | None = None, requester: str = ""
    ) -> JobView:
        """Take an order into the queue; it is durable when this returns, and locked when its workers are found.

        ``job_id`` was made for it before, by ``new_job_id``; ``requester`` is the key of a buyer that signs for itself.

        Raises:
            UsageError: it cannot be ordered, or costs more than its maximum.
            ImageError: the picture cannot be read.
            PolicyError: its checks would not deter.
            LimitError: too many orders, or too many bytes of inputs, wait already.
        """
        check_room(self.limits, account, len(data), self._unfinished())
        wish, offer = self._offered(account, form, data, job_id, requester)
        if form.price_max is not None and offer.price.total > int(form.price_max):
            raise PriceError(f"the order would lock {offer.price.total} wei, {form.price_max} are allowed")
        wish = msgspec.structs.replace(offer.wish, weight=weight(offer.picture.raster, offer.spec), size=len(data))
        Path(wish.output_path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.node.keep(wish, data)
        with self._wake:
            order = self._orders[wish.job_id] = _Order(wish, JobState.QUEUED)
            self._wake.notify_all()
        return self._view(order, costed=False)

    def _unfinished(self) -> list[Wish]:
        states = {JobState.QUEUED, JobState.RUNNING}
        return [order.wish for order in list(self._orders.values()) if order.state in states]

    def job(self, job_id: str) -> JobView | None:
        """Return one order."""
        order = self._orders.get(job_id)
        return None if order is None else self._view(order, costed=True)

    def jobs(self, account: str | None, after: str, limit: int, state: JobState | None = None) -> tuple[JobView, ...]:
        """Return orders, newest first, of one account or all; ``after`` is the last job of the page before."""
        with self._wake:
            orders = sorted(self._orders.values(), key=_newest)
        chosen = [each for each in orders if account in {None, each.wish.account} and state in {None, each.state}]
        start = next((place + 1 for place, order in enumerate(chosen) if order.wish.job_id == after), 0)
        return tuple(self._view(order, costed=False) for order in chosen[start : start + limit])

    def cancel(self, job_id: str) -> JobView:
        """Take an order out of the queue.

        Raises:
            AbsentError: there is no such order.
            ConflictError: its price is locked, so only its workers or its deadlines end it; or it ended.
        """
        with self._wake:
            order = self._orders.get(job_id)
            if order is None:
                raise AbsentError(f"there is no job {job_id}")
            self.node.own.withdraw(job_id)
            if order.state is not JobState.QUEUED or self.book.job(job_id) is not None:
                raise ConflictError(
                    f"job {job_id} is {order.state.value}: only an order whose price is not locked can be cancelled",
                    state=order.state.value,
                )
            order.state, order.waiting = JobState.CANCELLED, _CANCELLED
            self.node.wishes.give_up(job_id, _CANCELLED)
        self.node.forget(job_id)
        return self._view(order, costed=False)

    def file(self, job_id: str, kind: str) -> Path:
        """Return where a delivered file lies.

        Raises:
            AbsentError: there is no such job or file.
            ConflictError: the job has not been delivered.
        """
        order = self._orders.get(job_id)
        if order is None:
            raise AbsentError(f"there is no job {job_id}")
        if order.state is not JobState.DONE:
            raise ConflictError(f"job {job_id} is {order.state.value}", state=order.state.value)
        output = order.wish.output_path
        path = Path({OUTPUT: output, SIDECAR: sidecar_path(output), BUNDLE: bundle_path(output)}.get(kind, ""))
        if not path.is_file():
            raise AbsentError(f"job {job_id} has no {kind}: {OUTPUT}, {SIDECAR} or {BUNDLE} were delivered")
        return path

    def states(self) -> Counter[JobState]:
        """Count orders by state."""
        with self._wake:
            return Counter(order.state for order in self._orders.values())

    def _offered(
        self, account: str, form: OrderForm, data: bytes, job_id: str | None = None, requester: str = ""
    ) -> tuple[Wish, Offer]:
        """Write the order for workers as if they were here already: the price depends on how many, not on who."""
        if sha256(data).hex() != form.input:
            raise ConflictError("the uploaded bytes are not those that the form names", input=sha256(data).hex())
        name = job_id or new_job_id(self.entropy)
        output = self.output_folder / name / form.output_name
        wish = wish_of(form, account, name, str(output), self.node.ports.clock.now(), requester=requester)
        picture = self.node.ports.images.decode(data)
        return wish, self.node.offer_for(wish, picture, self._likely(wish))

    def _likely(self, wish: Wish) -> tuple[Seat, ...]:
        """Return the pool that would be chosen now, or one of strangers."""
        staff = self.node.staff
        with suppress(UnmatchedError):
            if staff is not None:
                return staff.recruit(wish, frozenset())
        return local_pool(strangers(wish), self.node.identity)

    def _view(self, order: _Order, *, costed: bool) -> JobView:
        wish = order.wish
        job = self.book.job(wish.job_id)
        phase, attempt, microjobs, arrived = counted(job)
        escrow = Overlay(self.book.engine.view).find(Escrow, escrow_key(wish.job_id, attempt)) if attempt else None
        done, ended = order.state is JobState.DONE, order.state not in _GOING_ON
        holds = escrow is not None and escrow.balance != "0"
        wanted = None if ended else self.node.own.step(wish)
        return JobView(
            job_id=wish.job_id,
            account=wish.account,
            state=order.state,
            phase=phase,
            attempt=attempt,
            created_at=moment(wish.created),
            input_name=wish.input_name,
            output_name=Path(wish.output_path).name,
            scale=wish.scale,
            placement=wish.placement,
            microjobs=microjobs,
            arrived=arrived,
            locked_wei="0" if escrow is None else escrow.balance,
            cost_wei=self._cost(order, final=ended and not holds) if costed or ended else None,
            files=(OUTPUT, SIDECAR, BUNDLE) if done else (),
            waiting=self._waits(order, wanted, locked=job is not None),
            simulated=wish.simulated,
            requester=wish.requester or None,
            wanted=wanted,
        )

    def _cost(self, order: _Order, *, final: bool) -> str:
        """Return what an order cost so far; what has ended and holds nothing more is added up once."""
        if order.cost is not None:
            return order.cost
        cost = str(bill(entry for _, entry in self.book.entries_of(order.wish.job_id)).cost)
        order.cost = cost if final else None
        return cost

    def _waits(self, order: _Order, wanted: BuyerStep | None, *, locked: bool) -> str:
        """Say what an order waits for as things are now, or how it ended."""
        if wanted is BuyerStep.ORDER:
            return UNSIGNED
        alone = order.state is JobState.QUEUED and not (locked or order.wish.local or self.exchange.here())
        return nobody_here(order.wish) if alone else order.waiting

    def _poke(self) -> None:
        with self._wake:
            for order in self._orders.values():
                order.not_before = 0
            self._wake.notify_all()

    def _oversee(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - without the foreman nothing would begin any more
                self.trouble("", error)
                time.sleep(TICK_SECONDS)

    def _turn(self) -> None:
        """Begin the next order, or wait until there may be one."""
        self.exchange.tick()
        with self._wake:
            order = self._next()
            if order is None:
                self._wake.wait(TICK_SECONDS)
                return
            order.state = JobState.RUNNING
            job_id = order.wish.job_id
            thread = threading.Thread(target=self._work, args=(order,), name=f"job {job_id}", daemon=True)
            self._threads[job_id] = thread
        try:
            thread.start()
        except RuntimeError:  # the machine has no threads left
            self._threads.pop(job_id, None)
            self._again(order, FAILURE)
            raise

    def _next(self) -> _Order | None:
        """Return the next order to run: of the buyer with the least running, the oldest."""
        running = [order for order in self._orders.values() if order.state is JobState.RUNNING]
        if self._closing or len(running) >= self.limits.running:
            return None
        room = self.limits.bytes - sum(order.wish.weight for order in running)
        share, now = Counter(order.wish.account for order in running), self.node.ports.clock.now()
        ready = [
            order
            for order in self._orders.values()
            if order.state is JobState.QUEUED
            and order.not_before <= now
            and (order.wish.weight <= room or not running)
            and self._reachable(order.wish)
        ]
        return min(
            ready, key=lambda order: (share[order.wish.account], order.wish.created, order.wish.job_id), default=None
        )

    def _reachable(self, wish: Wish) -> bool:
        """Tell whether starting an order could lead anywhere: what is locked goes on, the rest needs workers."""
        if self.node.own.is_laid(wish):
            return False
        return wish.local or self.book.job(wish.job_id) is not None or bool(self.exchange.here())

    def _work(self, order: _Order) -> None:
        """Run one order as far as it goes."""
        job_id = order.wish.job_id
        try:
            with self._ending(order):
                self.node.run(job_id)
        finally:
            with self._wake:
                self._threads.pop(job_id, None)
                self._wake.notify_all()

    @contextmanager
    def _ending(self, order: _Order) -> Iterator[None]:
        """Say in the queue how a run ended."""
        try:
            yield
            order.state, order.waiting = JobState.DONE, ""
        except ClosingError:
            order.state = JobState.QUEUED
        except (UnmatchedError, PriceError) as error:
            self._again(order, str(error))
        except UnsignedError:
            self._again(order, "")
        except (RuleError, UsageError) as error:
            self._refused(order, error)
        except Exception as error:  # noqa: BLE001 - also a bug, or a lack of memory, leaves the order in the queue
            self.trouble(order.wish.job_id, error)
            self._again(order, FAILURE)

    def _again(self, order: _Order, reason: str) -> None:
        order.waiting, order.not_before = reason, self.node.ports.clock.now() + RETRY_MS
        order.state = JobState.QUEUED

    def _refused(self, order: _Order, error: TallyError) -> None:
        """End an order that the rules refuse before anything was locked; a later refusal is this node's own failure."""
        job_id = order.wish.job_id
        given_up = self.node.wishes.is_given_up(job_id)
        if self.book.job(job_id) is not None and not given_up:
            self.trouble(job_id, error)
            self._again(order, f"the ledger refuses its next step: {error}")
            return
        if not given_up:
            self.node.wishes.give_up(job_id, str(error))
            self.node.forget(job_id)
        order.state, order.waiting = JobState.FAILED, str(error)


_CANCELLED: Final = "cancelled by its buyer"
_GOING_ON: Final = frozenset({JobState.QUEUED, JobState.RUNNING})


def new_job_id(entropy: Entropy) -> str:
    """Return a name for a job that nobody has yet."""
    return f"up-{entropy.token(JOB_NAME_BYTES).hex()}"


def _newest(order: _Order) -> tuple[int, str]:
    return -order.wish.created, order.wish.job_id
