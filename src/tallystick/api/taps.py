"""How much play money flows in an hour: to one account, and to all together, so that nobody pours the faucet empty.

Keys cost nothing, so a bound per account alone would bound nobody; the bound for all alone would let one account take
everybody's share. Counts whole CPC, each call at least one, so that the bounds hold for entries of the log too. Hours
are those of the clock; a restart begins anew.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

from tallystick.errors import LimitError
from tallystick.primitives.amounts import WEI_PER_CPC

HOUR_MS: Final = 3_600_000


class Taps:
    """What flowed in this hour, by account."""

    def __init__(self, account_cpc: int, all_cpc: int) -> None:
        """Begin dry; both bounds are CPC per hour."""
        self._account_cpc, self._all_cpc = account_cpc, all_cpc
        self._hour = 0
        self._flowed: Counter[str] = Counter()
        self._total = 0
        self._lock = threading.Lock()

    def pour(self, account: str, wei: int, now: int) -> None:
        """Count what an account is about to get, at ``now`` in UTC ms.

        Raises:
            LimitError: it, or all together, had as much in this hour as there is; nothing was counted.
        """
        cpc = max(1, -(-wei // WEI_PER_CPC))
        with self._lock:
            if now // HOUR_MS != self._hour:
                self._hour, self._total = now // HOUR_MS, 0
                self._flowed.clear()
            if self._flowed[account] + cpc > self._account_cpc:
                raise LimitError(f"an account gets at most {self._account_cpc} CPC of play money an hour")
            if self._total + cpc > self._all_cpc:
                raise LimitError(f"all accounts together get at most {self._all_cpc} CPC of play money an hour")
            self._flowed[account] += cpc
            self._total += cpc
