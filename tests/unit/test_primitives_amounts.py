"""Amounts have one spelling; everything near it is refused."""

from __future__ import annotations

import re
from typing import get_args

import msgspec
import pytest

from tallystick.errors import MalformedError
from tallystick.primitives.amounts import (
    WEI_MAX,
    WEI_PER_CPC,
    Wei,
    WeiText,
    format_cpc,
    format_wei,
    parse_cpc,
    parse_wei,
)


@pytest.mark.parametrize("text", ["0", "1", "1500000000000000000", str(WEI_MAX)])
def test_wei_reads_and_writes_the_same_text(text: str) -> None:
    assert format_wei(parse_wei(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "01",
        "+1",
        "-1",
        "1.0",
        "1e3",
        " 1",
        "1 ",
        "1\n",
        "0x1",
        "1_000",
        "\u0661",
        str(WEI_MAX + 1),
        "9" * 5000,
    ],
)
def test_wei_refuses_every_other_spelling(text: str) -> None:
    with pytest.raises(MalformedError, match="amount in wei"):
        parse_wei(text)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("1", WEI_PER_CPC),
        ("1.5", 3 * WEI_PER_CPC // 2),
        ("1.50", 3 * WEI_PER_CPC // 2),
        ("0.000000000000000001", 1),
        ("0.0", 0),
    ],
)
def test_cpc_reads_what_people_write(text: str, amount: int) -> None:
    assert parse_cpc(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", ".5", "1.", "+1", "-1", "1e2", "1,5", "01", "1.5\n", "1.\u0665", "0.0000000000000000001", "9" * 61, "inf"],
)
def test_cpc_refuses_signs_exponents_and_too_many_decimals(text: str) -> None:
    with pytest.raises(MalformedError, match="amount in CPC"):
        parse_cpc(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (1, "0.000000000000000001"), (WEI_PER_CPC, "1"), (15 * 10**17, "1.5"), (10**20, "100")],
)
def test_cpc_is_written_without_trailing_zeros(amount: int, text: str) -> None:
    assert format_cpc(Wei(amount)) == text


@pytest.mark.parametrize("amount", [-1, WEI_MAX + 1])
def test_amounts_outside_the_range_have_no_spelling(amount: int) -> None:
    for spell in (format_wei, format_cpc):
        with pytest.raises(MalformedError, match="2\\^256"):
            spell(Wei(amount))


def test_the_wire_pattern_stops_at_the_end_of_the_text() -> None:
    (meta,) = get_args(WeiText)[1:]
    assert re.search(meta.pattern, "10")
    for text in ("10\n", "010", "", "1" * 79, "1a"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode(text), type=WeiText)


def test_the_largest_amount_is_that_of_the_evm() -> None:
    assert parse_wei(str(2**256 - 1)) == WEI_MAX == 2**256 - 1
    assert parse_cpc(format_cpc(Wei(WEI_MAX))) == WEI_MAX
    with pytest.raises(MalformedError, match="between 0"):
        parse_wei(str(2**256))
