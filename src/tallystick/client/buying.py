"""What a buyer that signs for itself does: holds an offer against its form, signs it, reveals its secret last.

It believes the node in nothing that it can check. Knows routes and entries (docs/spec/http.md). Refuses to know
sockets, clocks and picture formats: the time and the decoder are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import msgspec

from tallystick.client import answers as say
from tallystick.client import calls
from tallystick.client.files import Source
from tallystick.client.steps import Pause, Script
from tallystick.commitment import buyer_commitment
from tallystick.errors import ConflictError, FundsError, MalformedError, NonceError, UsageError, VerificationError
from tallystick.job import JobSpec, spec_digest
from tallystick.kernels.raster import Raster, raster_digest
from tallystick.ledger import payloads
from tallystick.ledger.settlement import quote
from tallystick.ledger.transactions import Draft, check_signed, sign
from tallystick.node.forms import wish_of
from tallystick.node.identity import NETWORK
from tallystick.node.ordering import check_order, check_price, hide_input, write_spec
from tallystick.node.own_orders import offered_payloads
from tallystick.node.views import BuyerStep, JobView, OfferView, OrderForm, SecretForm, SignedOrder
from tallystick.primitives.digests import Tag, u32
from tallystick.primitives.keys import SigningKey

T = TypeVar("T")

CLOCK_MS: Final = 600_000
"""By how much an offer may be older, or a node's clock be ahead."""
SALT_BYTES: Final = 16


class Decoded(Protocol):
    """A decoded picture, as ``adapters/pillow.py: decode_image`` returns it."""

    @property
    def raster(self) -> Raster:
        """Its samples, upright."""
        ...


Decode = Callable[[bytes], Decoded]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a buyer asked for: its form, and its own picture's raster with its digest."""

    form: OrderForm
    raster: Raster = field(repr=False)
    digest: bytes


@dataclass(slots=True)
class Buyer:
    """One key and the terms of the orders that it gave in this process."""

    key: SigningKey
    decode: Decode | None
    now: Callable[[], int]
    terms: dict[str, Terms] = field(default_factory=dict)

    def ready(self, form: OrderForm) -> OrderForm:
        """Return a form that this buyer can sign for, or that says that the node shall.

        Raises:
            UsageError: it would sign blindly: without a maximum price, or without seeing its own picture.
        """
        if form.own_key is False:
            return form
        if self.decode is None:
            raise UsageError(
                "an order by one's own key is held against one's own picture: give the client decode=decode_image "
                "(tallystick.adapters.pillow), or order with own_key=False and let the node sign for the account"
            )
        if form.price_max is None:
            raise UsageError("an order by one's own key needs price_max: nobody signs for any price")
        return form

    def remember(self, view: JobView, form: OrderForm, data: bytes) -> None:
        """Keep the terms of an order that waits for this key."""
        if view.requester == self.key.public.hex() and self.decode is not None:
            raster = self.decode(data).raster
            self.terms[view.job_id] = Terms(form, raster, raster_digest(raster))

    def may(self, view: JobView) -> bool:
        """Tell whether this client can do what is asked for: an order is signed by the one that gave it alone."""
        return view.wanted is BuyerStep.SECRET or view.job_id in self.terms

    def secret(self, spec: JobSpec) -> bytes:
        """Return the secret of an attempt: the same in every life of a client with this key."""
        return self.key.secret_for(Tag.BUYER_SEED, spec_digest(spec), u32(spec.attempt))

    def check(self, terms: Terms, offer: OfferView) -> tuple[payloads.EscrowLocked, payloads.JobSubmitted]:
        """Return the two payloads of an offer that asks for what the form does, and for nothing else.

        Raises:
            MalformedError: it is no offer.
            VerificationError: it differs from the form, the picture, the law or the price.
            PriceError: it costs more than the form allows.
        """
        escrow, order = _typed(offer.escrow, payloads.EscrowLocked), _typed(offer.order, payloads.JobSubmitted)
        spec = order.spec
        _same("job", (offer.job_id, offer.attempt), (spec.job_id, spec.attempt))
        _same("requester", self.key.public.hex(), spec.requester)
        _same("chain", offer.chain_id, spec.chain_id)
        self._check_spec(terms, offer, spec)
        self._check_times(terms.form, order)
        check_price(quote(spec), None if terms.form.price_max is None else int(terms.form.price_max))
        expected = offered_payloads(spec, order.assign_commitment, order.occurred_at)
        _same("escrow", expected[0], escrow)
        _same("order", expected[1], order)
        return escrow, order

    def _check_spec(self, terms: Terms, offer: OfferView, spec: JobSpec) -> None:
        """Write the order anew from the form; prices, stakes and deadlines are checked by themselves."""
        wish = wish_of(terms.form, self.key.address, spec.job_id, "", spec.deadlines.commit, requester=spec.requester)
        if wish.audit_least:
            if spec.policy.audit < wish.audit:
                raise VerificationError("audit rate of the offer", expected=wish.audit, actual=spec.policy.audit)
            wish = msgspec.structs.replace(
                wish, duplicates=wish.duplicate_rate, audit=spec.policy.audit, audit_least=False
            )
        if not wish.workers_least <= len(spec.pool) <= wish.workers:
            raise VerificationError("workers of the offer", expected=wish.workers, actual=len(spec.pool))
        hidden = hide_input(spec.job_id, _salt(offer.input_salt), terms.digest)
        written = write_spec(
            wish, spec.attempt, terms.raster, hidden, spec.requester, spec.pool, chain_id=spec.chain_id, now=0
        )
        policy = msgspec.structs.replace(written.policy, stake=spec.policy.stake, absence=spec.policy.absence)
        expected = msgspec.structs.replace(written, policy=policy, price=spec.price, deadlines=spec.deadlines)
        for name in JobSpec.__struct_fields__:
            _same(f"{name} of the offer", getattr(expected, name), getattr(spec, name))
        check_order(spec)

    def _check_times(self, form: OrderForm, order: payloads.JobSubmitted) -> None:
        windows = wish_of(form, "", order.spec.job_id, "", 0).windows
        _same("deadlines", windows.after(order.occurred_at), order.spec.deadlines)
        if abs(order.occurred_at - self.now()) > CLOCK_MS:
            raise VerificationError("time of the offer, UTC ms", expected=self.now(), actual=order.occurred_at)


