"""The log of an engine as the world reads it: whatever its newest checkpoint calls for is there, folder or not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import pytest

from tallystick.adapters.tiles import FolderTiles
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft
from tallystick.node.identity import Identity
from tallystick.node.public_log import EngineLog
from tallystick.node.sequencer import Submission
from tallystick.node.solo import SoloEngine
from tallystick.primitives import canonical
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.merkle import check_consistency, leaf_hash
from tallystick.primitives.notes import NoteVerifier
from tallystick.receipts import tlog_proof
from tallystick.receipts.log import TileName, growth
from tallystick.simulation.disk import Disk, SimulatedStore
from tallystick.simulation.world import START, SimulatedClock

IDENTITY: Final = Identity(sha256(b"public log"))
BOB: Final = SigningKey(sha256(b"bob")).address


@pytest.fixture
def book(tmp_path: Path) -> SoloEngine:
    """Blocks of 300 and 9 entries; only the first was published to the folder."""
    parameters = IDENTITY.parameters(IDENTITY.genesis(START))
    book = SoloEngine(
        parameters, SimulatedStore(Disk()), FolderTiles(tmp_path), SimulatedClock(START), publish_every=1 << 40
    )
    assert book.tree.size == 0
    for count in (299, 8):
        book.run([Submission(tuple(Draft(IDENTITY.faucet(), say.Transfer(BOB, "1")) for _ in range(count)))])
    return book


@pytest.fixture
def source(book: SoloEngine, tmp_path: Path) -> EngineLog:
    return EngineLog(book, threading.RLock(), FolderTiles(tmp_path).read)


def test_every_tile_of_every_size_is_there_though_the_folder_lags(
    book: SoloEngine, source: EngineLog, tmp_path: Path
) -> None:
    published = FolderTiles(tmp_path).published()
    assert published is not None
    assert published.splitlines()[1] == "300"
    for size in (1, 255, 256, 257, 300, 309):
        for name, data in growth(book.tree, 0, size, book.entry):
            assert source.tile(name) == data


@pytest.mark.parametrize(
    "name",
    [
        TileName(0, 1),
        TileName(0, 1, 54),
        TileName(None, 1, 54),
        TileName(None, 2, 1),
        TileName(1, 0, 2),
        TileName(9, 0, 1),
    ],
)
def test_nothing_is_there_beyond_the_end(source: EngineLog, name: TileName) -> None:
    assert source.tile(name) is None


def test_entries_are_found_by_digest_and_proven(book: SoloEngine, source: EngineLog) -> None:
    verifier = NoteVerifier.parse(book.genesis.log_vkey)
    for index in (0, 7, 256, 308):
        entry = book.entry(index)
        assert source.index_of(sha256(entry)) == index
        assert source.entry(index) == entry
        proof = source.prove(index)
        held = tlog_proof.check(proof, leaf_hash(entry), origin=book.genesis.log_origin, log=[verifier])
        assert (held.size, proof.checkpoint) == (309, source.checkpoint())
    assert source.index_of(sha256(b"another")) is None
    near = bytearray(sha256(book.entry(5)))
    near[-1] ^= 1  # the index looks at the first bytes only
    assert source.index_of(bytes(near)) is None


def test_consistency_holds_between_any_two_sizes_it_had(source: EngineLog) -> None:
    proof = source.consistency(300, 309)
    assert proof is not None
    check_consistency(300, 309, proof, source.root(300), source.root(309))
    assert source.consistency(309, 300) is source.consistency(300, 310) is source.consistency(-1, 5) is None


def test_an_empty_log_says_so_and_has_its_first_page(tmp_path: Path) -> None:
    genesis = IDENTITY.genesis(START)
    store, tiles = SimulatedStore(Disk()), FolderTiles(tmp_path)
    empty = EngineLog(
        SoloEngine(IDENTITY.parameters(genesis), store, tiles, SimulatedClock(START)), threading.RLock(), tiles.read
    )
    assert empty.checkpoint() is None
    assert empty.tile(TileName(0, 0, 1)) is None
    assert empty.genesis() == canonical.encode(genesis)
