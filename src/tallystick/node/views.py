"""What a node says of an order to those outside: the form that asks, the price, and where a job stands."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Final

import msgspec

from tallystick.job import BLOCK_SIDE_MAX, BLOCK_SIDE_MIN, SEATS_MAX, JobSpec, Placement, Rate
from tallystick.ledger.records import Job
from tallystick.ledger.settlement import Quote, audited_blocks_max
from tallystick.ledger.states import JobPhase
from tallystick.node.ordering import DEFAULT_BLOCK, DEFAULT_WORKERS
from tallystick.primitives.amounts import WeiText
from tallystick.primitives.canonical import DigestHex
from tallystick.slicing import layout

MINUTES_MAX: Final = 7 * 24 * 60
DEFAULT_MINUTES: Final = 30

EntryText = Annotated[str, msgspec.Meta(min_length=2, max_length=65_535)]
NameText = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
FileName = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_@][A-Za-z0-9_@. +-]{0,119}\Z")]


class OrderForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order as a buyer writes it: the SHA-256 of an uploaded picture, and what is to be done with it.

    Up to ``workers`` workers share it, at least ``workers_least``; rates are parts per million, None for the usual
    ones; ``price_max`` is in wei; ``minutes`` is how long workers have, from the moment the price is locked. With
    ``own_key`` the buyer signs the order with the key that signs its requests; false has the node sign for the account;
    null is true for whoever has such a key.
    """

    input: DigestHex
    scale: Annotated[str, msgspec.Meta(max_length=20)] = "2"
    input_name: NameText = "input"
    output_name: FileName = "output.png"
    block: Annotated[int, msgspec.Meta(ge=BLOCK_SIDE_MIN, le=BLOCK_SIDE_MAX)] = DEFAULT_BLOCK
    workers: Annotated[int, msgspec.Meta(ge=1, le=SEATS_MAX)] = DEFAULT_WORKERS
    workers_least: Annotated[int, msgspec.Meta(ge=1, le=SEATS_MAX)] = 1
    placement: Placement = Placement.SPREAD
    duplicates: Rate | None = None
    audit: Rate | None = None
    audit_blocks: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1
    price_max: WeiText | None = None
    minutes: Annotated[int, msgspec.Meta(ge=1, le=MINUTES_MAX)] = DEFAULT_MINUTES
    own_key: bool | None = None


class PriceView(msgspec.Struct, frozen=True):
    """What an order would lock at most, in wei, and what that pays for; unused wei return.

    A micro job has at most ``microjob_blocks`` blocks, copies among them.
    """

    work: str
    duplicates: str
    audits: str
    reserve: str
    total: str
    blocks: int
    copies: int
    microjobs: int
    microjob_blocks: int
    audited_blocks: int
    audit_rate: int
    workers: int
    operators: int
    source: tuple[int, int]
    target: tuple[int, int]
    channels: int
    depth: int
    labels: tuple[str, ...]
    assumed: bool = False


class JobState(Enum):
    """Where an order is, seen from its buyer."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class BuyerStep(Enum):
    """What a node asks of a buyer that signs for itself: the signed order, or its secret."""

    ORDER = "order"
    SECRET = "secret"  # noqa: S105 - the word for it


class OfferView(msgspec.Struct, frozen=True):
    """An order that waits for its buyer's signature: payloads of EscrowLocked (at ``nonce``) and JobSubmitted.

    ``order`` has 64 zeros where the buyer's commitment belongs; ``input_salt`` opens the commitment to the input.
    """

    job_id: str
    attempt: int
    chain_id: str
    nonce: int
    escrow: dict[str, Any]
    order: dict[str, Any]
    input_salt: str


class SignedOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The two entries of an order, as the exact text that was signed."""

    escrow: EntryText
    order: EntryText


class SecretForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The buyer's secret, 32 bytes in hex."""

    secret: DigestHex


class JobView(msgspec.Struct, frozen=True):
    """One order. ``waiting`` says what it waits for or why it ended without a result; amounts are wei.

    ``requester`` is the key of a buyer that signs for itself, null where the node signs for the account; ``wanted`` is
    what that buyer is asked for now.
    """

    job_id: str
    account: str
    state: JobState
    phase: JobPhase
    attempt: int
    created_at: str
    input_name: str
    output_name: str
    scale: str
    placement: Placement
    microjobs: int
    arrived: int
    locked_wei: str
    cost_wei: str | None
    files: tuple[str, ...]
    waiting: str
    simulated: bool
    requester: str | None = None
    wanted: BuyerStep | None = None


def price_view(spec: JobSpec, price: Quote, *, assumed: bool = False) -> PriceView:
    """Return a price with what it is made of; ``assumed`` where no worker is connected yet."""
    counts, task = layout(spec), spec.task
    return PriceView(
        work=str(price.work),
        duplicates=str(price.duplicates),
        audits=str(price.audits),
        reserve=str(price.reserve),
        total=str(price.total),
        blocks=counts.blocks,
        copies=counts.copies,
        microjobs=counts.microjobs,
        microjob_blocks=counts.size,
        audited_blocks=audited_blocks_max(spec, counts),
        audit_rate=spec.policy.audit,
        workers=len(spec.pool),
        operators=spec.operators,
        source=(task.source_width, task.source_height),
        target=(task.target_width, task.target_height),
        channels=task.channels,
        depth=task.depth,
        labels=spec.labels,
        assumed=assumed,
    )


def moment(milliseconds: int) -> str:
    """Spell a time as RFC 3339 in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def counted(job: Job | None) -> tuple[JobPhase, int, int, int]:
    """Return phase, attempt, micro jobs and arrivals of a job that may not stand in the ledger yet."""
    return (JobPhase.ABSENT, 0, 0, 0) if job is None else (job.phase, job.attempt, job.microjobs, job.progress)
