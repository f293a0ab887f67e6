"""The two draws of a job: who computes what (plan seed) and what is recomputed (challenge).

Both are fixed by hashes over values that no single party chose alone; formats in docs/spec/challenge.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from tallystick.job import JobSpec
from tallystick.primitives.digests import Tag, draw, tagged, u32
from tallystick.slicing import Layout, Plan, share


def plan_seed(job: bytes, assign_secret: bytes, header: bytes) -> bytes:
    """Return rho from the coordinator's secret and the header that closes over JobSubmitted (32 bytes each)."""
    return tagged(Tag.ASSIGN, job, assign_secret, header)


def challenge(job: bytes, roots_root: bytes, header: bytes, secret: bytes) -> bytes:
    """Return chal from all roots, the header that closes the uploads, and the secret revealed last."""
    return tagged(Tag.CHALLENGE, job, roots_root, header, secret)


def audited_microjobs(spec: JobSpec, counts: Layout, chal: bytes) -> tuple[int, ...]:
    """Return the micro jobs whose blocks are recomputed: ⌊p·M + ½⌋ of M, ascending."""
    wanted = share(spec.policy.audit, counts.microjobs)
    return tuple(sorted(draw(Tag.AUDIT_MICROJOBS.prefix + chal, wanted, counts.microjobs)))


def audited_slots(spec: JobSpec, chal: bytes, microjob: int, slots: int) -> tuple[int, ...]:
    """Return the challenged slots of one audited micro job: s of them, ascending."""
    wanted = min(spec.policy.audit_blocks, slots)
    return tuple(sorted(draw(Tag.AUDIT.prefix + chal + u32(microjob), wanted, slots)))


def challenged(spec: JobSpec, plan: Plan, chal: bytes) -> dict[int, tuple[int, ...]]:
    """Return the challenged slots of every audited micro job."""
    audited = audited_microjobs(spec, plan.layout, chal)
    return {index: audited_slots(spec, chal, index, len(plan.microjobs[index].slots)) for index in audited}


def challenged_blocks(plan: Plan, slots: dict[int, tuple[int, ...]]) -> frozenset[int]:
    """Return the blocks behind the challenged slots."""
    return frozenset(plan.microjobs[index].slots[slot].block for index, chosen in slots.items() for slot in chosen)


def missing_from(arrived: Iterable[int], count: int) -> tuple[int, ...]:
    """Return the micro jobs of ``count`` that are not among those whose bytes arrived."""
    present = set(arrived)
    return tuple(index for index in range(count) if index not in present)
