"""A worker's line as the exchange sees it, whatever it is made of, and what others may see of the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tallystick.ledger.transactions import Transaction
from tallystick.node.floor import Piece
from tallystick.node.pieces import Out


class Line(Protocol):
    """One connected worker. Every call returns at once, from any thread; what cannot be sent closes the line."""

    def piece(self, out: Out, lease: int) -> None:
        """Send a micro job."""
        ...

    def challenge(self, out: Out) -> None:
        """Ask for openings."""
        ...

    def receipt(self, piece: Piece, transaction: Transaction, index: int) -> None:
        """Say that a commitment is durable."""
        ...

    def refused(self, piece: Piece, reason: str, nonce: int) -> None:
        """Say why something does not count."""
        ...

    def cancel(self, piece: Piece, reason: str) -> None:
        """Call a piece back."""
        ...

    def hang_up(self, reason: str) -> None:
        """Close."""
        ...


@dataclass(frozen=True, slots=True)
class Card:
    """A connected worker, as others may see it; ``since`` is when it connected, UTC ms."""

    number: int
    worker: str
    backend: str
    capacity: int
    since: int