def submit(source: Source, form: OrderForm, key: str, buyer: Buyer | None) -> Script[JobView]:
    """Upload a picture and order; ``key`` makes all tries one order. What a buyer with a key must sign it remembers.

    Raises:
        UsageError: the buyer would have to sign blindly.
    """
    view = yield from calls.submit(source, form if buyer is None else buyer.ready(form), key)
    if buyer is not None:
        buyer.remember(view, form, source.read(0, source.length))
    return view


def wait(job_id: str, buyer: Buyer | None) -> Script[JobView]:
    """Return an order once it has ended, doing on the way what its buyer is asked for."""
    polls = 0
    while True:
        view = yield from calls.job(job_id)
        if view.state in say.ENDED:
            return view
        if buyer is not None:
            yield from attend(view, buyer)
        yield Pause(calls.POLL_SECONDS[min(polls, len(calls.POLL_SECONDS) - 1)])
        polls += 1


def attend(view: JobView, buyer: Buyer) -> Script[None]:
    """Do what a node asks of this buyer now, if anything; what came too late is asked again by the node.

    Raises:
        UsageError: another client gave the order, and only that one knows what was ordered.
        VerificationError: the offer is not what was ordered.
        FundsError: the account does not hold the price.
    """
    if view.requester != buyer.key.public.hex() or view.wanted is None:
        return
    with suppress(ConflictError):
        yield from (_sign(view, buyer) if view.wanted is BuyerStep.ORDER else _reveal(view, buyer))


def _sign(view: JobView, buyer: Buyer) -> Script[None]:
    terms = buyer.terms.get(view.job_id)
    if terms is None:
        raise UsageError(
            f"job {view.job_id} waits for a signature, and only the client that ordered it can check the offer: "
            "let that one go on, or cancel the job and order again"
        )
    offer = yield from calls.offer(view.job_id)
    _same("job of the offer", view.job_id, offer.job_id)
    escrow, order = buyer.check(terms, offer)
    node = yield from calls.node()
    _same("chain of the offer", node.chain_id, offer.chain_id)
    account = yield from calls.account(buyer.key.address)
    _same("nonce of the offer", account.nonce, offer.nonce)
    short = quote(order.spec).total - int(account.balance_wei)
    if short > 0:
        yield from _fund(node, buyer.key, short)
    promise = buyer_commitment(spec_digest(order.spec), buyer.secret(order.spec)).hex()
    promised = msgspec.structs.replace(order, buyer_commitment=promise)
    signed = (
        sign(Draft(buyer.key, escrow), offer.chain_id, offer.nonce).entry.decode(),
        sign(Draft(buyer.key, promised), offer.chain_id, offer.nonce + 1).entry.decode(),
    )
    with suppress(NonceError):  # another order of this key came between: the next offer has the next numbers
        yield from calls.sign_order(view.job_id, SignedOrder(*signed))


def _fund(node: say.NodeInfo, key: SigningKey, short: int) -> Script[None]:
    """Ask a development ledger's faucet for what is short."""
    if node.network != NETWORK:
        raise FundsError(f"{key.address} is short of {short} wei: nothing was locked")
    yield from calls.faucet(key.address, short)


def _reveal(view: JobView, buyer: Buyer) -> Script[None]:
    """Reveal the secret once the coordinator has signed that the uploads closed, under the order that was signed."""
    node = yield from calls.node()
    spec: JobSpec | None = None
    closed = False
    for entry in (yield from calls.entries(view.job_id)):
        match entry.payload:
            case payloads.JobSubmitted(spec=ordered) if entry.sender == buyer.key.public:
                spec = ordered if ordered.attempt == view.attempt else spec
            case payloads.UploadsClosed(attempt=view.attempt) if entry.sender.hex() == node.coordinator:
                closed = True
            case _:
                continue
        check_signed(entry)
    if spec is None or not closed:
        raise VerificationError("end of the uploads", expected="signed by the coordinator", actual="not in the log")
    yield from calls.reveal(view.job_id, SecretForm(buyer.secret(spec).hex()))


def _typed(value: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise MalformedError("offer", str(error)) from error


def _salt(text: str) -> bytes:
    try:
        salt = bytes.fromhex(text)
    except ValueError as error:
        raise MalformedError("salt of the input", str(error)) from error
    if len(salt) != SALT_BYTES:
        raise MalformedError("salt of the input", f"{len(salt)} bytes, not {SALT_BYTES}")
    return salt


def _same(what: str, expected: object, actual: object) -> None:
    if expected != actual:
        raise VerificationError(what, expected=expected, actual=actual)
