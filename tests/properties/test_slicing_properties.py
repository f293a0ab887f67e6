from collections import Counter

from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from tallystick.errors import PolicyError
from tallystick.job import JobSpec, Placement
from tallystick.slicing import Slot, check_separable, layout, plan
from tests.orders import sized

POOLS = st.text("abcd", min_size=1, max_size=9)
SEEDS = st.binary(min_size=32, max_size=32)


def separable(spec: JobSpec) -> bool:
    try:
        check_separable(spec, layout(spec))
    except PolicyError:
        return False
    return True


@given(
    POOLS,
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([0, 62_500, 250_000, 500_000, 900_000, 1_000_000]),
    st.integers(1, 20),
    SEEDS,
)
@example("aab", 6, 6, 1_000_000, 4, bytes(32))
def test_every_plan_is_whole_separated_and_repeatable(
    pool: str, columns: int, rows: int, duplicates: int, size: int, seed: bytes
) -> None:
    spec = sized(columns, rows, operators=pool, duplicates=duplicates, blocks_per_microjob=size)
    assume(separable(spec))
    drawn, counts = plan(spec, seed), layout(spec)
    assert plan(spec, seed) == drawn
    slots = [slot for microjob in drawn.microjobs for slot in microjob.slots]
    assert len(slots) == counts.slots
    assert Counter(slot.block for slot in slots if not slot.copy) == Counter(range(columns * rows))
    assert len(drawn.duplicated()) == counts.copies
    if spec.referee_copies:
        assert not any(slot.copy for slot in slots)
    else:
        operator = {slot: spec.pool[m.seat].operator for m in drawn.microjobs for slot in m.slots}
        for block in drawn.duplicated():
            assert operator[Slot(block, copy=False)] != operator[Slot(block, copy=True)]


@given(POOLS, st.integers(1, 12), st.integers(1, 12), st.integers(1, 20), st.integers(1, 12), SEEDS)
@example("ab", 6, 6, 1, 10, bytes(32))
def test_every_hidden_plan_is_whole_separated_and_repeatable(
    pool: str, columns: int, rows: int, size: int, group: int, seed: bytes
) -> None:
    grid = {"blocks_per_microjob": size, "microjobs_per_macrojob": group}
    spec = sized(columns, rows, operators=pool, duplicates=0, placement=Placement.HIDDEN, **grid)
    try:
        counts = layout(spec)
    except PolicyError:
        reject()
    drawn = plan(spec, seed)
    assert plan(spec, seed) == drawn
    slots = [slot for microjob in drawn.microjobs for slot in microjob.slots]
    assert len(slots) == counts.slots
    assert Counter(slot.block for slot in slots if not slot.copy) == Counter(range(columns * rows))
    copied = [slot.block for slot in slots if slot.copy] or list(drawn.referee_copies)
    assert len(copied) == len(set(copied)) == counts.copies
    operator = {slot: spec.pool[m.seat].operator for m in drawn.microjobs for slot in m.slots}
    for microjob in drawn.microjobs:
        # A micro job is all work or all check, and every one that is work is checked at least once.
        assert len({slot.copy for slot in microjob.slots}) == 1
        assert microjob.slots[0].copy or drawn.duplicated().intersection(slot.block for slot in microjob.slots)
        for slot in microjob.slots if microjob.slots[0].copy else ():
            assert operator[slot] != operator[Slot(slot.block, copy=False)]


@given(POOLS, st.integers(1, 30), st.integers(1, 30), st.integers(1, 40))
def test_there_are_two_micro_jobs_per_worker_or_one_block_in_each(
    pool: str, columns: int, rows: int, size: int
) -> None:
    spec = sized(columns, rows, operators=pool, blocks_per_microjob=size)
    counts = layout(spec)
    assert counts.microjobs >= 2 * len(pool) or counts.size == 1
    assert counts.size <= size
    if counts.size < size:
        assert -(-counts.slots // (counts.size + 1)) < 2 * len(pool)
    assert all(counts.slots_of(index) == counts.size for index in range(counts.microjobs - 1))
    assert 1 <= counts.slots_of(counts.microjobs - 1) <= counts.size


@given(POOLS, st.integers(1, 6), st.integers(1, 6), st.integers(1, 8))
def test_a_refused_pool_could_not_be_separated_by_anyone(pool: str, columns: int, rows: int, size: int) -> None:
    """Pigeonhole: more slots at one operator than there are blocks must hold some block twice."""
    spec = sized(columns, rows, operators=pool, duplicates=1_000_000, blocks_per_microjob=size)
    counts = layout(spec)
    held = Counter(
        spec.pool[index % len(pool)].operator
        for index in range(counts.microjobs)
        for _ in range(counts.slots_of(index))
    )
    assert separable(spec) == (spec.referee_copies or max(held.values()) <= counts.blocks)
