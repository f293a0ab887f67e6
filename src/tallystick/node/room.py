"""How much one node takes on, and how much of it one account gets: orders that wait, and their inputs on its disk.

Keys cost nothing, so whoever signs with a key of its own shares one allowance with all others who do. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tallystick.errors import LimitError
from tallystick.job import JobSpec
from tallystick.kernels.raster import Raster
from tallystick.node.ordering import Wish

ADDRESS_PREFIX: Final = "cpc1"
"""How an account is called whose own key signs; no account that a node keeps is called so."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one node takes on: jobs at once, their decoded bytes together, orders and input bytes that wait.

    ``account_`` is for one account, ``strangers_`` for all together that are known by nothing but a key.
    """

    running: int = 16
    bytes: int = 3 << 30
    queued: int = 10_000
    account_queued: int = 2_000
    account_bytes: int = 4 << 30
    strangers_queued: int = 5_000
    strangers_bytes: int = 16 << 30


def is_stranger(account: str) -> bool:
    """Tell whether an account is known by nothing but its key."""
    return account.startswith(ADDRESS_PREFIX)


def weight(raster: Raster, spec: JobSpec) -> int:
    """Estimate the bytes that a job holds: its decoded input, twice while it is being handed out, and one strip."""
    return 2 * raster.samples.nbytes + spec.task.target_width * spec.grid.block * 8


def check_room(limits: Limits, account: str, size: int, unfinished: Iterable[Wish]) -> None:
    """Check that one more order of an account, with so many bytes of input, finds room.

    Raises:
        LimitError: too many wait already.
    """
    held = [(wish.account, wish.size) for wish in unfinished]
    if len(held) >= limits.queued:
        raise LimitError(f"{len(held)} orders wait already: try again later")
    mine = [each for each in held if each[0] == account]
    _check(f"account {account}", mine, size, limits.account_queued, limits.account_bytes)
    if is_stranger(account):
        theirs = [each for each in held if is_stranger(each[0])]
        _check("callers without a token", theirs, size, limits.strangers_queued, limits.strangers_bytes)


def _check(whose: str, held: list[tuple[str, int]], size: int, orders: int, octets: int) -> None:
    if len(held) >= orders:
        raise LimitError(f"{len(held)} orders of {whose} are not done: try again when some are")
    if sum(each for _, each in held) + size > octets:
        raise LimitError(f"inputs of {whose} that wait take at most {octets} bytes: try again when some are done")
