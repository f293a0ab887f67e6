"""A worker's commitment on its way to the log, and what becomes durable with it.

Knows the keys of private notes. Refuses to know lines, and whether the ledger takes the commitment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tallystick.commitment import Opening
from tallystick.errors import MalformedError
from tallystick.ledger.payloads import SubmitResult
from tallystick.ledger.transactions import Transaction
from tallystick.node.deliveries import advance_key, delivery_key, spell_delivery, spell_openings
from tallystick.node.pieces import Out

UNANSWERED_MAX: Final = 512
"""Commitments of one line that the log did not answer yet; an honest worker has one for each piece it holds."""

Notes = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A commitment on its way to the log: which line sent it, and whether its bytes are noted with it."""

    number: int
    out: Out
    transaction: Transaction
    noted: bool


def root_of(transaction: Transaction) -> bytes:
    """Return the root that an entry commits to.

    Raises:
        MalformedError: it commits to none.
    """
    payload = transaction.payload
    if not isinstance(payload, SubmitResult):
        raise MalformedError("commitment", f"{transaction.type} carries no root")
    return bytes.fromhex(payload.result_hash)


def delivery_notes(out: Out) -> Notes:
    """Return the note of what was delivered, nothing before all of it is there."""
    piece, outputs = out.piece, out.outputs
    if outputs is None:
        return ()
    return ((delivery_key(piece.job_id, piece.attempt, piece.microjob), spell_delivery(outputs)),)


def trusted_notes(out: Out, openings: tuple[Opening, ...] | None) -> Notes:
    """Return the note of openings that came with a root; one more than due shows the judge that they are too many."""
    if openings is None:
        return ()
    piece, kept = out.piece, openings[: len(out.microjob.slots) + 1]
    return ((advance_key(piece.job_id, piece.attempt, piece.microjob), spell_openings({piece.microjob: kept})),)
