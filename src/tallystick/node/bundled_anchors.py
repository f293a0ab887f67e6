"""Which anchors a bundle carries: on every chain the first that covers the job, since that one dates it best."""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from tallystick.audit.bundle import ANCHORS_MAX, AnchorProof, LoggedEntry
from tallystick.ledger.payloads import Anchored
from tallystick.ledger.transactions import decode
from tallystick.node.anchor_outbox import Drawer
from tallystick.node.book import Book
from tallystick.node.ports import Store


def logged(book: Book, index: int) -> LoggedEntry:
    """Return one entry with its inclusion proof under the newest checkpoint."""
    engine = book.engine
    path = tuple(each.hex() for each in engine.tree.inclusion(index))
    return LoggedEntry(index, msgspec.Raw(engine.entry(index)), path)


def anchor_proofs(book: Book, store: Store, last: int) -> tuple[AnchorProof, ...]:
    """Return the first anchor on each chain that covers entry ``last``; without its checkpoint none is shown."""
    engine, drawer = book.engine, Drawer(store)
    found: dict[str, AnchorProof] = {}
    anchors = engine.index.anchors
    for index in anchors[bisect_right(anchors, last) :]:
        payload = decode(engine.entry(index)).payload
        if not isinstance(payload, Anchored) or payload.size <= last or payload.chain in found:
            continue
        note = drawer.note(payload.chain, payload.size)
        if note is not None and len(found) < ANCHORS_MAX:
            path = tuple(each.hex() for each in engine.tree.consistency(payload.size))
            found[payload.chain] = AnchorProof(logged(book, index), note, path)
    return tuple(found.values())
