"""How likely forgery is seen, and whether a policy makes honesty the better business (docs/guides/what-can-slip.md).

Exact rational arithmetic throughout; symbols as in the literature on audits: R reward, C cost, G outside gain of
forging in proportion to the forged share, S stake, all per micro job of b slots; p audit rate, s blocks per audit,
r share of auditors that collude, v share of duplicated blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, comb
from typing import Final

from tallystick.errors import PolicyError
from tallystick.job import PPM, JobSpec
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


def check_policy(spec: JobSpec, counts: Layout) -> None:
    """Check that the order's audits alone deter, or that it carries the label saying that they do not.

    For every m forged slots of a micro job, p(1-r)(1 - C(b-m,s)/C(b,s))(R+S) must reach (m/b)(C+G); duplicates are not
    counted, since a coalition may hold both copies. The rate is the one that the rounding to whole micro jobs leaves.

    Raises:
        PolicyError: it does not; the message names the smallest rate and the smallest stake that would.
    """
    if NO_DETERRENCE in spec.labels:
        return
    size, policy = counts.size, spec.policy
    reward, cost = spec.price.block_wei * size, spec.price.referee_wei * size
    stake, gain = parse_wei(policy.stake), parse_wei(policy.gain)
    honest_auditors = 1 - Fraction(policy.colluding, PPM)
    rate = Fraction(share(policy.audit, counts.microjobs), counts.microjobs)
    for forged in range(1, size + 1):
        seen = rate * honest_auditors * (1 - missed_by_sample(size, forged, policy.audit_blocks))
        if seen * (reward + stake) < Fraction(forged, size) * (cost + gain):
            raise PolicyError(_repair(rate, reward, cost + gain, stake, honest_auditors))


def _repair(rate: Fraction, reward: int, temptation: int, stake: int, honest_auditors: Fraction) -> str:
    at_risk = honest_auditors * (reward + stake)
    wanted = Fraction(temptation) / at_risk if at_risk else Fraction(2)
    if wanted > 1:
        return "no audit rate deters with this stake and these auditors: use --audit-rate 1 with honest auditors"
    needed = ceil(Fraction(temptation) / (rate * honest_auditors)) - reward if rate else 0
    repair = f"raise the stake to {needed} wei, or " if rate else ""
    return (
        f"an audit rate of {float(rate):.6f} (after rounding to whole micro jobs) does not deter: "
        f"{repair}raise the rate to {ceil(wanted * PPM) / PPM:.6f}"
    )
