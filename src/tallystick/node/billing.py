"""What a job cost its buyer, from its entries alone: what every attempt locked, less what came back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Transaction
from tallystick.primitives.amounts import parse_wei

_Exit = say.JobSettled | say.EscrowRefunded | say.EscrowReleased | say.EscrowResolved


@dataclass(frozen=True, slots=True)
class Bill:
    """All attempts of a job together, in wei; ``held`` is still in escrow."""

    locked: int
    returned: int
    held: int

    @property
    def cost(self) -> int:
        """What left the buyer for good."""
        return self.locked - self.returned - self.held


@dataclass(slots=True)
class _Attempt:
    """One attempt's escrow: what is in it, the pay per block, the sizes of committed micro jobs, which never came."""

    held: int
    block_price: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    missing: tuple[int, ...] = ()

    @property
    def earned(self) -> int:
        """What EscrowReleased pays: every micro job whose root and bytes came in time."""
        return sum(size for index, size in self.sizes.items() if index not in self.missing) * self.block_price


def bill(entries: Iterable[Transaction]) -> Bill:
    """Add up a job's entries, given in log order."""
    attempts: dict[int, _Attempt] = {}
    locked = returned = 0
    for entry in entries:
        match entry.payload:
            case say.EscrowLocked() as payload:
                parts = (payload.work, payload.duplicates, payload.audits, payload.reserve)
                attempts[payload.attempt] = _Attempt(sum(parse_wei(part) for part in parts))
                locked += attempts[payload.attempt].held
            case say.JobSubmitted(spec=spec):
                attempts[spec.attempt].block_price = spec.price.block_wei
            case say.SubmitResult() as payload:
                attempts[payload.attempt].sizes[payload.microjob] = payload.tree_size
            case say.UploadsClosed() as payload:
                attempts[payload.attempt].missing = payload.missing
            case say.JobSettled() | say.EscrowRefunded() | say.EscrowReleased() | say.EscrowResolved() as payload:
                returned += _returned(payload, attempts[payload.attempt])
                attempts[payload.attempt].held = 0
    return Bill(locked, returned, sum(attempt.held for attempt in attempts.values()))


def _returned(payload: _Exit, attempt: _Attempt) -> int:
    """Return what goes back to the buyer when an escrow is emptied."""
    match payload:
        case say.JobSettled(refund=refund):
            return parse_wei(refund)
        case say.EscrowRefunded() | say.EscrowResolved(exit=say.Exit.REFUNDED):
            return attempt.held
        case _:
            return attempt.held - attempt.earned
