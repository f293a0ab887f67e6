"""Orders that their buyers sign: the offer that a node makes, the two entries that come back, the secret at the end.

Everything is durable before it is used, so a restart stands where the last life stood. Knows the ledger and what the
home keeps. Refuses to know how workers are found, and never signs for such a buyer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tallystick.commitment import assign_commitment, buyer_commitment
from tallystick.errors import (
    CommitmentError,
    ConflictError,
    DeadlineError,
    StakeError,
    UnsignedError,
    VerificationError,
)
from tallystick.job import JobSpec, spec_digest
from tallystick.ledger import payloads as say
from tallystick.ledger.fold import next_nonce
from tallystick.ledger.settlement import quote
from tallystick.ledger.states import JobPhase
from tallystick.ledger.transactions import Transaction, decode
from tallystick.node.book import Book
from tallystick.node.crew import BuyerSpoke, Fact
from tallystick.node.identity import Identity
from tallystick.node.ordering import Wish
from tallystick.node.ports import Clock, Store
from tallystick.node.sequencer import Refused, Submission
from tallystick.node.views import BuyerStep, OfferView
from tallystick.primitives import canonical
from tallystick.primitives.canonical import Count
from tallystick.primitives.keys import address_of

OFFER_PREFIX: Final = "offer/"
SECRET_PREFIX: Final = "buyer-secret/"  # noqa: S105 - where secrets lie, none itself
OFFER_MS: Final = 120_000
"""How long an offer stands before it is made anew, with whoever is there by then."""
PATIENCE_MS: Final = 3_600_000
"""How long a node makes offers of one attempt before it gives the order up."""
UNSIGNED: Final = "sign the order"
NEVER_SIGNED: Final = "its buyer did not sign it for an hour"
NO_COMMITMENT: Final = "00" * 32
"""Stands in an offer where the buyer's own commitment belongs."""


class KeptOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An offer as the home keeps it: the order, when it was made, and when this attempt was first offered."""

    spec: JobSpec
    made: Count
    first: Count


@dataclass(slots=True)
class OwnOrders:
    """Where buyers sign. ``changed`` is called when an order may go on, ``tell`` reaches a job's team."""

    book: Book
    store: Store
    clock: Clock
    identity: Identity
    changed: Callable[[], None] = lambda: None
    tell: Callable[[str, Fact], None] = lambda _job, _fact: None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _laid: dict[str, KeptOffer | None] = field(default_factory=dict)

    def lay(self, wish: Wish, spec: JobSpec, *, served: bool) -> None:
        """Make an offer durable and stop here until its buyer signs it; return when its buyer never did.

        Raises:
            UnsignedError: the offer stands; or nobody is ``served`` here, so that nobody could sign it.
        """
        if not served:
            raise UnsignedError(f"the buyer of job {spec.job_id} signs at a node: run `tally node start`")
        with self._lock:
            before, now = self._standing(spec.job_id), self.clock.now()
            first = before.first if before is not None and before.spec.attempt == spec.attempt else now
            if now - first > PATIENCE_MS:
                return
            self._keep(spec.job_id, KeptOffer(spec, spec.deadlines.commit - wish.windows.commit, first))
        raise UnsignedError(UNSIGNED)

    def step(self, wish: Wish) -> BuyerStep | None:
        """Return what a buyer is asked for now, if anything."""
        if not wish.requester:
            return None
        if self.is_laid(wish):
            return BuyerStep.ORDER
        job = self.book.job(wish.job_id)
        if job is None or job.phase is not JobPhase.CLOSED:
            return None
        return BuyerStep.SECRET if self._secret(wish.job_id, job.attempt) is None else None

    def is_laid(self, wish: Wish) -> bool:
        """Tell whether a fresh offer waits for its buyer, so that nobody else can go on."""
        kept = self._standing(wish.job_id) if wish.requester else None
        return kept is not None and self.clock.now() < kept.made + OFFER_MS

    def offer(self, wish: Wish) -> OfferView:
        """Return the offer of an order, numbered as the buyer's next entries.

        Raises:
            ConflictError: there is none: workers are not found yet, it is signed, or this home signs for its account.
        """
        kept = self._standing(wish.job_id)
        if not wish.requester or kept is None:
            raise ConflictError(f"job {wish.job_id} has no offer that waits for a signature")
        spec = kept.spec
        escrow, order = self._payloads(kept)
        return OfferView(
            job_id=spec.job_id,
            attempt=spec.attempt,
            chain_id=spec.chain_id,
            nonce=next_nonce(self.book.engine.view, address_of(bytes.fromhex(wish.requester))),
            escrow=_plain(escrow),
            order=_plain(order),
            input_salt=self.identity.salt("input", spec.job_id, spec.attempt).hex(),
        )

    def take(self, wish: Wish, escrow: bytes, order: bytes) -> None:
        """Log the two entries that a buyer signed, both or none; those that stand already are taken again.

        Raises:
            MalformedError: they are no entries.
            ConflictError: the offer is another one by now, or its workers' bonds are gone: ask for the next one.
            VerificationError: they say something else than the offer.
            RuleError: the ledger refuses them: the nonces, the money, the signatures.
        """
        signed = decode(escrow), decode(order)
        with self._lock:
            job, kept = self.book.job(wish.job_id), self._standing(wish.job_id)
            if job is not None and job.submitted == signed[1].tx_hash:
                return
            if kept is None:
                raise ConflictError(f"job {wish.job_id} has no offer that waits for a signature")
            self._check(wish, kept, signed)
            outcome = self.book.log([Submission(signed)])[0][0]
            if isinstance(outcome, Refused) and isinstance(outcome.error, StakeError | DeadlineError):
                self._keep(wish.job_id, None)
        self.changed()
        if isinstance(outcome, Refused):
            if isinstance(outcome.error, StakeError | DeadlineError):
                raise ConflictError(f"{outcome.error}; a new offer is made, ask for it again") from outcome.error
            raise outcome.error

    def withdraw(self, job_id: str) -> None:
        """Forget an offer, so that nobody can sign it any more."""
        with self._lock:
            if self._standing(job_id) is not None:
                self._keep(job_id, None)

    def reveal(self, wish: Wish, secret: bytes) -> None:
        """Take the buyer's secret after the uploads closed: kept first, then told to whoever draws the challenge.

        Raises:
            ConflictError: it comes too early, too late, or is not this buyer's to say.
            CommitmentError: it does not open the buyer's commitment.
        """
        job = self.book.job(wish.job_id)
        if not wish.requester or job is None:
            raise ConflictError(f"job {wish.job_id} has no buyer's secret to reveal")
        kept = self._secret(wish.job_id, job.attempt)
        if kept is None and job.phase is not JobPhase.CLOSED:
            raise ConflictError(f"job {wish.job_id} is {job.phase.value}: a secret is revealed once the uploads closed")
        order = self.book.order(wish.job_id, job.attempt)
        opened = buyer_commitment(bytes.fromhex(order.job), secret).hex()
        if opened != order.buyer_commitment:
            raise CommitmentError("the buyer's secret", expected=order.buyer_commitment, actual=opened)
        if kept is None:
            self.store.put_private([(_secret_key(wish.job_id, job.attempt), secret)])
        self.tell(wish.job_id, BuyerSpoke(secret))

    def secret(self, wish: Wish, spec: JobSpec) -> bytes | None:
        """Return the buyer's secret of an attempt: revealed, None while it is not; this home's own where it signs."""
        if wish.requester:
            return self._secret(spec.job_id, spec.attempt)
        return self.identity.job_secret("buyer", spec.job_id, spec.attempt)

    def keys(self, job_id: str) -> tuple[str, ...]:
        """Return what is kept of an order that has ended."""
        self._laid.pop(job_id, None)
        return (*self.store.private_keys(f"{SECRET_PREFIX}{job_id}/"), OFFER_PREFIX + job_id)

    def _standing(self, job_id: str) -> KeptOffer | None:
        """Return the offer that was made last, unless its attempt stands in the ledger."""
        if job_id not in self._laid:
            kept = self.store.private(OFFER_PREFIX + job_id)
            self._laid[job_id] = None if kept is None else canonical.decode(kept, KeptOffer, what="kept offer")
        found, job = self._laid[job_id], self.book.job(job_id)
        return None if found is None or (job is not None and job.attempt >= found.spec.attempt) else found

    def _keep(self, job_id: str, offer: KeptOffer | None) -> None:
        self.store.put_private([(OFFER_PREFIX + job_id, None if offer is None else canonical.encode(offer))])
        self._laid[job_id] = offer

    def _secret(self, job_id: str, attempt: int) -> bytes | None:
        return self.store.private(_secret_key(job_id, attempt))

    def _payloads(self, kept: KeptOffer) -> tuple[say.EscrowLocked, say.JobSubmitted]:
        spec = kept.spec
        secret = self.identity.job_secret("assign", spec.job_id, spec.attempt)
        return offered_payloads(spec, assign_commitment(spec_digest(spec), secret).hex(), kept.made)

    def _check(self, wish: Wish, kept: KeptOffer, signed: tuple[Transaction, Transaction]) -> None:
        """Check that a buyer signed its offer, and nothing else under its name."""
        for said, offered in zip(signed, self._payloads(kept), strict=True):
            if said.sender.hex() != wish.requester:
                raise VerificationError("sender of a signed order", expected=wish.requester, actual=said.sender.hex())
            if blank(said.payload) != offered:
                raise ConflictError(f"{said.type} is not what job {wish.job_id} offers now: ask for the offer again")


def offered_payloads(spec: JobSpec, assign: str, now: int) -> tuple[say.EscrowLocked, say.JobSubmitted]:
    """Return the two payloads of an order as a node offers them: the buyer's commitment is not in it yet."""
    price = quote(spec)
    escrow = say.EscrowLocked(
        job_id=spec.job_id,
        attempt=spec.attempt,
        work=str(price.work),
        duplicates=str(price.duplicates),
        audits=str(price.audits),
        reserve=str(price.reserve),
    )
    return escrow, say.JobSubmitted(spec, assign, NO_COMMITMENT, now)


def blank(payload: say.Payload) -> say.Payload:
    """Return a payload without what the buyer alone puts in."""
    if isinstance(payload, say.JobSubmitted):
        return msgspec.structs.replace(payload, buyer_commitment=NO_COMMITMENT)
    return payload


def _plain(payload: say.Payload) -> dict[str, Any]:
    """Return a payload as plain JSON values."""
    return dict(msgspec.to_builtins(payload))


def _secret_key(job_id: str, attempt: int) -> str:
    return f"{SECRET_PREFIX}{job_id}/{attempt}"
