"""Every expected error of Tallystick, one tree; each carries the evidence that explains it.

TallyError
├── UsageError                   the caller asked for something that cannot be asked
│   ├── PriceError               the price is above the caller's maximum
│   ├── AbsentError              what was named is not here, or is none of the caller's business
│   ├── ConflictError            it contradicts what stands already; carries the fact that stands
│   ├── RangeError               a range of bytes that the thing does not have
│   └── HomeError                the home folder is missing, busy or damaged
├── MalformedError               bytes that do not parse: the answer is "cannot tell"
│   ├── NotCanonicalError        they parse, but are not the one canonical spelling
│   ├── TooLargeError            they are larger than the bound
│   └── ImageError               an image that cannot be read faithfully
├── AccessError                  nobody, or somebody else than they say
├── LimitError                   a quota or a queue is full: later it may work
│   └── DelayError               the other side sends too slowly to be waited for
├── IncompleteError              a well-formed claim that lacks what is needed to judge it
├── KeystoreError                the keystore is damaged or the passphrase is wrong
├── VerificationError            a claim that does not hold; carries expected and actual
│   ├── SignatureError · NoteError · InclusionError · ConsistencyError
│   ├── CommitmentError          a leaf, root or opening that does not give what was signed
│   └── CredentialError          content credentials that are not Trusted
├── RuleError                    the ledger refuses a transaction
│   ├── TransitionError          the event is not allowed in this state
│   ├── DuplicateError           the event key is taken; names the first receipt
│   ├── NonceError · FundsError · StakeError · DeadlineError · AuthorityError · BlockFullError
│   └── PolicyError              the verification policy is below what deters
├── UnmatchedError               too few workers are here that fit an order
├── UnsignedError                an order waits for its buyer's own signature
├── NodeError                    a node cannot do it now, or answers what no node says
│   └── UnreachableError         no answer came; what was asked may have happened all the same
├── StoreError                   durable storage refused or lost something
│   └── ClosingError             the node is closing, nothing is lost
└── ChainError                   a chain is unreachable, another one, or answers nonsense; what was sent may yet land
    └── ChainRefusedError        it answered, and the answer is no
"""

from __future__ import annotations

from typing import Final


class TallyError(Exception):
    """Base of every error that Tallystick raises on purpose."""


class UsageError(TallyError):
    """The caller asked for something that cannot be asked; the message says what to do instead."""


class PriceError(UsageError):
    """The price is above the caller's maximum; nothing was locked."""


class AbsentError(UsageError):
    """What was named is not here; whoever may not know of it is told the same."""


class ConflictError(UsageError):
    """The request contradicts what stands already; ``fact`` is what stands, by its name on the wire."""

    def __init__(self, message: str, **fact: str | int) -> None:
        """Keep the fact that would make the next try right."""
        super().__init__(message)
        self.fact: Final = fact


class RangeError(UsageError):
    """A range of bytes that the thing does not have; ``size`` is how many it has."""

    def __init__(self, message: str, size: int) -> None:
        """Keep the size."""
        super().__init__(message)
        self.size: Final = size


class HomeError(UsageError):
    """The home folder is missing, held by another process, or damaged."""


class MalformedError(TallyError):
    """Bytes that do not parse; ``what`` names the thing that was read."""

    def __init__(self, what: str, detail: str) -> None:
        """Keep what was read and why it does not parse."""
        super().__init__(f"{what} cannot be read: {detail}")
        self.what: Final = what
        self.detail: Final = detail


class NotCanonicalError(MalformedError):
    """The bytes parse, but they are not the one canonical spelling of their value."""


class TooLargeError(MalformedError):
    """The input is larger than its bound."""


class ImageError(MalformedError):
    """An image that cannot be decoded faithfully."""


class AccessError(TallyError):
    """The caller did not prove who it is: no credentials, or ones that do not hold."""


class LimitError(TallyError):
    """A quota or a queue is full; nothing was done, and later it may work."""


class DelayError(LimitError):
    """The other side sends too slowly to be waited for; what arrived may be gone on from."""


class IncompleteError(TallyError):
    """A well-formed claim that lacks what is needed to judge it."""


class KeystoreError(TallyError):
    """The keystore is damaged, or the passphrase does not open it."""


class VerificationError(TallyError):
    """A claim that does not hold; ``expected`` and ``actual`` are the evidence."""

    def __init__(self, what: str, *, expected: object = None, actual: object = None) -> None:
        """Keep the claim and the two values that disagree."""
        evidence = "" if expected is None and actual is None else f": expected {expected}, actual {actual}"
        super().__init__(f"{what}{evidence}")
        self.what: Final = what
        self.expected: Final = expected
        self.actual: Final = actual


class SignatureError(VerificationError):
    """A secp256k1 signature that does not verify, is malformed or has a high s."""


class NoteError(VerificationError):
    """A signed note without a valid signature by a known key."""


class InclusionError(VerificationError):
    """A Merkle inclusion proof that does not lead to the root."""


class ConsistencyError(VerificationError):
    """A Merkle consistency proof that does not connect two roots."""


class CommitmentError(VerificationError):
    """A leaf, root, opening or disclosure that does not give what was committed."""


class CredentialError(VerificationError):
    """Content credentials that are not Trusted, or that name something else."""


class RuleError(TallyError):
    """The ledger refuses a transaction; the message says which rule and what would satisfy it."""


class TransitionError(RuleError):
    """The event is not allowed in this state."""

    def __init__(self, machine: str, state: str, event: str) -> None:
        """Keep the machine's name, its state and the event that has no row in the table."""
        super().__init__(f"{machine}: {event} is not allowed in state {state}")
        self.machine: Final = machine
        self.state: Final = state
        self.event: Final = event


class DuplicateError(RuleError):
    """The event key is taken; ``first`` is the txHash of the entry that took it."""

    def __init__(self, key: str, first: str) -> None:
        """Keep the event key and the transaction that used it first."""
        super().__init__(f"{key} was recorded before, by {first}")
        self.key: Final = key
        self.first: Final = first


class NonceError(RuleError):
    """The transaction is not the sender's next one."""


class FundsError(RuleError):
    """The account does not hold the amount."""


class StakeError(RuleError):
    """The bond does not cover the exposure."""


class DeadlineError(RuleError):
    """The event comes too late, or too early."""


class AuthorityError(RuleError):
    """The signer may not send this transaction."""


class BlockFullError(RuleError):
    """The block has no room left; nothing is wrong with the transaction, which fits the next one."""


class PolicyError(RuleError):
    """The verification policy is below what deters; the message names the smallest repair."""


class NodeError(TallyError):
    """A node cannot do it now, or it answers what no node says."""


class UnreachableError(NodeError):
    """No answer came from a node; what it was asked for may have happened all the same."""


class StoreError(TallyError):
    """Durable storage refused or lost something; nothing of the batch was acknowledged."""


class ChainError(TallyError):
    """A chain is unreachable, another one than named, answers nonsense or refused; what was sent may yet land."""


class ChainRefusedError(ChainError):
    """A chain answered that it does not take this: a transaction, a fee, a question."""


class UnmatchedError(TallyError):
    """Too few workers are here for an order; the message says who lacks what."""


class UnsignedError(TallyError):
    """An order waits until its buyer signs it; nothing is locked."""


class ClosingError(StoreError):
    """The node is closing: what runs stops where it is, and goes on when the node is back."""
