"""The closed forms against enumeration, Monte Carlo and the published tables (R = 1.2, C = 1, b = 16, N = 10)."""

import random
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations, product
from math import comb, isclose, sqrt

import pytest

from tallystick.errors import PolicyError
from tallystick.job import PPM, JobSpec, Placement
from tallystick.slicing import layout, share
from tallystick.verification.deterrence import (
    NO_DETERRENCE,
    audit_rate,
    check_policy,
    copies_of_the_rest,
    detection,
    inside,
    least_audit,
    missed_by_audits,
    missed_by_checker,
    missed_by_copies,
    missed_by_sample,
    unseen_by_copies,
)
from tests.orders import make_order


def refused(spec: JobSpec) -> str | None:
    try:
        check_policy(spec, layout(spec))
    except PolicyError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("slots", "sampled"), [(1, 1), (5, 2), (6, 6), (4, 9)])
def test_a_sample_misses_as_often_as_counting_says(slots: int, sampled: int) -> None:
    for forged in range(slots + 1):
        draws = list(combinations(range(slots), min(sampled, slots)))
        missing = sum(all(slot >= forged for slot in drawn) for drawn in draws)
        assert missed_by_sample(slots, forged, sampled) == Fraction(missing, len(draws))


def test_copies_miss_as_often_as_counting_says() -> None:
    for forged, copies in product(range(7), range(7)):
        draws = list(combinations(range(6), copies))
        missing = sum(all(block >= forged for block in drawn) for drawn in draws)
        assert missed_by_copies(6, copies, forged) == Fraction(missing, len(draws))


