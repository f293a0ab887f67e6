from hypothesis import given
from hypothesis import strategies as st

from tallystick.primitives.digests import draw, sha256, u32
from tallystick.slicing import layout, plan
from tallystick.verification.challenge import (
    audited_microjobs,
    audited_slots,
    challenge,
    challenged,
    challenged_blocks,
    missing_from,
    plan_seed,
)
from tests.orders import CHALLENGE, SEED, make_order

JOB, ROOTS, HEADER, SECRET = (sha256(name) for name in (b"job", b"roots", b"header", b"secret"))


def test_both_seeds_are_hashes_under_their_own_tags() -> None:
    assert plan_seed(JOB, SECRET, HEADER) == sha256(b"tallystick/assign/v1\n", JOB, SECRET, HEADER)
    assert challenge(JOB, ROOTS, HEADER, SECRET) == sha256(b"tallystick/challenge/v1\n", JOB, ROOTS, HEADER, SECRET)


def test_audited_micro_jobs_are_drawn_as_the_issue_says() -> None:
    spec = make_order()
    counts = layout(spec)
    expected = draw(b"tallystick/audit-microjobs/v1\n" + CHALLENGE, 2, 8)
    assert audited_microjobs(spec, counts, CHALLENGE) == tuple(sorted(expected))
    slots = draw(b"tallystick/audit/v1\n" + CHALLENGE + u32(5), 3, 4)
    assert audited_slots(make_order(audit_blocks=3), CHALLENGE, 5, 4) == tuple(sorted(slots))


def test_a_full_audit_challenges_every_slot_also_of_the_short_micro_job() -> None:
    spec = make_order(audit=1_000_000, audit_blocks=4096)
    drawn = plan(spec, SEED)
    slots = challenged(spec, drawn, CHALLENGE)
    assert slots == {microjob.index: tuple(range(len(microjob.slots))) for microjob in drawn.microjobs}
    assert challenged_blocks(drawn, slots) == frozenset(range(24))


def test_no_audit_challenges_nothing() -> None:
    spec = make_order(audit=0)
    assert challenged(spec, plan(spec, SEED), CHALLENGE) == {}
    assert challenged_blocks(plan(spec, SEED), {}) == frozenset()


@given(st.binary(min_size=32, max_size=32), st.integers(0, 1_000_000), st.integers(1, 9))
def test_every_challenge_has_the_ordered_size(chal: bytes, rate: int, blocks: int) -> None:
    spec = make_order(audit=rate, audit_blocks=blocks)
    drawn = plan(spec, SEED)
    slots = challenged(spec, drawn, chal)
    assert len(slots) == (2 * rate * 8 + 1_000_000) // 2_000_000
    assert list(slots) == sorted(slots)
    for index, chosen in slots.items():
        held = drawn.microjobs[index].slots
        assert len(set(chosen)) == len(chosen) == min(blocks, len(held))
        assert set(chosen) <= set(range(len(held)))
        assert {held[slot].block for slot in chosen} <= challenged_blocks(drawn, slots)


def test_missing_micro_jobs_are_those_that_did_not_arrive() -> None:
    assert missing_from([2, 0], 4) == (1, 3)
    assert missing_from(range(4), 4) == ()
    assert missing_from([], 2) == (0, 1)
