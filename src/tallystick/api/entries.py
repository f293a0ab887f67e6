"""An entry of the log as an answer: its place, its two names, and its canonical JSON as it stands."""

from __future__ import annotations

from typing import Any

import msgspec

from tallystick.primitives.cids import raw_cid
from tallystick.primitives.digests import sha256


class EntryView(msgspec.Struct, frozen=True):
    """One entry with its names."""

    index: int
    nid: str
    tx_hash: str
    entry: dict[str, Any]


class ReceiptView(msgspec.Struct, frozen=True):
    """Where an entry stands, and how it is called."""

    index: int
    nid: str
    tx_hash: str


def view_entry(index: int, entry: bytes) -> EntryView:
    """Name an entry."""
    digest = sha256(entry)
    return EntryView(index, raw_cid(digest), f"0x{digest.hex()}", msgspec.json.decode(entry, type=dict[str, Any]))
