"""How much play money flows: to one account, to all together, hour by hour."""

from __future__ import annotations

import pytest

from tallystick.api.settings import Bounds
from tallystick.api.taps import HOUR_MS, Taps
from tallystick.errors import LimitError
from tallystick.node.identity import FAUCET_CPC
from tallystick.primitives.amounts import WEI_PER_CPC

NOW = 500_000 * HOUR_MS


def test_an_account_gets_so_much_an_hour_and_others_go_on() -> None:
    taps = Taps(10, 25)
    taps.pour("ann", 9 * WEI_PER_CPC, NOW)
    with pytest.raises(LimitError, match="an account gets at most 10"):
        taps.pour("ann", 2 * WEI_PER_CPC, NOW)
    taps.pour("ann", WEI_PER_CPC, NOW)  # what was refused was not counted
    taps.pour("bob", 10 * WEI_PER_CPC, NOW)
    with pytest.raises(LimitError):
        taps.pour("ann", 1, NOW + HOUR_MS - 1)
    taps.pour("ann", 10 * WEI_PER_CPC, NOW + HOUR_MS)


def test_keys_without_end_get_no_more_than_all_together_may() -> None:
    taps = Taps(10, 25)
    for number in range(2):
        taps.pour(f"key-{number}", 10 * WEI_PER_CPC, NOW)
    for number in range(2, 100):
        with pytest.raises(LimitError, match="all accounts together get at most 25"):
            taps.pour(f"key-{number}", 10 * WEI_PER_CPC, NOW)
    taps.pour("late", 5 * WEI_PER_CPC, NOW)


def test_one_wei_counts_as_a_whole_coin_since_it_is_an_entry_too() -> None:
    taps = Taps(10, 25)
    for _ in range(10):
        taps.pour("ann", 1, NOW)
    with pytest.raises(LimitError):
        taps.pour("ann", 1, NOW)


def test_the_usual_bounds_leave_a_faucet_running_for_a_year() -> None:
    bounds = Bounds()
    assert bounds.faucet_cpc <= bounds.faucet_account_cpc <= bounds.faucet_all_cpc
    assert bounds.faucet_all_cpc * 24 * 365 < FAUCET_CPC
