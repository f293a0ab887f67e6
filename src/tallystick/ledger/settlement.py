"""Money of a job as arithmetic: the quote that an escrow must hold, and who gets what of it (docs/spec/settlement.md).

Pure integer functions over counts; the ledger recomputes with them what JobSettled claims, and so does an auditor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tallystick.job import JobSpec
from tallystick.primitives.amounts import parse_wei
from tallystick.slicing import Layout, layout, microjobs_of_seat, share


@dataclass(frozen=True, slots=True)
class Quote:
    """What an attempt locks, in wei: work, copies, audits, and a reserve for the referee; unused wei return."""

    work: int
    duplicates: int
    audits: int
    reserve: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.work + self.duplicates + self.audits + self.reserve


@dataclass(frozen=True, slots=True)
class Counted:
    """One worker's counts, as in a settlement line."""

    worker: str
    accepted: int
    refuted: int
    unavailable: int
    faulted: int
    absent: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """Who gets what, in wei: pay and slash per worker in the order given, the referee, the burned, the buyer."""

    amounts: tuple[int, ...]
    slashes: tuple[int, ...]
    referee_fee: int
    burned: int
    refund: int

    @property
    def paid(self) -> int:
        """Sum of the workers' pay."""
        return sum(self.amounts)


def quote(spec: JobSpec) -> Quote:
    """Return what an attempt must lock.

    Copies cost the worker's price, or the referee's when it computes them. Audits cost the referee's price for s blocks
    of every audited micro job. The reserve pays the referee for one disagreement per copy.
    """
    counts = layout(spec)
    block, referee = spec.price.block_wei, spec.price.referee_wei
    return Quote(
        work=counts.blocks * block,
        duplicates=counts.copies * (referee if spec.referee_copies else block),
        audits=audited_blocks_max(spec, counts) * referee,
        reserve=counts.copies * referee,
    )


def audited_blocks_max(spec: JobSpec, counts: Layout) -> int:
    """Return the most blocks that audits can recompute: s of the largest micro jobs, as many as are drawn."""
    audited = share(spec.policy.audit, counts.microjobs)
    sizes = sorted((counts.slots_of(index) for index in range(counts.microjobs)), reverse=True)
    return min(counts.blocks, sum(min(spec.policy.audit_blocks, size) for size in sizes[:audited]))


def exposure(spec: JobSpec, counts: Layout, seat: int) -> int:
    """Return the bond that a seat must have free: the stake times its open micro jobs."""
    return parse_wei(spec.policy.stake) * microjobs_of_seat(spec, counts, seat)


def stakes(spec: JobSpec, holders: Sequence[int]) -> tuple[int, ...]:
    """Return what a job holds of every seat's bond: the stake times the micro jobs that lie with it now."""
    held, stake = Counter(holders), parse_wei(spec.policy.stake)
    return tuple(stake * held[seat] for seat in range(len(spec.pool)))


def settle(
    spec: JobSpec, held: int, lines: Sequence[Counted], *, checked: int, redone: int, bonds: Sequence[int]
) -> Settlement:
    """Divide an escrow of ``held`` wei after judgement.

    ``checked`` blocks (copies and audits) are the buyer's cost; ``redone`` blocks are paid from the slashes first, then
    from what unaccepted work left over. A worker with a faulted micro job is unpaid; each costs it the stake, each
    absent one the smaller slash, never more than the ``bonds`` it locked for this job. What the referee does not need
    of the slashes is burned.
    """
    block, referee = spec.price.block_wei, spec.price.referee_wei
    stake, absence = parse_wei(spec.policy.stake), parse_wei(spec.policy.absence)
    amounts = tuple(0 if line.faulted else line.accepted * block for line in lines)
    slashes = tuple(
        min(bond, line.faulted * stake + line.absent * absence) for line, bond in zip(lines, bonds, strict=True)
    )
    from_slashes = min(sum(slashes), redone * referee)
    from_escrow = min(held - sum(amounts), checked * referee + redone * referee - from_slashes)
    return Settlement(
        amounts=amounts,
        slashes=slashes,
        referee_fee=from_slashes + from_escrow,
        burned=sum(slashes) - from_slashes,
        refund=held - sum(amounts) - from_escrow,
    )
