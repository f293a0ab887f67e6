from collections import Counter

import pytest

from tallystick.errors import PolicyError, UsageError
from tallystick.job import Placement, TaskType, VerificationClass
from tallystick.kernels.lanczos import Region
from tallystick.primitives.digests import draw, sha256
from tallystick.slicing import (
    Layout,
    Slot,
    block_length,
    block_region,
    check_separable,
    check_task,
    layout,
    microjobs_of_seat,
    plan,
    seat_of,
    share,
    slots_of_seat,
)
from tests.orders import SEED, make_order, sized


@pytest.mark.parametrize(
    ("rate", "count", "expected"),
    [
        (0, 10, 0),
        (62_500, 8, 1),
        (62_500, 7, 0),
        (500_000, 1, 1),
        (499_999, 1, 0),
        (1_000_000, 7, 7),
        (130_000, 6, 1),
        (130_000, 3, 0),
    ],
)
def test_a_share_is_rounded_to_the_nearest_and_half_up(rate: int, count: int, expected: int) -> None:
    assert share(rate, count) == expected


def test_the_layout_of_the_order_in_the_documentation() -> None:
    assert layout(make_order()) == Layout(columns=6, rows=4, copies=6, slots=30, size=4, microjobs=8)
    assert [layout(make_order()).slots_of(index) for index in range(8)] == [4] * 7 + [2]


@pytest.mark.parametrize(
    ("columns", "rows", "operators", "size", "microjobs"),
    [
        (1, 1, "a", 1, 1),  # one block: one micro job, nothing to shrink
        (2, 1, "a", 1, 2),  # two micro jobs for the one worker
        (4, 1, "abc", 1, 4),  # never below one block: one worker has two, two have one
        (2, 1, "abc", 1, 2),  # a surplus worker idles
        (8, 4, "a", 4, 8),  # the ordered size where that gives two each
        (5, 3, "abc", 2, 8),  # 15 slots: size 4 gives 4, size 3 gives 5, size 2 gives 8
    ],
)
def test_micro_jobs_shrink_until_there_are_two_per_worker(
    columns: int, rows: int, operators: str, size: int, microjobs: int
) -> None:
    counts = layout(sized(columns, rows, operators=operators, duplicates=0))
    assert (counts.size, counts.microjobs) == (size, microjobs)
    assert sum(counts.slots_of(index) for index in range(microjobs)) == counts.slots == columns * rows


def test_a_job_of_too_many_micro_jobs_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match="block side above 8"):
        layout(sized(128, 65, blocks_per_microjob=1, duplicates=0))
    assert layout(sized(128, 64, blocks_per_microjob=1, duplicates=0)).microjobs == 8192


def test_blocks_cover_the_output_once_and_edge_blocks_are_smaller() -> None:
    spec = make_order(source_width=25, source_height=10, target_width=50, target_height=20, depth=16)
    counts = layout(spec)
    regions = [block_region(spec, counts, block) for block in range(counts.blocks)]
    assert regions[0] == Region(0, 0, 16, 16)
    assert regions[-1] == Region(48, 16, 50, 20)
    assert sorted((x, y) for r in regions for x in range(r.x0, r.x1) for y in range(r.y0, r.y1)) == sorted(
        (x, y) for x in range(50) for y in range(20)
    )
    assert block_length(spec, counts, 0) == 16 * 16 * 3 * 2
    assert block_length(spec, counts, counts.blocks - 1) == 2 * 4 * 3 * 2


