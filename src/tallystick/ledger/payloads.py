"""What each type of transaction says: one frozen struct per type (docs/spec/transactions.md has signer and gas payer).

Every payload is public. Private values (input, output, files) stand in it as salted commitments only.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Final

import msgspec

from tallystick.job import SEATS_MAX, Attempt, JobId, JobSpec, Side
from tallystick.primitives.amounts import WeiText
from tallystick.primitives.canonical import AddressText, Count, DigestHex, PublicKeyHex, SignatureHex

ShortText = Annotated[str, msgspec.Meta(max_length=200)]
ChainName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9-]{3,8}:[A-Za-z0-9_-]{1,32}\Z")]
"""CAIP-2 name of a chain, such as ``eip155:10507``."""
EvmAddress = Annotated[str, msgspec.Meta(pattern=r"\A0x[0-9A-Fa-f]{40}\Z")]
"""An account or contract of an EVM chain; the letters' case is its EIP-55 checksum."""


class Tier(Enum):
    """How well a node's hardware claim is backed."""

    DECLARED = "declared"
    NVML = "nvml"
    CHALLENGED = "challenged"
    HARDWARE = "hardware"


class Drawer(Enum):
    """Whose secret the challenge was drawn with."""

    BUYER = "buyer"
    OPERATOR = "operator"


class FailureCode(Enum):
    """Why a job's attempt ended without a result."""

    DEADLINE_PASSED = "DEADLINE_PASSED"
    CANCELLED = "CANCELLED"
    NODE_ERROR = "NODE_ERROR"


class Exit(Enum):
    """How a dispute was resolved."""

    RELEASED = "released"
    REFUNDED = "refunded"
    SPLIT = "split"


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all payloads: frozen, and no field that the type does not name."""


class Transfer(_Payload, frozen=True):
    """Moves wei from the sender to an address."""

    to: AddressText
    amount: WeiText


class NodeRegistered(_Payload, frozen=True):
    """A worker enters with its operator's signature over (chain, worker, payout)."""

    operator: PublicKeyHex
    operator_signature: SignatureHex
    payout: AddressText
    tier: Tier
    backend: ShortText
    simulated: bool


class StakeDeposited(_Payload, frozen=True):
    """Moves wei from the worker's account into its bond."""

    amount: WeiText


class StakeWithdrawn(_Payload, frozen=True):
    """Moves unlocked wei from the worker's bond back to its account."""

    amount: WeiText


class EscrowLocked(_Payload, frozen=True):
    """Locks the price of one attempt: work, copies, audits and the referee's reserve."""

    job_id: JobId
    attempt: Attempt
    work: WeiText
    duplicates: WeiText
    audits: WeiText
    reserve: WeiText


class JobSubmitted(_Payload, frozen=True):
    """The order itself, and the commitments to the coordinator's and the buyer's secrets."""

    spec: JobSpec
    assign_commitment: DigestHex
    buyer_commitment: DigestHex
    occurred_at: Count


class JobScheduled(_Payload, frozen=True):
    """Fixes, salted, who holds which micro job: the root over the assignment commitments."""

    job_id: JobId
    attempt: Attempt
    microjobs: Count
    assignments_root: DigestHex
    occurred_at: Count


class JobStarted(_Payload, frozen=True):
    """The micro jobs were handed out."""

    job_id: JobId
    attempt: Attempt
    occurred_at: Count


class JobProgressUpdate(_Payload, frozen=True):
    """How many micro jobs have arrived; at most one per micro job, numbered from 1."""

    job_id: JobId
    attempt: Attempt
    sequence: Count
    done: Count
    total: Count
    occurred_at: Count


class MicroJobReassigned(_Payload, frozen=True):
    """Gives a micro job without a root to another seat of the pool: its holder is gone, its stake moves along."""

    job_id: JobId
    attempt: Attempt
    microjob: Count
    seat: Count
    occurred_at: Count


class SubmitResult(_Payload, frozen=True):
    """A worker's ComputeResult: ``result_hash`` is the committed root, ``signature`` the inner one over it."""

    task_id: JobId
    attempt: Attempt
    microjob: Count
    tree_size: Count
    class_id: DigestHex
    worker_address: AddressText
    result_hash: DigestHex
    signature: SignatureHex
    proof: None = None
    nonce: None = None


class UploadsClosed(_Payload, frozen=True):
    """Closes the uploads: the root over all posted roots, and the micro jobs whose bytes are missing."""

    job_id: JobId
    attempt: Attempt
    roots_root: DigestHex
    missing: Annotated[tuple[Count, ...], msgspec.Meta(max_length=8192)]
    occurred_at: Count


