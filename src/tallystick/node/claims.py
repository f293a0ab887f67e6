"""A worker's commitment on its way to the log, what becomes durable with it, and where its root stands afterwards.

Knows the keys of private notes. Refuses to know lines, and whether the ledger takes the commitment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tallystick.commitment import Opening
from tallystick.errors import MalformedError
from tallystick.ledger.payloads import SubmitResult
from tallystick.ledger.records import Overlay, Result, result_key
from tallystick.ledger.transactions import Transaction, decode
from tallystick.node.deliveries import advance_key, delivery_key, spell_delivery, spell_openings
from tallystick.node.floor import Piece
from tallystick.node.ledger_thread import SharedBook
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


def piece_of(transaction: Transaction) -> Piece | None:
    """Return the piece that an entry commits for, None if it is no commitment."""
    payload = transaction.payload
    return Piece(payload.task_id, payload.attempt, payload.microjob) if isinstance(payload, SubmitResult) else None


def standing(book: SharedBook, transaction: Transaction) -> tuple[int, Transaction] | None:
    """Return the entry that brought the same root of the same worker, with its index; None where that does not stand.

    Both are equal in what was signed, whatever their numbers; the one that is returned is the one in the log.
    """
    payload = transaction.payload
    if not isinstance(payload, SubmitResult):
        return None
    key = result_key(payload.task_id, payload.attempt, payload.microjob)
    found = Overlay(book.engine.view).find(Result, key)
    if found is None or (found.worker, found.root) != (transaction.sender.hex(), payload.result_hash):
        return None
    with book.lock:
        index = next(iter(book.engine.index.find(bytes.fromhex(found.tx_hash.removeprefix("0x")))), None)
        return None if index is None else (index, decode(book.engine.entry(index)))


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
