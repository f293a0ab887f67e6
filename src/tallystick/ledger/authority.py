"""Who may send what: one line per type of transaction, and the check of those signers that need no state.

Knows the coordinator and the arbiter of a ledger. Signers that depend on a job or an escrow are checked by the rules of
that job or escrow; the table names them all the same, and docs/spec/transactions.md prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from tallystick.errors import AuthorityError
from tallystick.ledger import payloads as say
from tallystick.ledger.context import Context
from tallystick.ledger.transactions import Transaction


class Signer(Enum):
    """Whose signature a type of transaction needs."""

    ANYONE = "anyone"
    WORKER = "a worker, for itself"
    HOLDER = "the worker that holds the micro job"
    REQUESTER = "the requester"
    EXIT = "anyone after the reveal deadline, the coordinator after the commit deadline, the requester before an order"
    PARTY = "the requester or a worker of the pool"
    COORDINATOR = "the coordinator"
    ARBITER = "the arbiter"
    ENGINE = "the coordinator, as the last entry of its block"


SIGNERS: Final[Mapping[type, Signer]] = MappingProxyType(
    {
        say.Transfer: Signer.ANYONE,
        say.NodeRegistered: Signer.WORKER,
        say.StakeDeposited: Signer.WORKER,
        say.StakeWithdrawn: Signer.WORKER,
        say.EscrowLocked: Signer.REQUESTER,
        say.EscrowReleased: Signer.ANYONE,
        say.EscrowRefunded: Signer.EXIT,
        say.EscrowDisputed: Signer.PARTY,
        say.EscrowResolved: Signer.ARBITER,
        say.JobSubmitted: Signer.REQUESTER,
        say.JobScheduled: Signer.COORDINATOR,
        say.JobStarted: Signer.COORDINATOR,
        say.JobProgressUpdate: Signer.COORDINATOR,
        say.MicroJobReassigned: Signer.COORDINATOR,
        say.SubmitResult: Signer.HOLDER,
        say.UploadsClosed: Signer.COORDINATOR,
        say.ChallengeDrawn: Signer.COORDINATOR,
        say.JobSettled: Signer.COORDINATOR,
        say.JobCompleted: Signer.COORDINATOR,
        say.JobFailed: Signer.COORDINATOR,
        say.ArtifactPublished: Signer.COORDINATOR,
        say.Anchored: Signer.COORDINATOR,
        say.BlockHeader: Signer.ENGINE,
    }
)


def require_signer(transaction: Transaction, context: Context) -> None:
    """Refuse what only the coordinator or the arbiter may send, and a header that did not come with its block.

    Raises:
        AuthorityError: somebody else signed it.
    """
    signer = SIGNERS[type(transaction.payload)]
    if signer is Signer.ENGINE:
        raise AuthorityError("a block header is made by the engine, not submitted")
    allowed = {Signer.COORDINATOR: context.coordinator, Signer.ARBITER: context.arbiter}.get(signer, transaction.sender)
    if transaction.sender != allowed:
        raise AuthorityError(f"{transaction.type} must be signed by {signer.value}, not by {transaction.address}")