class ChallengeDrawn(_Payload, frozen=True):
    """Opens the secret revealed last and names the challenge drawn with it."""

    job_id: JobId
    attempt: Attempt
    header: DigestHex
    roots_root: DigestHex
    challenge: DigestHex
    secret: DigestHex
    drawn_by: Drawer
    occurred_at: Count


class SettlementLine(_Payload, frozen=True):
    """One worker: block counts, faulty micro jobs, payee, pay and slash; the ledger recomputes the last two."""

    worker: PublicKeyHex
    payee: AddressText
    accepted: Count
    refuted: Count
    unavailable: Count
    faulted: Count
    absent: Count
    amount: WeiText
    slashed: WeiText


class JobSettled(_Payload, frozen=True):
    """The verdict in money: opens the assignment, pays, slashes and returns the rest."""

    job_id: JobId
    attempt: Attempt
    assign_secret: DigestHex
    lines: Annotated[tuple[SettlementLine, ...], msgspec.Meta(max_length=SEATS_MAX)]
    copies: Count
    audited: Count
    redone: Count
    referee_fee: WeiText
    burned: WeiText
    refund: WeiText
    verdicts: Count
    verdicts_root: DigestHex
    results: Count
    results_root: DigestHex
    occurred_at: Count


class JobCompleted(_Payload, frozen=True):
    """The job's output exists: the salted commitment to its raster's digest."""

    job_id: JobId
    attempt: Attempt
    output: DigestHex
    width: Side
    height: Side
    occurred_at: Count


class JobFailed(_Payload, frozen=True):
    """The attempt ended without a result."""

    job_id: JobId
    attempt: Attempt
    error_code: FailureCode
    occurred_at: Count


class ArtifactPublished(_Payload, frozen=True):
    """Salted commitments to the digests of the delivered file and of its sidecar."""

    job_id: JobId
    attempt: Attempt
    artifact: DigestHex
    sidecar: DigestHex
    occurred_at: Count


class EscrowReleased(_Payload, frozen=True):
    """Exit against a silent coordinator: pays timely committed and uploaded work, returns the rest."""

    job_id: JobId
    attempt: Attempt


class EscrowRefunded(_Payload, frozen=True):
    """Exit when nothing was earned: returns everything to the buyer and frees the bonds."""

    job_id: JobId
    attempt: Attempt


class EscrowDisputed(_Payload, frozen=True):
    """Freezes an escrow over one block, with a bond of at least the referee's cost."""

    job_id: JobId
    attempt: Attempt
    block: Count
    bond: WeiText


class EscrowResolved(_Payload, frozen=True):
    """The arbiter's end of a dispute."""

    job_id: JobId
    attempt: Attempt
    exit: Exit
    upheld: bool


class Anchored(_Payload, frozen=True):
    """A checkpoint was written to a chain, and counts there as final; transaction and block are that chain's own."""

    origin: ShortText
    size: Count
    root: DigestHex
    asset_cid: ShortText
    chain: ChainName
    contract: EvmAddress
    recorder: EvmAddress
    tx_hash: DigestHex
    block: Count
    block_hash: DigestHex


class BlockHeader(_Payload, frozen=True):
    """The last entry of its block; every field is hashed (docs/spec/header.md)."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    height: Count
    prev_hash: DigestHex
    time: Count
    chain_id: str
    proposer: AddressText
    tx_root: DigestHex
    state_root: DigestHex
    compute_root: DigestHex
    gas_used: Count
    gas_limit: Count
    zk_state_proof: None = None
    zk_compute_proof: None = None


Payload = (
    Transfer
    | NodeRegistered
    | StakeDeposited
    | StakeWithdrawn
    | EscrowLocked
    | EscrowReleased
    | EscrowRefunded
    | EscrowDisputed
    | EscrowResolved
    | JobSubmitted
    | JobScheduled
    | JobStarted
    | JobProgressUpdate
    | MicroJobReassigned
    | SubmitResult
    | UploadsClosed
    | ChallengeDrawn
    | JobSettled
    | JobCompleted
    | JobFailed
    | ArtifactPublished
    | Anchored
    | BlockHeader
)

PAYLOAD_TYPES: Final[dict[str, type[_Payload]]] = {
    ("SUBMIT_RESULT" if kind is SubmitResult else kind.__name__): kind for kind in Payload.__args__
}
TYPE_NAMES: Final[dict[type[_Payload], str]] = {kind: name for name, kind in PAYLOAD_TYPES.items()}