def test_a_plan_holds_every_block_once_and_every_drawn_copy_once() -> None:
    drawn = plan(make_order(), SEED)
    held = Counter(slot for microjob in drawn.microjobs for slot in microjob.slots)
    copies = set(draw(b"tallystick/duplicates/v1\n" + SEED, 6, 24))
    assert held == Counter(
        {Slot(block, copy=False): 1 for block in range(24)} | {Slot(b, copy=True): 1 for b in copies}
    )
    assert drawn.duplicated() == copies
    assert drawn.referee_copies == ()
    assert [microjob.macrojob for microjob in drawn.microjobs] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert [microjob.seat for microjob in drawn.microjobs] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_the_plan_is_the_permutation_drawn_from_the_seed_with_the_least_of_swaps() -> None:
    spec = make_order()
    drawn, counts = plan(spec, SEED), layout(spec)
    items = [Slot(block, copy=False) for block in range(24)]
    items += [Slot(block, copy=True) for block in sorted(draw(b"tallystick/duplicates/v1\n" + SEED, 6, 24))]
    drawn_order = [items[index] for index in draw(b"tallystick/permutation/v1\n" + SEED, counts.slots, counts.slots)]
    final = [slot for microjob in drawn.microjobs for slot in microjob.slots]
    conflicts = sum(
        1
        for block in drawn.duplicated()
        if len({drawn_order.index(Slot(block, copy=copy)) // counts.size % 3 for copy in (False, True)}) == 1
    )
    assert conflicts
    assert sum(a != b for a, b in zip(drawn_order, final, strict=True)) <= 2 * conflicts


def test_the_same_seed_gives_the_same_plan_and_another_another() -> None:
    assert plan(make_order(), SEED) == plan(make_order(), SEED)
    assert plan(make_order(), SEED) != plan(make_order(), sha256(b"another"))


def test_with_one_operator_the_referee_computes_the_copies() -> None:
    drawn = plan(make_order("aaa"), SEED)
    assert drawn.layout.slots == 24
    assert not any(slot.copy for microjob in drawn.microjobs for slot in microjob.slots)
    assert drawn.referee_copies == tuple(sorted(draw(b"tallystick/duplicates/v1\n" + SEED, 6, 24)))
    assert drawn.duplicated() == set(drawn.referee_copies)


def test_copies_of_everything_at_two_operators_are_still_separated() -> None:
    spec = make_order("ab", duplicates=1_000_000)
    drawn = plan(spec, SEED)
    for block in range(24):
        held = [spec.pool[m.seat].operator for m in drawn.microjobs for slot in m.slots if slot.block == block]
        assert len(held) == len(set(held)) == 2


def test_a_pool_in_which_copies_must_meet_is_refused_before_any_seed_is_drawn() -> None:
    spec = make_order("aaab", duplicates=1_000_000)
    with pytest.raises(PolicyError, match="add operators, or use fewer duplicates"):
        check_separable(spec, layout(spec))
    with pytest.raises(PolicyError, match="would hold 36 of 48 slots"):
        plan(spec, SEED)
    check_separable(make_order("aaa", duplicates=1_000_000), layout(make_order("aaa")))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"placement": Placement.HIDDEN}, "leave the rate of duplicates at 0"),
        ({"task_type": TaskType.RENDER}, "render"),
        ({"law": VerificationClass.TOLERANT}, "TOLERANT"),
        ({"ringers": 1}, "without ringers"),
        ({"kernel": "bicubic"}, "no reference for kernel 'bicubic'"),
        ({"target_width": 97}, "must be 96 x 64, not 97 x 64"),
        ({"scale": "3"}, "must be 144 x 96"),
    ],
)
def test_an_order_that_cannot_be_judged_is_refused_with_what_to_order(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        check_task(make_order(**changes))
    with pytest.raises(UsageError, match=reason):
        plan(make_order(**changes), SEED)


def test_the_target_size_is_rounded_per_axis_and_never_zero() -> None:
    check_task(make_order(scale="1/3", source_width=2, source_height=1, target_width=1, target_height=1))
    check_task(make_order(scale="3/2", source_width=3, source_height=5, target_width=5, target_height=8))


def test_seats_take_micro_jobs_in_turn() -> None:
    spec = make_order()
    counts = layout(spec)
    assert [seat_of(spec, index) for index in range(8)] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [microjobs_of_seat(spec, counts, seat) for seat in range(3)] == [3, 3, 2]
    assert [slots_of_seat(spec, counts, seat) for seat in range(3)] == [12, 10, 8]
