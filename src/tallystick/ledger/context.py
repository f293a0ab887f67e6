"""What a transaction is judged against besides the state: the ledger's parameters and the block's height and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tallystick.errors import DeadlineError
from tallystick.ledger.payloads import TYPE_NAMES
from tallystick.ledger.transactions import Transaction
from tallystick.primitives.keys import address_of

GAS: Final = {
    "Transfer": 21_000,
    "NodeRegistered": 40_000,
    "StakeDeposited": 40_000,
    "StakeWithdrawn": 40_000,
    "EscrowLocked": 40_000,
    "EscrowReleased": 40_000,
    "EscrowRefunded": 40_000,
    "EscrowDisputed": 40_000,
    "EscrowResolved": 40_000,
    "JobSubmitted": 60_000,
    "JobScheduled": 30_000,
    "JobStarted": 30_000,
    "JobProgressUpdate": 30_000,
    "MicroJobReassigned": 40_000,
    "SUBMIT_RESULT": 80_000,
    "UploadsClosed": 40_000,
    "ChallengeDrawn": 40_000,
    "JobSettled": 80_000,
    "JobCompleted": 30_000,
    "JobFailed": 30_000,
    "ArtifactPublished": 30_000,
    "Anchored": 30_000,
    "BlockHeader": 0,
}
"""Base gas of every type; the header is the proposer's own work and costs nothing."""


@dataclass(frozen=True, slots=True)
class Context:
    """Parameters of the ledger, and of the block that is being made; ``time`` is the header's, in UTC ms."""

    chain_id: str
    coordinator: bytes
    arbiter: bytes
    gas_price_min: int
    gas_limit: int
    height: int
    time: int

    @property
    def coordinator_address(self) -> str:
        """Where gas and the referee's fees go."""
        return address_of(self.coordinator)


def require_until(what: str, deadline: int, context: Context) -> None:
    """Refuse what comes after its deadline.

    Raises:
        DeadlineError: the block's time is later.
    """
    if context.time > deadline:
        raise DeadlineError(f"{what} came at {context.time}, after its deadline {deadline}")


def require_after(what: str, deadline: int, context: Context) -> None:
    """Refuse what comes before its time.

    Raises:
        DeadlineError: the deadline has not passed.
    """
    if context.time <= deadline:
        raise DeadlineError(f"{what} is possible after {deadline}, and it is {context.time}")


def gas_of(transaction: Transaction) -> int:
    """Return the base gas of a transaction's type."""
    return GAS[TYPE_NAMES[type(transaction.payload)]]
