"""How the anchors of a home stand, as data for people and programs; asks nothing of any chain.

Knows the newest Anchored entry of a chain and what is in flight. Refuses to know how either came about.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from tallystick.ledger.payloads import Anchored
from tallystick.ledger.transactions import decode
from tallystick.node.anchor_words import Phase
from tallystick.node.book import Book


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest Anchored entry of a chain, and its log index."""

    index: int
    payload: Anchored


@dataclass(frozen=True, slots=True)
class Status:
    """How anchoring stands; ``failing_since`` (ms UTC) is None while the chain answers.

    ``size`` is that of the checkpoint in flight, ``variants`` how many transactions were signed for it, ``waiting`` how
    many entries the newest anchor does not cover. ``asked`` while somebody asked for an anchor that has not begun.
    """

    chain: str
    contract: str | None
    recorder: str
    embedded: bool
    policy: str
    phase: Phase
    waiting: int
    newest: Newest | None
    size: int | None = None
    nonce: int | None = None
    variants: int = 0
    block: int | None = None
    held_fee: int | None = None
    error: str | None = None
    failing_since: int | None = None
    asked: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the status as programs read it."""
        return {
            "chain": self.chain,
            "contract": self.contract,
            "recorder": self.recorder,
            "embedded": self.embedded,
            "policy": self.policy,
            "phase": self.phase.value,
            "waitingEntries": self.waiting,
            "newest": None if self.newest is None else anchor_json(self.newest),
            "inFlight": None
            if self.size is None
            else {"size": self.size, "nonce": self.nonce, "variants": self.variants, "block": self.block},
            "heldFeeWei": None if self.held_fee is None else str(self.held_fee),
            "error": self.error,
        }


def anchor_json(newest: Newest) -> dict[str, Any]:
    """Return one anchor as programs read it; ``anchor.txHash`` is the chain's own."""
    said = newest.payload
    return {
        "index": newest.index,
        "size": said.size,
        "root": said.root,
        "assetCid": said.asset_cid,
        "chain": said.chain,
        "contract": said.contract,
        "recorder": said.recorder,
        "txHash": f"0x{said.tx_hash}",
        "block": said.block,
        "blockHash": f"0x{said.block_hash}",
    }


def reading(book: Book) -> AbstractContextManager[object]:
    """Hold off the ledger's thread, where there is one, while log and index are read."""
    lock: AbstractContextManager[object] = getattr(book, "lock", nullcontext())
    return lock


def newest_anchor(book: Book, chain: str) -> Newest | None:
    """Return the newest anchor of a chain."""
    with reading(book):
        for index in reversed(book.engine.index.anchors):
            payload = decode(book.engine.entry(index)).payload
            if isinstance(payload, Anchored) and payload.chain == chain:
                return Newest(index, payload)
    return None
