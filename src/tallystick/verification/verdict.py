"""The nouns of judgement: what is laid before the judge, and what it says of every slot, block and worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import msgspec

from tallystick.commitment import Commitment, Opening, Output, compute_root
from tallystick.job import JobSpec
from tallystick.primitives.canonical import Count, DigestHex, PublicKeyHex, encode
from tallystick.slicing import Plan


class Verdict(Enum):
    """What became of one executed slot."""

    UPHELD = "upheld"
    REFUTED = "refuted"
    UNAVAILABLE = "unavailable"


class Reason(Enum):
    """Why a slot was not upheld, or what upheld it; one meaning each (docs/spec/verdicts.md)."""

    UNCHECKED = "unchecked"
    COPIES_AGREE = "copies-agree"
    RECOMPUTED = "recomputed"
    NEVER_COMMITTED = "never-committed"
    NOT_DELIVERED = "not-delivered"
    NOT_OPENED = "not-opened"
    OPENING_DIFFERS = "opening-differs"
    LEAF_DIFFERS = "leaf-differs"
    REFERENCE_DIFFERS = "reference-differs"


class Source(Enum):
    """Whose bytes stand in the output."""

    WORKER = "worker"
    REFEREE = "referee"


@dataclass(frozen=True, slots=True)
class Submission:
    """What one micro job left behind; None where a step never came.

    ``commitment``: the root logged in time. ``delivered``: digest and length of each slot's bytes as the node got
    them. ``openings``: salts and leaves revealed after the challenge.
    """

    worker: bytes
    commitment: Commitment | None
    delivered: tuple[Output, ...] | None
    openings: tuple[Opening, ...] | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the judge may look at: the order, the plan, the challenge's draws and every submission.

    ``void`` are the blocks whose copy checks nothing, because moves gave both executions to one operator.
    """

    spec: JobSpec
    job: bytes
    plan: Plan
    challenged: Mapping[int, tuple[int, ...]]
    submissions: tuple[Submission, ...]
    void: frozenset[int] = frozenset()


class SlotVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the judge says of one slot; ``digest`` is that of the delivered bytes, if any came."""

    microjob: Count
    slot: Count
    copy: bool
    worker: PublicKeyHex
    verdict: Verdict
    reason: Reason
    digest: DigestHex | None


class BlockVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the verdict list: the accepted bytes of a block, where they come from, and every execution of it.

    ``reference`` is the referee's digest where the block was recomputed. The list travels in the bundle; JobSettled
    names its root.
    """

    block: Count
    accepted: DigestHex
    source: Source
    reference: DigestHex | None
    slots: Annotated[tuple[SlotVerdict, ...], msgspec.Meta(max_length=8)]


@dataclass(frozen=True, slots=True)
class WorkerCount:
    """The counts of one worker from which the ledger computes its pay and its slash.

    ``faulted`` micro jobs hold a refuted block or were withheld after their root was posted; ``absent`` ones never had
    a root.
    """

    worker: bytes
    accepted: int
    refuted: int
    unavailable: int
    faulted: int
    absent: int


@dataclass(frozen=True, slots=True)
class RefereeCount:
    """Blocks the referee computed, by why: planned copies, drawn audits, all that is redone after faults or moves."""

    copies: int
    audited: int
    redone: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """The whole answer, a pure function of the evidence and the referee's digests."""

    blocks: tuple[BlockVerdict, ...]
    workers: tuple[WorkerCount, ...]
    referee: RefereeCount

    def root(self) -> bytes:
        """RFC 6962 root of the verdict list; JobSettled names it."""
        return compute_root(encode(block) for block in self.blocks)

    def slots(self) -> dict[tuple[int, int], SlotVerdict]:
        """Every slot's verdict by (micro job, slot)."""
        return {(each.microjob, each.slot): each for block in self.blocks for each in block.slots}
