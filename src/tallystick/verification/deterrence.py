"""How likely forgery is seen, and whether a policy makes honesty the better business (docs/guides/what-can-slip.md).

Exact rational arithmetic throughout; symbols as in the literature on audits: R reward, C cost, G outside gain of
forging in proportion to the forged share, S stake, all per micro job of b slots; p audit rate, s blocks per audit,
r share of auditors that collude, v share of duplicated blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, comb
from typing import Final

from tallystick.errors import PolicyError
from tallystick.job import PPM, JobSpec, Placement
from tallystick.primitives.amounts import parse_wei
from tallystick.slicing import Layout, share

NO_DETERRENCE: Final = "deterrence: none"
"""The label of an order whose audits cannot deter, because the auditor's interest is the worker's."""


def missed_by_sample(slots: int, forged: int, sampled: int) -> Fraction:
    """Return the chance that ``sampled`` of ``slots``, without replacement, miss all ``forged`` ones."""
    drawn = min(sampled, slots)
    return Fraction(comb(slots - forged, drawn), comb(slots, drawn))


def missed_by_copies(blocks: int, copies: int, forged: int) -> Fraction:
    """Return the chance that none of ``forged`` blocks is among the ``copies`` drawn of ``blocks``."""
    return Fraction(comb(blocks - forged, copies), comb(blocks, copies))


def missed_by_checker(sizes: Sequence[int], forged: Sequence[int], slots: int) -> Fraction:
    """Return the chance that the checker of a hidden group meets no forged block.

    It executes one block of each member, then others of the group until its ``slots`` are full. With one slot a member
    and ``m`` forged blocks in one of ``b`` that is 1 - m/b, which is all that a lone forger has to fear of it.
    """
    chance = Fraction(1)
    for size, bad in zip(sizes, forged, strict=True):
        chance *= missed_by_sample(size, bad, 1)
    rest = sum(sizes) - len(sizes)
    return chance * (missed_by_copies(rest, slots - len(sizes), sum(forged)) if chance else 1)


def inside(colluding: int, operators: int) -> Fraction:
    """Return c, the chance that the other execution of a coalition's block lies with the coalition too.

    ``colluding`` of ``operators`` work equally much, and one block is never executed twice by one operator; with many
    operators c is the coalition's share of the work.
    """
    return Fraction(colluding - 1, operators - 1) if operators > 1 else Fraction(0)


def unseen_by_copies(placement: Placement, duplicates: Fraction, coalition: Fraction) -> Fraction:
    """Return the share of a coalition's blocks that it may forge unseen, knowing that no stranger executes them again.

    ``coalition`` is c. Spread, these are the blocks of which it holds both executions, v*c. Hidden, whoever holds a
    checker knows which blocks of its members are checked, so that a member in league forges the others: c. Audits see
    both at their own rate.
    """
    return coalition if placement is Placement.HIDDEN else duplicates * coalition


def copies_of_the_rest(duplicates: Fraction, coalition: Fraction) -> Fraction:
    """Return v' = v(1-c)/(1-vc): how much of the coalition's other blocks strangers execute again, copies spread."""
    return duplicates * (1 - coalition) / (1 - duplicates * coalition)


def missed_by_audits(sizes: Sequence[int], forged: Sequence[int], audited: int, sampled: int) -> Fraction:
    """Return the chance that ``audited`` micro jobs, drawn without replacement, show no forged slot.

    The mean over all choices of micro jobs is an elementary symmetric polynomial of the single chances.
    """
    symmetric = [Fraction(1)] + [Fraction(0)] * audited
    for size, bad in zip(sizes, forged, strict=True):
        chance = missed_by_sample(size, bad, sampled)
        for degree in range(audited, 0, -1):
            symmetric[degree] += symmetric[degree - 1] * chance
    return symmetric[audited] / comb(len(sizes), audited)


def detection(
    sizes: Sequence[int], forged: Sequence[int], *, blocks: int, copies: int, audited: int, sampled: int
) -> Fraction:
    """Return the exact chance that forgery of original slots is seen, by a copy or by an audit.

    ``sizes`` and ``forged`` count slots per micro job; copies are drawn over all blocks, and each is compared with an
    honest second execution. The two draws are independent: one is fixed before the work, the other after it.
    """
    seen_by_copy = missed_by_copies(blocks, copies, sum(forged))
    return 1 - seen_by_copy * missed_by_audits(sizes, forged, audited, sampled)


def audit_rate(reward: int, cost: int, stake: int, *, gain: int = 0, colluding: Fraction = Fraction(0)) -> Fraction:
    """Return p* = (C+G)/((1-r)(R+S)), the least rate at which honesty pays.

    Raises:
        PolicyError: nothing deters, because every auditor colludes or nothing is at stake.
    """
    at_risk = (1 - colluding) * (reward + stake)
    if at_risk <= 0:
        raise PolicyError("no audit deters: every auditor shares the worker's interest, or nothing is at stake")
    return (cost + gain) / at_risk


@dataclass(frozen=True, slots=True)
class _Stakes:
    """The inequality of one order: audit rate after rounding, honest share of auditors, and wei per full micro job."""

    rate: Fraction
    honest: Fraction
    reward: int
    temptation: int
    stake: int

    def holds(self) -> bool:
        """Tell whether honesty pays, p(1-r)(R+S) >= C+G."""
        return self.rate * self.honest * (self.reward + self.stake) >= self.temptation


def check_policy(spec: JobSpec, counts: Layout) -> None:
    """Check that the order's audits alone deter, or that it carries the label saying that they do not.

    For every m forged slots of a micro job, p(1-r)(1 - C(b-m,s)/C(b,s))(R+S) must reach (m/b)(C+G). The left side is
    concave in m and zero at m = 0, so m = b decides. Duplicates are not counted, since a coalition may hold both
    copies. p is the rate that the rounding to whole micro jobs leaves. Where honest auditors recompute every block,
    nothing slips whatever the stakes.

    Raises:
        PolicyError: they do not; the message names the smallest stake and the smallest rate that would.
    """
    if NO_DETERRENCE in spec.labels:
        return
    size, policy = counts.size, spec.policy
    stakes = _Stakes(
        rate=Fraction(share(policy.audit, counts.microjobs), counts.microjobs),
        honest=1 - Fraction(policy.colluding, PPM),
        reward=spec.price.block_wei * size,
        temptation=spec.price.referee_wei * size + parse_wei(policy.gain),
        stake=parse_wei(policy.stake),
    )
    everything = stakes.rate == stakes.honest == 1 and policy.audit_blocks >= size
    if not everything and not stakes.holds():
        raise PolicyError(_repair(stakes, counts))


def least_audit(reward: int, temptation: int, stake: int, honest: Fraction, microjobs: int) -> int | None:
    """Return the least audit rate, in parts per million, whose whole micro jobs deter; None where no rate does.

    ``temptation`` is C+G, ``honest`` is 1-r; all wei per full micro job.
    """
    at_risk = honest * (reward + stake)
    if temptation > at_risk:
        return None
    audited = ceil(microjobs * Fraction(temptation) / at_risk) if temptation else 0
    return max(0, ceil(Fraction((2 * audited - 1) * PPM, 2 * microjobs)))


def _repair(stakes: _Stakes, counts: Layout) -> str:
    repairs = []
    if stakes.rate * stakes.honest:
        needed = ceil(stakes.temptation / (stakes.rate * stakes.honest)) - stakes.reward
        repairs.append(f"raise the stake to {needed} wei")
    rate = least_audit(stakes.reward, stakes.temptation, stakes.stake, stakes.honest, counts.microjobs)
    if rate is not None:
        repairs.append(f"raise the audit rate to {rate} per million")
    elif stakes.honest == 1:
        repairs.append(f"audit everything: rate {PPM} per million, {counts.size} blocks each")
    repairs.append(f"carry the label {NO_DETERRENCE!r}")
    return (
        f"auditing {float(stakes.rate):.6f} of the micro jobs (after rounding to whole ones) does not deter: "
        + ", or ".join(repairs)
    )
