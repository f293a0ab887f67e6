"""Every number of docs/guides/what-can-slip.md, from the functions that judge an order."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from tallystick.errors import PolicyError
from tallystick.hiding import frame, hide
from tallystick.job import Placement
from tallystick.slicing import layout, share
from tallystick.verification.deterrence import (
    audit_rate,
    check_policy,
    copies_of_the_rest,
    detection,
    inside,
    least_audit,
    missed_by_checker,
    missed_by_copies,
    unseen_by_copies,
)
from tests.orders import SEED, make_order, sized

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "what-can-slip.md"
AUDIT, DUPLICATES = 130_000, 62_500
COUNTS = layout(
    make_order(
        "aaa",
        source_width=2048,
        source_height=2048,
        target_width=4096,
        target_height=4096,
        block=256,
        blocks_per_microjob=16,
        duplicates=DUPLICATES,
        audit=AUDIT,
    )
)
SPEC_IN_HIDING = make_order(
    "abc",
    source_width=2048,
    source_height=2048,
    target_width=4096,
    target_height=4096,
    block=256,
    blocks_per_microjob=16,
    microjobs_per_macrojob=10,
    placement=Placement.HIDDEN,
    duplicates=0,
)
IN_HIDING = layout(SPEC_IN_HIDING)
FRAME = frame(IN_HIDING.blocks, IN_HIDING.size, 10, tuple(seat.operator for seat in SPEC_IN_HIDING.pool))
assert FRAME is not None
GROUP_SIZES = [len(group.members) for group in hide(FRAME, SEED).groups]


def percent(chance: Fraction) -> str:
    return f"{float(100 * chance):.2f} %"


def seen() -> str:
    """The table: how likely a forged set is seen in the order of the page."""
    audited = share(AUDIT, COUNTS.microjobs)
    sizes = [COUNTS.slots_of(index) for index in range(COUNTS.microjobs)]
    mine = [index for index in range(COUNTS.microjobs) if index % 3 == 0]
    cases = [
        ("1", "one block", {0: 1}),
        ("4", "in one micro job", {0: 4}),
        ("16", "one whole micro job", {0: 16}),
        ("6", "one in each of a worker's six", dict.fromkeys(mine, 1)),
        ("24", "a quarter of a worker's work", dict.fromkeys(mine, 4)),
        ("96", "all of a worker's work", dict.fromkeys(mine, 16)),
    ]
    rows = ["| forged | where | seen by copies alone | seen | slips |", "|---|---|---|---|---|"]
    for count, where, each in cases:
        forged = [each.get(index, 0) for index in range(COUNTS.microjobs)]
        assert sum(forged) == int(count)
        chance = detection(sizes, forged, blocks=COUNTS.blocks, copies=COUNTS.copies, audited=audited, sampled=1)
        copies = 1 - missed_by_copies(COUNTS.blocks, COUNTS.copies, sum(forged))
        rows.append(f"| {count} | {where} | {percent(copies)} | {percent(chance)} | {percent(1 - chance)} |")
    return "\n".join(rows)


def rates() -> str:
    """The least rate, for some shares of colluding auditors and some outside gains."""
    rows = ["| r | G = 0 | G = C | G = 5 C |", "|---|---|---|---|"]
    for tenths in (0, 3, 5):
        found = [audit_rate(12, 10, 100, gain=gain, colluding=Fraction(tenths, 10)) for gain in (0, 10, 50)]
        cells = [percent(rate) if rate <= 1 else "none" for rate in found]
        rows.append(f"| 0.{tenths} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def rounding() -> str:
    """The numbers of micro jobs whose share of audits falls below the bound at the default rate."""
    bound = audit_rate(12, 10, 100)
    below = [count for count in range(1, 8193) if Fraction(share(AUDIT, count), count) < bound]
    assert all(share(AUDIT, count) == 0 for count in below)
    return ", ".join(map(str, below))


def hidden() -> str:
    """The order of the page in hiding: blocks forged in one micro job, and what a copy sees of them."""
    sizes = GROUP_SIZES[0]
    rows = [
        "| forged in one micro job | by its one certain copy | by its checker | by as many spread copies |",
        "|---|---|---|---|",
    ]
    for forged in (1, 2, 4, 8, 16):
        bad = [forged] + [0] * (sizes - 1)
        one, all_of_it = Fraction(forged, 16), 1 - missed_by_checker([16] * sizes, bad, 16)
        assert one == 1 - missed_by_checker([16] * 16, [forged] + [0] * 15, 16)
        spread = 1 - missed_by_copies(IN_HIDING.blocks, IN_HIDING.copies, forged)
        rows.append(f"| {forged} | {percent(one)} | {percent(all_of_it)} | {percent(spread)} |")
    return "\n".join(rows)


def league() -> str:
    """What no copy sees of a coalition, and how much of the rest is executed again, at equal cost."""
    v = Fraction(1, 16)
    rows = ["| in league | c | unseen, hidden | unseen, spread | v′ spread |", "|---|---|---|---|---|"]  # noqa: RUF001
    for colluding, operators in ((1, 3), (2, 3), (2, 11), (11, 101), (31, 101), (51, 101)):
        c = inside(colluding, operators)
        unseen = [unseen_by_copies(placement, v, c) for placement in (Placement.HIDDEN, Placement.SPREAD)]
        cells = [percent(each) for each in (c, *unseen, copies_of_the_rest(v, c))]
        rows.append(f"| {colluding} of {operators} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


COMPUTED = {"seen": seen, "hidden": hidden, "league": league, "rates": rates, "rounding": rounding}


def render(text: str) -> str:
    for name, make in COMPUTED.items():
        begin, end = f"<!-- computed: {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        assert found, name
        text = before + begin + make() + "\n" + rest[rest.index(end) :]
    return text


def test_every_number_of_the_guide_is_the_computed_one() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert render(text) == text
    assert (COUNTS.blocks, COUNTS.copies, COUNTS.microjobs, share(AUDIT, COUNTS.microjobs)) == (256, 16, 16, 2)
    stated = re.findall(r"T = (\d+), D = (\d+),\s+M = (\d+), A = (\d+)", text)
    assert stated == [("256", "16", "16", "2")]
    before = sum(missed_by_copies(256, 16, forged) for forged in range(1, 257))
    assert f"(T − D)/(D + 1) = {float(before):.1f} blocks" in text  # noqa: RUF001 - the page's minus
    assert before == Fraction(256 - 16, 16 + 1)


def test_the_hidden_order_of_the_page_and_its_costs() -> None:
    assert (IN_HIDING.size, IN_HIDING.microjobs, IN_HIDING.copies) == (16, 18, 32)
    for number in range(50):
        assert FRAME is not None
        assert [len(each.members) for each in hide(FRAME, bytes([number]) * 32).groups] == GROUP_SIZES == [8, 8]
    stated = re.findall(r"(\d+) blocks cost (\d+) %", PAGE.read_text(encoding="utf-8"))
    assert len(stated) == 2
    for blocks, cost in stated:
        side = {"160": (16, 10), "1600": (40, 40)}[blocks]
        spec = sized(
            *side,
            operators="abcde",
            placement=Placement.HIDDEN,
            duplicates=0,
            blocks_per_microjob=16,
            microjobs_per_macrojob=10,
        )
        counts = layout(spec)
        assert (counts.blocks, counts.size, 100 * counts.copies) == (int(blocks), 16, int(cost) * int(blocks))


def test_at_audit_rate_1_nothing_slips() -> None:
    sizes = [COUNTS.slots_of(index) for index in range(COUNTS.microjobs)]
    for place in range(COUNTS.microjobs):
        forged = [int(index == place) for index in range(COUNTS.microjobs)]
        everything = {"blocks": 256, "copies": 0, "audited": share(1_000_000, COUNTS.microjobs), "sampled": 16}
        assert detection(sizes, forged, **everything) == 1


def test_small_orders_are_refused_at_the_default_rate_and_told_the_repair() -> None:
    """Three micro jobs or fewer: nothing would be audited."""
    small = sized(3, 1, operators="a", audit=AUDIT, duplicates=0, blocks_per_microjob=1)
    assert layout(small).microjobs == 3
    least = least_audit(1200, 1000, 40_000, Fraction(1), 3)
    with pytest.raises(PolicyError, match=f"raise the audit rate to {least} per million"):
        check_policy(small, layout(small))
    assert layout(sized(24, 1, operators="a", duplicates=DUPLICATES)).copies == 2
