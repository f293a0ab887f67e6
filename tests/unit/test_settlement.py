import msgspec
import pytest

from tallystick.job import JobSpec
from tallystick.ledger.settlement import Counted, Quote, Settlement, audited_blocks_max, exposure, quote, settle
from tallystick.slicing import layout
from tests.orders import make_order

# 24 blocks, 6 copies, 8 micro jobs of 4 slots (the last has 2); 1200 wei a block, 1000 to the referee; S 40000, s 3000.
HELD = quote(make_order()).total


def counted(accepted: int, refuted: int = 0, unavailable: int = 0, faulted: int = 0, absent: int = 0) -> Counted:
    return Counted("w", accepted, refuted, unavailable, faulted, absent)


def divided(lines: list[Counted], *, checked: int = 2, redone: int = 0, spec: JobSpec | None = None) -> Settlement:
    order = make_order() if spec is None else spec
    bonds = [exposure(order, layout(order), seat) for seat in range(len(lines))]
    division = settle(order, HELD, lines, checked=checked, redone=redone, bonds=bonds)
    held_before = HELD + sum(division.slashes)
    assert division.paid + division.referee_fee + division.burned + division.refund == held_before
    assert min(*division.amounts, *division.slashes, division.referee_fee, division.burned, division.refund) >= 0
    return division


def test_the_quote_is_the_sum_of_what_can_be_asked() -> None:
    assert quote(make_order()) == Quote(work=24 * 1200, duplicates=6 * 1200, audits=2 * 1000, reserve=6 * 1000)
    assert quote(make_order("aaa")) == Quote(work=24 * 1200, duplicates=6 * 1000, audits=2 * 1000, reserve=6 * 1000)
    assert quote(make_order("aaa")).total == 42_800


@pytest.mark.parametrize(
    ("rate", "blocks", "most"),
    [(0, 1, 0), (250_000, 1, 2), (250_000, 3, 6), (250_000, 9, 8), (1_000_000, 1, 8), (1_000_000, 9, 24)],
)
def test_audits_can_ask_for_the_largest_micro_jobs_and_no_block_twice(rate: int, blocks: int, most: int) -> None:
    spec = make_order(audit=rate, audit_blocks=blocks)
    assert audited_blocks_max(spec, layout(spec)) == most


def test_a_full_audit_reserves_no_more_than_the_blocks_there_are() -> None:
    spec = make_order(audit=1_000_000, audit_blocks=4)
    assert layout(spec).slots == 30
    assert audited_blocks_max(spec, layout(spec)) == 24


def test_a_bond_covers_every_open_micro_job() -> None:
    spec = make_order()
    assert [exposure(spec, layout(spec), seat) for seat in range(3)] == [120_000, 120_000, 80_000]


def test_an_honest_job_pays_every_slot_and_returns_the_reserve() -> None:
    division = divided([counted(12), counted(10), counted(8)])
    assert division.amounts == (14_400, 12_000, 9_600)
    assert division.slashes == (0, 0, 0)
    assert (division.referee_fee, division.burned, division.refund) == (2_000, 0, HELD - 36_000 - 2_000)


def test_a_refuted_worker_is_unpaid_also_for_what_was_accepted() -> None:
    division = divided([counted(12), counted(7, 3, faulted=1), counted(8)], redone=9)
    assert division.amounts == (14_400, 0, 9_600)
    assert division.slashes == (0, 40_000, 0)


def test_the_slash_pays_the_redo_and_the_rest_is_burned() -> None:
    division = divided([counted(12), counted(7, 3, faulted=1), counted(8)], redone=9)
    assert division.referee_fee == 2_000 + 9_000
    assert division.burned == 40_000 - 9_000
    assert division.refund == HELD - 24_000 - 2_000


def test_a_redo_beyond_the_slashes_is_paid_from_what_was_not_earned() -> None:
    division = divided([counted(12), counted(6, unavailable=4, absent=1), counted(8)], redone=4)
    assert division.slashes == (0, 3_000, 0)
    assert division.amounts == (14_400, 7_200, 9_600)
    assert (division.referee_fee, division.burned) == (2_000 + 4_000, 0)
    assert division.refund == HELD - 31_200 - 3_000


def test_a_slash_never_exceeds_what_the_job_locked_of_the_bond() -> None:
    spec = make_order(absence="999999")
    division = divided([counted(0, unavailable=12, absent=3), counted(10), counted(8)], redone=12, spec=spec)
    assert division.slashes == (120_000, 0, 0)


def test_the_referee_is_never_paid_more_than_the_escrow_holds() -> None:
    spec = make_order(referee_block="9000", stake="0", absence="0")
    division = divided([counted(0, 12, faulted=3), counted(10), counted(8)], redone=12, spec=spec)
    assert division.slashes == (0, 0, 0)
    assert division.refund == 0
    assert division.referee_fee == HELD - division.paid


def test_faults_of_several_micro_jobs_add_up() -> None:
    division = divided([counted(0, 8, 4, faulted=2, absent=1), counted(10), counted(8)], redone=12)
    assert division.slashes[0] == 2 * 40_000 + 3_000


def test_the_same_counts_give_the_same_division_for_every_price() -> None:
    free = msgspec.structs.replace(make_order(), price=msgspec.structs.replace(make_order().price, block="0"))
    division = settle(free, 0, [counted(30)], checked=0, redone=0, bonds=[0])
    assert division == Settlement((0,), (0,), 0, 0, 0)
