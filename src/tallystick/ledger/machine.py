"""apply(): the only place where a rule of the ledger is enforced. Pure, deterministic, copies no map.

``check`` verifies what can be verified without state (chain, signature); ``apply`` trusts that it was called.
"""

from __future__ import annotations

from tallystick.errors import DuplicateError, MalformedError, NonceError, RuleError, UsageError, VerificationError
from tallystick.ledger import accounts, escrow, jobs
from tallystick.ledger import payloads as say
from tallystick.ledger.authority import require_signer
from tallystick.ledger.context import Context, gas_of
from tallystick.ledger.records import Account, Changes, Overlay, Seen, View, account_key, seen_key
from tallystick.ledger.states import event_key
from tallystick.ledger.transactions import Transaction, check_signed

_JOB_EVENTS = (
    say.JobSubmitted,
    say.JobScheduled,
    say.JobStarted,
    say.JobProgressUpdate,
    say.JobCompleted,
    say.JobFailed,
)


def check(transaction: Transaction, chain_id: str) -> None:
    """Check what needs no state: the chain and the signature.

    Raises:
        VerificationError: it was signed for another chain.
        SignatureError: the signature is not the sender's.
    """
    if transaction.chain_id != chain_id:
        raise VerificationError("chain id of the entry", expected=chain_id, actual=transaction.chain_id)
    check_signed(transaction)


def apply(view: View, transaction: Transaction, context: Context) -> Changes:
    """Return what a verified transaction does to the state, or refuse it.

    Raises:
        RuleError: a rule forbids it; nothing happened.
        VerificationError: it claims something that the ledger recomputes differently.
    """
    require_signer(transaction, context)
    work = Overlay(view)
    _take_nonce(work, transaction)
    gas = gas_of(transaction)
    accounts.charge_gas(work, transaction, context, gas)
    _take_event_key(work, transaction)
    try:
        results_root = _dispatch(work, transaction, context)
    except (MalformedError, UsageError) as error:
        raise RuleError(f"{transaction.type}: {error}") from error
    if work.imbalance:
        raise RuleError(f"{transaction.type} would change the money supply by {work.imbalance} wei")
    return Changes(work.writes, gas, results_root)


def _take_nonce(work: Overlay, transaction: Transaction) -> None:
    key = account_key(transaction.address)
    account = work.find(Account, key) or Account()
    if transaction.nonce != account.nonce:
        raise NonceError(f"the next nonce of {transaction.address} is {account.nonce}, not {transaction.nonce}")
    work.put(key, Account(account.balance, account.nonce + 1))


def _take_event_key(work: Overlay, transaction: Transaction) -> None:
    """Take the published key of a lifecycle event; it is unique per account."""
    payload = transaction.payload
    if not isinstance(payload, _JOB_EVENTS):
        return
    event = event_key_of(payload)
    key = seen_key(transaction.address, event)
    known = work.find(Seen, key)
    if known is not None:
        raise DuplicateError(event, known.tx_hash)
    work.put(key, Seen(transaction.tx_hash))


def event_key_of(
    payload: say.JobSubmitted
    | say.JobScheduled
    | say.JobStarted
    | say.JobProgressUpdate
    | say.JobCompleted
    | say.JobFailed,
) -> str:
    """Return the event key of a lifecycle payload."""
    if isinstance(payload, say.JobSubmitted):
        return event_key(payload.spec.job_id, "JobSubmitted", payload.spec.attempt)
    sequence = payload.sequence if isinstance(payload, say.JobProgressUpdate) else 0
    return event_key(payload.job_id, type(payload).__name__, payload.attempt, sequence)


def _dispatch(work: Overlay, transaction: Transaction, context: Context) -> bytes | None:  # noqa: C901, PLR0912 - a table
    payload = transaction.payload
    match payload:
        case say.Transfer():
            accounts.transfer(work, transaction, payload)
        case say.NodeRegistered():
            accounts.register(work, transaction, payload, context)
        case say.StakeDeposited():
            accounts.deposit(work, transaction, payload)
        case say.StakeWithdrawn():
            accounts.withdraw(work, transaction, payload)
        case say.EscrowLocked():
            escrow.locked(work, transaction, payload)
        case say.EscrowReleased():
            escrow.released(work, payload, context)
        case say.EscrowRefunded():
            escrow.refunded(work, transaction, payload, context)
        case say.EscrowDisputed():
            escrow.disputed(work, transaction, payload, context)
        case say.EscrowResolved():
            escrow.resolved(work, transaction, payload)
        case say.JobSubmitted():
            jobs.submitted(work, transaction, payload, context)
        case say.JobScheduled():
            jobs.scheduled(work, payload, context)
        case say.JobStarted():
            jobs.started(work, payload, context)
        case say.JobProgressUpdate():
            jobs.progressed(work, payload)
        case say.MicroJobReassigned():
            jobs.reassigned(work, payload, context)
        case say.SubmitResult():
            jobs.result(work, transaction, payload, context)
        case say.UploadsClosed():
            jobs.closed(work, payload, context)
        case say.ChallengeDrawn():
            jobs.drawn(work, payload, context)
        case say.JobSettled():
            return escrow.settled(work, payload, context)
        case say.JobCompleted():
            jobs.completed(work, payload)
        case say.JobFailed():
            jobs.failed(work, payload)
        case say.ArtifactPublished():
            jobs.published(work, payload)
        case say.Anchored():
            accounts.anchored(work, payload)
    return None