def test_a_checker_misses_as_often_as_counting_says() -> None:
    """Every choice of one block a member and of the fillers among the rest, each as likely as any other."""
    sizes, blocks = (2, 3), [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    for slots, first, second in product((2, 3, 4), range(3), range(4)):
        bad = {(0, slot) for slot in range(first)} | {(1, slot) for slot in range(second)}
        choices = [
            {one, two, *fill}
            for one, two in product(blocks[:2], blocks[2:])
            for fill in combinations([each for each in blocks if each not in {one, two}], slots - 2)
        ]
        missing = sum(not bad & chosen for chosen in choices)
        assert missed_by_checker(sizes, (first, second), slots) == Fraction(missing, len(choices))


def test_audits_miss_as_often_as_counting_says() -> None:
    sizes, forged = (3, 2, 4, 1), (1, 0, 2, 1)
    for audited, sampled in product(range(5), range(1, 5)):
        total = Fraction(0)
        for chosen in combinations(range(4), audited):
            chance = Fraction(1)
            for index in chosen:
                chance *= missed_by_sample(sizes[index], forged[index], sampled)
            total += chance
        assert missed_by_audits(sizes, forged, audited, sampled) == total / comb(4, audited)


def test_detection_is_one_less_both_misses() -> None:
    seen = detection((4, 4, 2), (2, 0, 1), blocks=10, copies=3, audited=2, sampled=1)
    assert seen == 1 - missed_by_copies(10, 3, 3) * missed_by_audits((4, 4, 2), (2, 0, 1), 2, 1)
    assert detection((4, 4), (0, 0), blocks=8, copies=4, audited=2, sampled=4) == 0
    assert detection((4, 4), (1, 0), blocks=8, copies=0, audited=2, sampled=4) == 1


def within_four_standard_errors(trial: Callable[[random.Random], bool], chance: Fraction, runs: int = 4000) -> bool:
    source = random.Random(7)
    seen = sum(trial(source) for _ in range(runs))
    return abs(seen - runs * float(chance)) <= 4 * sqrt(runs * float(chance * (1 - chance)))


def test_detection_agrees_with_a_simulated_game() -> None:
    sizes, forged = (16,) * 9 + (6,), (3, 0, 0, 2, 0, 0, 0, 0, 1, 0)
    blocks, bad = sum(sizes), sum(forged)

    def trial(source: random.Random) -> bool:
        if any(block < bad for block in source.sample(range(blocks), 9)):
            return True
        audited = source.sample(range(10), 4)
        return any(any(slot < forged[i] for slot in source.sample(range(sizes[i]), 2)) for i in audited)

    assert within_four_standard_errors(trial, detection(sizes, forged, blocks=blocks, copies=9, audited=4, sampled=2))


@pytest.mark.parametrize(
    ("bad", "of", "seen"), [(1, 100, 0.096), (1, 20, 0.401), (1, 10, 0.651), (1, 5, 0.893), (1, 2, 0.999)]
)
def test_table_1_a_whole_job_with_one_duplicate_in_each_of_ten(bad: int, of: int, seen: float) -> None:
    assert isclose(1 - missed_by_audits((of,) * 10, (bad,) * 10, 10, 1), seen, abs_tol=0.0005)


def test_table_2_one_worker_with_one_duplicate_of_sixteen() -> None:
    assert [float(1 - missed_by_sample(16, forged, 1)) for forged in (1, 2, 4, 8, 16)] == [0.0625, 0.125, 0.25, 0.5, 1]


@pytest.mark.parametrize(("bad", "of", "samples"), [(1, 100, 459), (1, 20, 90), (1, 10, 44), (1, 5, 21)])
def test_table_3_samples_for_a_miss_of_one_in_a_hundred(bad: int, of: int, samples: int) -> None:
    assert missed_by_audits((of,) * samples, (bad,) * samples, samples, 1) <= Fraction(1, 100)
    assert missed_by_audits((of,) * (samples - 1), (bad,) * (samples - 1), samples - 1, 1) > Fraction(1, 100)


@pytest.mark.parametrize(
    ("rate", "expected"), [(Fraction(1, 64), 63), (Fraction(1, 16), 15), (Fraction(1, 10), 9), (Fraction(1, 4), 3)]
)
def test_table_4_forged_blocks_before_the_first_catch(rate: Fraction, expected: int) -> None:
    blocks = 640
    copies = int(rate * blocks)
    mean = sum(missed_by_copies(blocks, copies, forged) for forged in range(1, blocks + 1))
    assert mean == Fraction(blocks - copies, copies + 1)  # without replacement; (1-v)/v in the limit of many blocks
    assert isclose(mean, expected, rel_tol=0.1)


@pytest.mark.parametrize(("tenths", "spread", "rest"), [(1, 0.0063, 0.0566), (3, 0.0187, 0.0446), (5, 0.0312, 0.0323)])
def test_table_5_by_its_closed_forms(tenths: int, spread: float, rest: float) -> None:
    share_of_slots, rate = Fraction(tenths, 10), Fraction(1, 16)
    assert unseen_by_copies(Placement.HIDDEN, rate, share_of_slots) == share_of_slots
    assert isclose(unseen_by_copies(Placement.SPREAD, rate, share_of_slots), spread, abs_tol=0.0001)
    assert isclose(copies_of_the_rest(rate, share_of_slots), rest, abs_tol=0.0001)
    assert isclose(inside(128 * tenths, 1280), share_of_slots, abs_tol=0.001)


@pytest.mark.parametrize(
    ("colluding", "gain", "rates"),
    [
        (0, 0, (0.1613, 0.0893, 0.0195)),
        (30, 0, (0.2304, 0.1276, 0.0279)),
        (50, 0, (0.3226, 0.1786, 0.0391)),
        (0, 5, (0.9677, 0.5357, 0.1172)),
        (30, 5, (1.38, 0.7653, 0.1674)),
        (50, 5, (1.94, 1.07, 0.2344)),
    ],
)
def test_table_7_the_least_audit_rate(colluding: int, gain: int, rates: tuple[float, ...]) -> None:
    for stake, rate in zip((50, 100, 500), rates, strict=True):
        found = audit_rate(12, 10, stake, gain=10 * gain, colluding=Fraction(colluding, 100))
        assert isclose(found, rate, abs_tol=0.005 if rate > 1 else 0.00005)


@pytest.mark.parametrize(("stake", "colluding"), [(100, Fraction(1)), (-12, Fraction(0))])
def test_no_rate_deters_where_every_auditor_colludes_or_nothing_is_at_stake(stake: int, colluding: Fraction) -> None:
    with pytest.raises(PolicyError, match="no audit deters"):
        audit_rate(12, 10, stake, colluding=colluding)


def test_table_13_a_sample_sees_at_least_the_forged_share() -> None:
    for sampled, forged in product(range(1, 17), range(1, 17)):
        assert 1 - missed_by_sample(16, forged, sampled) >= Fraction(forged, 16)


@pytest.mark.parametrize(
    ("percent", "sampled", "seen"),
    [(5, 20, 0.642), (10, 20, 0.878), (20, 20, 0.988), (5, 64, 0.962), (10, 64, 0.999), (20, 64, 1.0)],
)
def test_table_15_tiles_of_a_large_product(percent: int, sampled: int, seen: float) -> None:
    assert isclose(1 - missed_by_sample(10**6, 10**4 * percent, sampled), seen, abs_tol=0.0006)


def brute_force(spec: JobSpec) -> bool:
    """Whether honesty pays for every number of forged slots, by the inequality as it is written."""
    counts, policy = layout(spec), spec.policy
    size, sampled = counts.size, policy.audit_blocks
    rate = Fraction(share(policy.audit, counts.microjobs), counts.microjobs)
    honest = 1 - Fraction(policy.colluding, PPM)
    reward, cost = spec.price.block_wei * size, spec.price.referee_wei * size + int(policy.gain)
    return all(
        rate * honest * (1 - missed_by_sample(size, forged, sampled)) * (reward + int(policy.stake))
        >= Fraction(forged, size) * cost
        for forged in range(1, size + 1)
    )


def test_the_default_law_deters_and_half_of_it_does_not() -> None:
    defaults = {"stake": "40000", "audit": 130_000, "block": 8}
    assert refused(make_order(**defaults)) is None
    assert "does not deter" in (refused(make_order(**(defaults | {"audit": 60_000}))) or "")


def test_a_rate_that_rounds_to_no_micro_job_deters_nobody() -> None:
    message = refused(make_order(audit=60_000))
    assert message == (
        "auditing 0.000000 of the micro jobs (after rounding to whole ones) does not deter: "
        "raise the audit rate to 62500 per million, or carry the label 'deterrence: none'"
    )
    assert refused(make_order(audit=62_500)) is None


@pytest.mark.parametrize("changes", [{"gain": "99999999999"}, {"stake": "0"}])
def test_everything_audited_by_honest_auditors_needs_no_stake(changes: dict[str, str]) -> None:
    assert refused(make_order(audit=PPM, audit_blocks=4, **changes)) is None
    for weaker in ({"audit_blocks": 3}, {"audit": 900_000}, {"colluding": 1}):
        changed = {"audit": PPM, "audit_blocks": 4, **changes, **weaker}
        message = refused(make_order(**changed))
        assert message is None if brute_force(make_order(**changed)) else "does not deter" in (message or "")


def test_with_colluding_auditors_only_the_label_is_left() -> None:
    spec = make_order(audit=PPM, audit_blocks=4, colluding=PPM)
    assert refused(spec) == (
        "auditing 1.000000 of the micro jobs (after rounding to whole ones) does not deter: "
        f"carry the label '{NO_DETERRENCE}'"
    )
    assert refused(make_order(audit=PPM, audit_blocks=4, colluding=PPM, labels=(NO_DETERRENCE,))) is None


def test_the_least_rate_is_none_where_the_temptation_is_larger_than_the_risk() -> None:
    assert least_audit(4, 5, 0, Fraction(1), 8) is None
    assert least_audit(4, 4, 0, Fraction(1), 8) == 937_500  # the least that rounds to all eight
    assert least_audit(4, 0, 0, Fraction(1), 8) == 0
    assert least_audit(4, 0, 0, Fraction(0), 8) == 0
    assert least_audit(0, 1, 0, Fraction(1), 8) is None


def test_random_policies_are_judged_as_by_brute_force_and_each_repair_is_the_smallest() -> None:
    source, verdicts, repaired = random.Random(11), set(), set()
    for _ in range(400):
        changes = {
            "audit": source.choice([0, 10_000, 100_000, 200_000, 450_000, PPM]),
            "audit_blocks": source.randint(1, 5),
            "colluding": source.choice([0, 300_000, 700_000, PPM]),
            "stake": str(source.choice([0, 1_000, 9_000, 40_000])),
            "gain": str(source.choice([0, 2_000, 50_000])),
            "blocks_per_microjob": source.randint(1, 5),
        }
        spec = make_order(**changes)
        full = changes["audit"] == PPM and changes["audit_blocks"] >= layout(spec).size and not changes["colluding"]
        message = refused(spec)
        assert (message is None) == (brute_force(spec) or full)
        verdicts.add(message is None)
        repairs = (("stake", r"stake to (\d+) wei"), ("audit", r"rate to (\d+) per"), ("audit", r"rate (\d+) per"))
        for field, pattern in repairs:
            found = re.search(pattern, message or "")
            if found is None:
                continue
            repaired.add(pattern)
            least = int(found[1])
            everything = {"audit_blocks": layout(spec).size} if pattern == repairs[2][1] else {}
            better = changes | {field: str(least) if field == "stake" else least} | everything
            assert refused(make_order(**better)) is None
            if everything:
                continue  # "audit everything" is the simplest repair, not the smallest
            worse = changes | {field: str(least - 1) if field == "stake" else least - 1}
            assert refused(make_order(**worse)) is not None
    assert verdicts == {True, False}
    assert len(repaired) == 3
