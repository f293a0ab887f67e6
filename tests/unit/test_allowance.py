"""What is shared is spent together, and comes back with time."""

from __future__ import annotations

import pytest

from tallystick.api.allowance import HOUR_MS, Allowance
from tallystick.errors import LimitError

NOW = 1_700_000_000_000


def spend(shared: Allowance, account: str, times: int, now: int) -> None:
    for _ in range(times):
        shared.spend(account, now)


def test_one_spends_its_own_and_all_spend_together() -> None:
    shared = Allowance("entries", 10, 25)
    spend(shared, "a", 10, NOW)
    with pytest.raises(LimitError, match="10 an hour"):
        shared.spend("a", NOW)
    spend(shared, "b", 10, NOW)
    spend(shared, "c", 5, NOW)
    with pytest.raises(LimitError, match="for all"):
        shared.spend("c", NOW)
    with pytest.raises(LimitError, match="for all"):
        shared.spend("d", NOW)


def test_it_comes_back_and_no_more_than_an_hours_worth() -> None:
    shared = Allowance("entries", 10, 1000)
    spend(shared, "a", 10, NOW)
    shared.spend("a", NOW + HOUR_MS // 10)
    with pytest.raises(LimitError):
        shared.spend("a", NOW + HOUR_MS // 10)
    later = NOW + 9 * HOUR_MS
    spend(shared, "a", 10, later)
    with pytest.raises(LimitError):
        shared.spend("a", later)


def test_asking_in_vain_costs_nothing_and_a_clock_that_goes_back_gives_nothing() -> None:
    shared = Allowance("entries", 10, 1000)
    spend(shared, "a", 10, NOW)
    for step in range(100):
        with pytest.raises(LimitError):
            shared.spend("a", NOW + step * HOUR_MS // 1100)
    shared.spend("a", NOW + HOUR_MS // 10)
    with pytest.raises(LimitError):
        shared.spend("a", NOW - HOUR_MS)


def test_who_has_everything_back_is_forgotten() -> None:
    shared = Allowance("entries", 10, 20)
    for number in range(20):
        shared.spend(f"a{number}", NOW)
    for number in range(20):
        shared.spend(f"b{number}", NOW + 2 * HOUR_MS)
    assert len(shared._spent) <= 21
