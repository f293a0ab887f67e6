"""How often callers without a token may do something in an hour: each, and all together, since keys cost nothing.

Spent by the call, and back as time passes; a restart begins anew.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

from tallystick.errors import LimitError

HOUR_MS: Final = 3_600_000
EVERYBODY: Final = ""


@dataclass(slots=True)
class Allowance:
    """So many calls an hour for one and for all, at most an hour's worth at once; any thread may spend them."""

    what: str
    one: int
    all: int
    _spent: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Whose, until when: calls times the milliseconds of an hour, so that nothing that comes back is rounded away."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spend(self, account: str, now: int) -> None:
        """Take one call at UTC milliseconds.

        Raises:
            LimitError: none is left; nothing was taken.
        """
        with self._lock:
            mine = self._after(account, self.one, now)
            every = self._after(EVERYBODY, self.all, now)
            if mine > self.one * HOUR_MS:
                raise LimitError(f"{self.what}: at most {self.one} an hour, later ones try again or bring a token")
            if every > self.all * HOUR_MS:
                raise LimitError(f"{self.what}: at most {self.all} an hour for all without a token: try again later")
            self._spent[account], self._spent[EVERYBODY] = (mine, now), (every, now)
            self._forget(now)

    def _after(self, account: str, hourly: int, now: int) -> int:
        """Return what would be spent after one call more."""
        spent, since = self._spent.get(account, (0, now))
        return max(0, spent - hourly * max(0, now - since)) + HOUR_MS

    def _forget(self, now: int) -> None:
        """Let go of accounts that have everything back."""
        if len(self._spent) > self.all:
            gone = [account for account, (_, since) in self._spent.items() if since + HOUR_MS < now]
            for account in gone:
                del self._spent[account]
