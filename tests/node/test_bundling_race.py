"""A bundle that is written while others log is of one moment: its proofs lead to its checkpoint."""

from __future__ import annotations

import threading
import time

from tallystick.audit.bundle import parse
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft
from tallystick.node.bundling import bundle
from tallystick.node.feed import Feed
from tallystick.node.ledger_thread import SharedBook
from tallystick.node.sequencer import Submission
from tallystick.primitives.merkle import check_inclusion, leaf_hash
from tallystick.primitives.notes import Checkpoint, split_note
from tests.worlds import ALL, JOB, done

MOMENTS = 12


def test_a_bundle_written_while_others_log_is_of_one_moment() -> None:
    world = done(**ALL)
    node, stop = world.node, threading.Event()
    book = SharedBook(node.book.engine, lambda _transaction, _index: None, Feed(lambda _error: None))
    book.start()
    gift = Submission((Draft(node.identity.faucet(), say.Transfer(node.identity.requester().address, "1")),))

    def log() -> None:
        while not stop.is_set():
            book.must(gift)

    others = threading.Thread(target=log)
    others.start()
    sizes: set[int] = set()
    until = time.monotonic() + 60
    try:
        while len(sizes) < MOMENTS and time.monotonic() < until:
            written = parse(bundle(book, node.ports.store, JOB))
            said = Checkpoint.parse(split_note(written.checkpoint)[0])
            sizes.add(said.size)
            for each in written.entries:
                path = tuple(bytes.fromhex(digest) for digest in each.proof)
                check_inclusion(leaf_hash(bytes(each.entry)), each.index, said.size, path, said.root)
    finally:
        stop.set()
        others.join()
        book.close()
    assert len(sizes) == MOMENTS
